"""Labeled faces for the evaluation of detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.faces import TruthFace, TruthImage
from curate.core.geometry import Box
from curate.layouts.faces import iter_given_faces
from curate.layouts.faces.table import LOOKED_AT

_NEUTRAL = ("ignore", "invalid", "iscrowd", "difficult")
_OTHER = ("xyxy", "hidden_xyxy", "confidence", "detectors", "decided_by", "frames")


def load_truth(path: Path, notify: Callable[[str], None] = lambda _: None) -> dict[str, TruthImage]:
    """Load labeled images into memory, by id, from any format in `curate.layouts.faces`.

    Other fields of a face with plain values become its attributes; faces with ``ignore``,
    ``invalid``, ``iscrowd`` or ``difficult`` count neither as hits nor as misses. A box that is
    listed several times for one image, in one entry or in several, is one face: the first. Boxes
    that a detector decided, in a table or a manifest of curate, are a person's only in images
    that people looked at.

    Args:
        path: the file or folder.
        notify: called with a note if boxes are listed several times.

    Raises:
        DataError: if the format is unknown, or boxes are not in pixels.
    """
    images: dict[str, TruthImage] = {}
    seen: dict[str, set[tuple[Box, bool, bool]]] = {}
    repeated: list[str] = []
    decided, found_by_detector = set[str](), False
    for given in iter_given_faces(path):
        if given.relative and given.boxes:
            raise DataError(f"{path} has boxes relative to the image size; convert them to pixels")
        fields = given.fields or ({},) * len(given.boxes)
        known = images.get(given.id, TruthImage(given.id))
        keys, faces = seen.setdefault(given.id, set()), list(known.faces)
        for box, each in zip(given.boxes, fields, strict=True):
            face = _parse(box, each)
            key = (face.box, face.ignore, face.crowd)
            if key in keys:
                repeated.append(given.id)
            else:
                keys.add(key)
                faces.append(face)
        images[given.id] = TruthImage(given.id, tuple(faces), given.size or known.size)
        by_detector = [each.get("decided_by") == "detector" for each in fields]
        found_by_detector |= any(by_detector)
        if given.review in LOOKED_AT or not all(by_detector):
            decided.add(given.id)
    if repeated:
        notify(
            f"Boxes in {path} that repeat a box of the same image, and count once: "
            f"{len(repeated):,}, the first in {repeated[0]!r}."
        )
    if found_by_detector:
        for name in images.keys() - decided:
            images[name] = replace(images[name], by_detector=True)
    return images


def format_value(value: Any) -> str | None:
    """Format the value of an attribute; None if it is missing or not a plain value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return None if value != value else f"{value:g}"
    if isinstance(value, (int, str)):
        return str(value).strip() or None
    return None


def _parse(box: Box, fields: Mapping[str, Any]) -> TruthFace:
    ignore = any(_is_true(fields.get(name)) for name in _NEUTRAL)
    return TruthFace(box, _attributes(fields), ignore, crowd=_is_true(fields.get("iscrowd")))


def _attributes(fields: Mapping[str, Any]) -> dict[str, str]:
    values = {
        name: format_value(value)
        for name, value in fields.items()
        if name not in _NEUTRAL and name not in _OTHER
    }
    return {name: value for name, value in values.items() if value is not None}


def _is_true(value: Any) -> bool:
    return format_value(value) in ("1", "yes", "true", "True")
