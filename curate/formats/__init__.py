"""Dataset layouts, one file each, and the codec, the only place that touches pixels on disk."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from curate.core.ports import Source
from curate.core.registry import Plugin, Registry

LAYOUTS = Registry(
    "layout",
    [
        (
            "imagefolder",
            Plugin(
                "curate.formats.imagefolder:ImageFolder",
                "split/class/image, class/image or flat, any depth",
            ),
        ),
    ],
)


def open_source(root: Path, layout: str = "imagefolder") -> Source:
    """Open a dataset for reading.

    Args:
        root: where it is.
        layout: a name in ``LAYOUTS``.

    Raises:
        UsageError: if there is no such layout.
        DataError: if there is no dataset of that layout.
    """
    return cast(Source, LAYOUTS.resolve(layout)(root))
