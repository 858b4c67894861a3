"""COCO's JSON as a stream of images and annotations; memory does not grow with the file.

Only numbers and names are picked out of it: a polygon of a million points, or an
image with a million annotations, is never held.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.layouts.json_stream import iter_events
from curate.layouts.sidecars.label_maps import MOST_SEGMENTS

_LISTS = ("images", "annotations")
_WHOLES = {f"{kind}.item": kind for kind in _LISTS}
_STARTS = frozenset({"start_map", "start_array"})
_FIELDS = frozenset(
    f"{whole}.{key}" for whole in _WHOLES for key in ("id", "image_id", "file_name")
)
_NUMBERS = frozenset({"annotations.item.bbox.item", "annotations.item.keypoints.item"})
_TAKEN = _FIELDS | _NUMBERS | {"annotations.item.segments_info.item.id"}


@dataclass(slots=True)
class Item:
    """One image or annotation.

    Args:
        kind: ``images`` or ``annotations``.
        number: its place in that list, from 0.
        values: those of its ``id``, ``image_id`` and ``file_name`` that are there.
        segments: ids of a panoptic annotation's segments, one more than there
            may be at most.
    """

    kind: str
    number: int
    values: dict[str, Any] = field(default_factory=dict)
    segments: list[Any] = field(default_factory=list)


def looks_like_coco(head: bytes) -> bool:
    """Whether a JSON begins like COCO's: a list of images with names, or of annotations of them.

    Args:
        head: the first bytes of a file.
    """
    import ijson

    seen: set[str] = set()
    events = ijson.sendable_list()
    parser = ijson.parse_coro(events)
    with contextlib.suppress(ijson.JSONError, ValueError):
        parser.send(head)  # what comes before any damage tells enough
    for prefix, event, value in events:
        if event == "map_key" and prefix in ("", "images.item", "annotations.item"):
            seen.add(f"{prefix}.{value}" if prefix else value)
    if "images.item.file_name" in seen:
        return True
    return "annotations.item.image_id" in seen or {"images", "annotations"} <= seen


def iter_annotated(file: BinaryIO, name: str) -> Iterator[Item]:
    """Every image and annotation of a COCO JSON, in the file's order.

    Args:
        file: the JSON.
        name: what a message calls it.

    Raises:
        DataError: if it is cut off or damaged, or has something else in the
            place of an image or annotation.
    """
    counts, found, item = dict.fromkeys(_LISTS, 0), set(), Item("", 0)
    for prefix, event, value in iter_events(file, name):
        if event == "map_key":
            continue
        if prefix in _TAKEN:
            _take(item, prefix, event, value, name)
        elif prefix in _WHOLES:
            kind = _WHOLES[prefix]
            if event == "end_map":
                yield item
                continue
            _check(event == "start_map", f"{name}: {kind}[{counts[kind]}] is no object")
            item = Item(kind, counts[kind])
            counts[kind] += 1
        elif prefix in counts:
            _check(event in ("start_array", "end_array"), f"{name}: {prefix} is no list")
            found.add(prefix)
    _check("images" in found, f"{name}: images is missing; COCO's JSON lists its images there")


def _take(item: Item, prefix: str, event: str, value: Any, name: str) -> None:
    key = prefix.split(".")[2]
    where = f"{name}: {item.kind}[{item.number}].{key}"
    if prefix in _FIELDS:
        _check(event not in _STARTS, f"{where} is neither a number nor a text")
        item.values[key] = value
    elif prefix in _NUMBERS:
        _check(event == "number", f"{where} holds no number")
    elif len(item.segments) <= MOST_SEGMENTS:
        item.segments.append(value)


def _check(sound: bool, line: str) -> None:
    if not sound:
        raise DataError(line)
