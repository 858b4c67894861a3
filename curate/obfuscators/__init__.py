"""Obfuscation methods, one file each; every summary states what survives of a face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from curate.core.entries import Scalar
from curate.core.protocols import Obfuscator
from curate.core.registry import Plugin, Registry

_PACKAGE = "curate.obfuscators"

OBFUSCATORS = Registry(
    "method",
    [
        (
            "diffuse",
            Plugin(
                f"{_PACKAGE}.diffuse:Diffuse",
                "smooth fill from the surrounding colors, like a strong blur; nothing survives",
            ),
        ),
        (
            "fill",
            Plugin(
                f"{_PACKAGE}.fill:Fill",
                "one color, the mean around the face or a given one; nothing survives",
            ),
        ),
        (
            "mosaic",
            Plugin(
                f"{_PACKAGE}.mosaic:Mosaic",
                "N×N mean colors of each face survive, enough to identify people in a small group",
            ),
        ),
        (
            "gaussian",
            Plugin(
                f"{_PACKAGE}.gaussian:Gaussian",
                "the coarse shading of each face survives; trained attackers can identify people",
            ),
        ),
        (
            "imagenet",
            Plugin(
                f"{_PACKAGE}.imagenet:ImageNet",
                "ImageNet's recipe, for comparison: small faces beside large ones stay visible",
            ),
        ),
    ],
)


def make(name: str, options: Mapping[str, Scalar]) -> Obfuscator:
    """Create an obfuscator from its registered name and options.

    Args:
        name: a name in ``OBFUSCATORS``.
        options: values by option name; strings are parsed to the option's type.
            Missing options keep their defaults.

    Raises:
        UsageError: if the method or an option is unknown, or a value is invalid.
    """
    from curate.obfuscators.options import parse_options

    method = OBFUSCATORS.resolve(name)
    return cast(Obfuscator, method(**parse_options(name, method, options)))
