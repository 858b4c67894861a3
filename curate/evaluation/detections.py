"""Detections of a whole dataset, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.faces import Detection
from curate.pipeline.given_faces import load_given


@dataclass(frozen=True, slots=True)
class Detections:
    """The detections of a dataset's images.

    Args:
        found: detections by id, in stored pixels; an empty tuple for an image without faces.
        sizes: width and height of stored images, pixels, by id, if the file has them.
        withheld: why no detector ran to completion, by id.
        digests: SHA-256 of images, by id, as far as the file has them.
    """

    found: Mapping[str, tuple[Detection, ...]]
    sizes: Mapping[str, tuple[int, int]]
    withheld: Mapping[str, str]
    digests: Mapping[str, str]


def load_detections(path: Path) -> Detections:
    """Load detections from any format of `curate.layouts.faces` into memory.

    A box without a confidence, as one drawn by a person, has confidence 1.

    Raises:
        DataError: if the format is unknown, or an entry is not valid.
    """
    found: dict[str, tuple[Detection, ...]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    withheld: dict[str, str] = {}
    digests: dict[str, str] = {}
    for given in load_given(path):
        if given.withheld is not None:
            withheld[given.id] = given.withheld
            continue
        if given.relative and given.boxes:
            raise DataError(f"{path} has boxes as shares of an image; convert them to pixels")
        where = f"{path}: faces of {given.id!r}"
        fields = given.fields or ({},) * len(given.boxes)
        detections = tuple(
            Detection(box, _confidence(each, where), _names(each))
            for box, each in zip(given.boxes, fields, strict=True)
        )
        found[given.id] = found.get(given.id, ()) + detections
        if given.size:
            sizes[given.id] = given.size
        if given.source_sha256:
            digests[given.id] = given.source_sha256
    return Detections(found, sizes, withheld, digests)


def _confidence(fields: Mapping[str, Any], where: str) -> float:
    value = fields.get("confidence")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise DataError(f"{where}: a confidence is {value!r}, not a number")
    return float(value)


def _names(fields: Mapping[str, Any]) -> str:
    return "+".join(fields.get("detectors") or ("file",))
