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
from curate.formats.maps import MOST_SEGMENTS

_LISTS = ("images", "annotations")
_STARTS = frozenset({"start_map", "start_array"})
_FIELDS = {
    f"{kind}.item.{key}": key
    for kind, keys in (("images", ("id", "file_name")), ("annotations", ("id", "image_id")))
    for key in keys
} | {"annotations.item.file_name": "file_name"}
_NUMBERS = frozenset({"annotations.item.bbox.item", "annotations.item.keypoints.item"})
_SEGMENT = "annotations.item.segments_info.item.id"


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


def iter_items(file: BinaryIO, name: str) -> Iterator[Item]:
    """Every image and annotation of a COCO JSON, in the file's order.

    Args:
        file: the JSON.
        name: what a message calls it.

    Raises:
        DataError: if it is cut off or damaged, or has something else in the
            place of an image or annotation.
    """
    import ijson

    try:
        yield from _iter_items(ijson.parse(file, use_float=True), name)
    except (ijson.JSONError, ValueError) as error:
        line = " ".join(str(error).split())[:120]
        raise DataError(f"{name} is no whole JSON; is it cut off? ({line})") from None


def _iter_items(events: Iterator[tuple[str, str, Any]], name: str) -> Iterator[Item]:
    counts = dict.fromkeys(_LISTS, 0)
    found: set[str] = set()
    item = Item("", 0)
    wholes = {f"{kind}.item": kind for kind in _LISTS}
    for prefix, event, value in events:
        if event == "map_key":
            continue
        if prefix in _FIELDS:
            _check_scalar(event, f"{name}: {_place(item)}.{_FIELDS[prefix]}")
            item.values[_FIELDS[prefix]] = value
        elif prefix == _SEGMENT:
            if len(item.segments) <= MOST_SEGMENTS:
                item.segments.append(value)
        elif prefix in wholes:
            kind = wholes[prefix]
            if event == "start_map":
                item = Item(kind, counts[kind])
                counts[kind] += 1
            elif event == "end_map":
                yield item
            else:
                raise DataError(f"{name}: {kind}[{counts[kind]}] is no object")
        elif prefix in _NUMBERS and event != "number":
            raise DataError(f"{name}: {_place(item)}.{prefix.split('.')[2]} holds no number")
        elif prefix in counts:
            if event not in ("start_array", "end_array"):
                raise DataError(f"{name}: {prefix} is no list")
            found.add(prefix)
    if "images" not in found:
        raise DataError(f"{name}: images is missing; COCO's JSON lists its images there")


def _place(item: Item) -> str:
    return f"{item.kind}[{item.number}]"


def _check_scalar(event: str, where: str) -> None:
    if event in _STARTS:
        raise DataError(f"{where} is neither a number nor a text")
