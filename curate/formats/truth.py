"""Labelled faces, to measure a detector against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.truth import TruthFace, TruthImage
from curate.formats.faces import iter_labels
from curate.formats.labels import LabelledBox

_NEUTRAL = ("ignore", "invalid", "iscrowd")
_OTHER = ("hidden_xyxy", "confidence", "detectors", "decided_by", "frames")


def iter_truth(path: Path) -> Iterator[TruthImage]:
    """Read labelled images from any file of faces that `curate.formats.faces` knows.

    Every further field of a face with a plain value is one of its attributes;
    ``ignore``, ``invalid`` and ``iscrowd`` say that it counts neither way. Images
    that nobody has looked at are left out.

    Raises:
        DataError: if the file is of no known form, or a face that counts is no box.
    """
    for image in iter_labels(path):
        if image.faces is None:
            continue
        faces = tuple(_parse_face(face, image.id, path) for face in image.faces)
        yield TruthImage(image.id, faces, image.width, image.height)


def format_value(value: Any) -> str | None:
    """An attribute's value as a text; None for nothing, and for what is no plain value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return None if value != value else f"{value:g}"
    if isinstance(value, (int, str)):
        return str(value).strip() or None
    return None


def _parse_face(face: LabelledBox, image: str, path: Path) -> TruthFace:
    ignore = any(_is_true(face.fields.get(name)) for name in _NEUTRAL)
    if face.box.is_empty and not ignore:
        raise DataError(f"{path}: a face of {image!r} is empty: {face.box.xyxy}")
    return TruthFace(
        face.box, _attributes(face.fields), ignore, crowd=_is_true(face.fields.get("iscrowd"))
    )


def _attributes(fields: Mapping[str, Any]) -> dict[str, str]:
    values = {
        name: format_value(value)
        for name, value in fields.items()
        if name not in _NEUTRAL and name not in _OTHER
    }
    return {name: value for name, value in values.items() if value is not None}


def _is_true(value: Any) -> bool:
    return format_value(value) in ("1", "yes", "true", "True")
