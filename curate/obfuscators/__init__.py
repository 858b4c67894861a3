"""Ways to hide faces, one file per method; what survives stands in each summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from curate.core.entries import Scalar
from curate.core.protocols import Obfuscator
from curate.core.registry import Plugin, Registry

_HERE = "curate.obfuscators"

OBFUSCATORS = Registry(
    "method",
    [
        (
            "diffuse",
            Plugin(
                f"{_HERE}.diffuse:Diffuse",
                "colors flow in from around the face, like a strong blur; nothing of it survives",
            ),
        ),
        (
            "fill",
            Plugin(
                f"{_HERE}.fill:Fill",
                "one color, the mean around the face or a given one; nothing of it survives",
            ),
        ),
        (
            "mosaic",
            Plugin(
                f"{_HERE}.mosaic:Mosaic",
                "N×N mean colors of each face survive, enough to identify people in a small group",
            ),
        ),
        (
            "gaussian",
            Plugin(
                f"{_HERE}.gaussian:Gaussian",
                "the coarse shading of each face survives; trained attackers can identify people",
            ),
        ),
        (
            "imagenet",
            Plugin(
                f"{_HERE}.imagenet:ImageNet",
                "as ImageNet did it, for comparison: small faces beside large ones stay visible",
            ),
        ),
    ],
)


def make(name: str, options: Mapping[str, Scalar]) -> Obfuscator:
    """Build a method from its registered name and its options.

    Args:
        name: a name in ``OBFUSCATORS``.
        options: values by option name; text, as a command line gives it, is read
            as the option's own type. What is absent keeps its default.

    Raises:
        UsageError: if the method or an option is unknown, or a value does not fit.
    """
    from curate.obfuscators.options import parse_options

    method = OBFUSCATORS.resolve(name)
    return cast(Obfuscator, method(**parse_options(name, method, options)))
