"""A detector's claims in a file, to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.faces import Detection
from curate.layouts.faces import iter_given_faces, table


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector says of the images of a dataset.

    Args:
        found: its claims by id, in stored pixels; none means looked at and found none.
        sizes: width and height of each stored image, pixels, where the file says them.
        withheld: why nobody has looked at an image, by id.
    """

    found: Mapping[str, tuple[Detection, ...]]
    sizes: Mapping[str, tuple[int, int]]
    withheld: Mapping[str, str]


def load_detections(path: Path) -> Detections:
    """Read detections into memory from any form in `curate.layouts.faces`.

    A box without a confidence, as a person's, counts as certain.

    Raises:
        DataError: if the file is of no known form, or a line of it is no detection.
    """
    found: dict[str, tuple[Detection, ...]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for given in iter_given_faces(path):
        if given.relative and given.boxes:
            raise DataError(f"{path} has boxes as shares of an image; convert them to pixels")
        where = f"{path}: faces of {given.id!r}"
        fields = given.fields or ({},) * len(given.boxes)
        claims = tuple(
            Detection(box, _confidence(each, where), _names(each))
            for box, each in zip(given.boxes, fields, strict=True)
        )
        found[given.id] = found.get(given.id, ()) + claims
        if given.size:
            sizes[given.id] = given.size
    withheld = dict(table.iter_withheld(path)) if table.recognise(path) else {}
    return Detections(found, sizes, withheld)


def _confidence(fields: Mapping[str, Any], where: str) -> float:
    value = fields.get("confidence")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise DataError(f"{where}: a confidence is {value!r}; want a number")
    return float(value)


def _names(fields: Mapping[str, Any]) -> str:
    return "+".join(fields.get("detectors") or ("file",))
