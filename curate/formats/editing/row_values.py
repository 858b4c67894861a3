"""A row of a table about an image, for the image that was made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.core.affine import Affine
from curate.core.errors import DataError
from curate.formats.editing.shapes import (
    find_geometry,
    move_xywh,
    parse_numbers,
    round_pixels,
    visible_share,
)
from curate.formats.editing.values import Made

_OBJECTS, _BOXES, _AREA = "objects", "bbox", "area"
_SLACK = 1.0  # pixels by which a box may stand over


def move_row(values: Mapping[str, Any], made: Made, where: str) -> dict[str, Any]:
    """A row's values for an image that was made from the row's own.

    Boxes in ``objects``, as ``bbox`` of x, y, width, height, are transformed; those that
    left the image go with all that is said of their objects. ``width`` and ``height``
    become those of the made image. All else stays.

    Args:
        values: by column.
        made: the image made.
        where: what a message calls the row.

    Raises:
        DataError: if another column says where something is, and the image's points
            are not where they were; names the column.
    """
    if made.is_copy:
        return dict(values)
    stated = _stated_size(values)
    affine = made.map_for(stated, where)
    moved: dict[str, Any] = {}
    for name, value in values.items():
        if name == _OBJECTS and value:
            moved[name] = _move_objects(value, affine, made, f"{where}: {name}")
        else:
            refuse_geometry(name, value, where)
            moved[name] = value
    if stated:
        for name, pixels in (("width", affine.width), ("height", affine.height)):
            moved[name] = type(values[name])(pixels)  # in a CSV it is a text
    return moved


def _stated_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    size = [values.get(name) for name in ("width", "height")]
    if not all(type(item) is int or (isinstance(item, str) and item.isdecimal()) for item in size):
        return None
    width, height = (int(str(item)) for item in size)
    return width, height


def _move_objects(value: Any, affine: Affine, made: Made, where: str) -> Any:
    if isinstance(value, list):
        objects = [
            _move_object(item, affine, made, f"{where}[{n}]") for n, item in enumerate(value)
        ]
        return [item for item in objects if item is not None]
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is neither a list nor an object, so it cannot be transformed")
    counts = {len(item) for item in value.values() if isinstance(item, list)}
    if len(counts) != 1 or not all(isinstance(item, list) for item in value.values()):
        raise DataError(f"{where} has lists of different lengths, so it cannot be transformed")
    single = [
        _move_object({key: item[n] for key, item in value.items()}, affine, made, f"{where}[{n}]")
        for n in range(counts.pop())
    ]
    return {key: [item[key] for item in single if item is not None] for key in value}


def _move_object(value: Any, affine: Affine, made: Made, where: str) -> dict[str, Any] | None:
    """What is said of one object, or None if it left the image."""
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is no object, so it cannot be transformed")
    for name, item in value.items():
        if name != _BOXES:
            refuse_geometry(name, item, where)
    if value.get(_BOXES) is None:
        return dict(value)
    box = parse_numbers(value[_BOXES], f"{where}.{_BOXES}", 4)
    longest = max(made.width, made.height) + _SLACK
    if max(box[0] + box[2], box[1] + box[3]) > longest:
        raise DataError(
            f"{where}.{_BOXES} does not lie in its image as x, y, width, height in pixels, "
            "so it cannot be transformed"
        )
    moved = move_xywh(box, affine, f"{where}.{_BOXES}")
    if moved is None:
        return None
    kept = dict(value) | {_BOXES: [_like(new, old) for new, old in zip(moved, box, strict=True)]}
    area = value.get(_AREA)
    if isinstance(area, int | float):
        kept[_AREA] = _like(round_pixels(area * visible_share(box, affine)), area)
    return kept


def _like(new: float, old: float) -> float:
    """A number of the kind that stood there: a column of Parquet has one kind."""
    return round(new) if isinstance(old, int) else float(new)


def refuse_geometry(name: str, value: Any, where: str) -> None:
    """Make sure that a field does not say where something is in an image.

    Raises:
        DataError: if it seems to, at any depth.
    """
    for place in _iter_geometry(name, value):
        raise DataError(
            f"{where}: the column {place!r} seems to say where something is in the image, which "
            "cannot be transformed; remove it, or use an augmentation that moves nothing, such as "
            "photometric"
        )


def _iter_geometry(name: str, value: Any) -> Iterator[str]:
    if find_geometry(name.rpartition(".")[2], value):
        yield name
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _iter_geometry(f"{name}.{key}", item)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for item in value:
            yield from _iter_geometry(name, item)
