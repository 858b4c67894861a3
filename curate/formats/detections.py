"""A detector's claims in a file, to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.faces import Detection
from curate.formats.faces import iter_labels


@dataclass(frozen=True, slots=True)
class DetectedImage:
    """What a detector says of one image.

    Args:
        id: the image's id, as SOURCE has it.
        detections: in stored pixels; None where the image was withheld.
        width: pixels as stored, or None where the file does not say.
        height: pixels as stored, or None where the file does not say.
        reason: why it was withheld, or None.
    """

    id: str
    detections: tuple[Detection, ...] | None
    width: int | None = None
    height: int | None = None
    reason: str | None = None


def iter_detections(path: Path) -> Iterator[DetectedImage]:
    """Read detections from any file of faces that `curate.formats.faces` knows.

    A box without a confidence, as a person's, counts as certain.

    Raises:
        DataError: if the file is of no known form, or a line of it is no detection.
    """
    for image in iter_labels(path):
        if image.faces is None:
            yield DetectedImage(image.id, None, reason=image.reason)
            continue
        where = f"{path}: faces of {image.id!r}"
        detections = tuple(
            Detection(face.box, _confidence(face.fields, where), _names(face.fields))
            for face in image.faces
            if not face.box.is_empty
        )
        yield DetectedImage(image.id, detections, image.width, image.height)


def _confidence(fields: Mapping[str, Any], where: str) -> float:
    value = fields.get("confidence")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise DataError(f"{where}: a confidence is {value!r}; want a number")
    return float(value)


def _names(fields: Mapping[str, Any]) -> str:
    return "+".join(fields.get("detectors") or ("file",))
