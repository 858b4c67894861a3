"""Streaming COCO JSON: its images and annotations, and a lossless split into pieces.

`iter_annotated` extracts only numbers and names: a polygon of a million points, or an image
with a million annotations, is never held in memory. `iter_pieces` cuts a document into the
items of some lists and the text between them; joined again they are the document byte for
byte, so whatever is not edited stays as written.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from curate.core.errors import DataError
from curate.layouts.access.tree import describe_pointer
from curate.layouts.annotations import Problems, check_json_head, iter_events
from curate.layouts.label_maps import MAX_SEGMENTS

_LISTS = ("images", "annotations")
_WHOLES = {f"{kind}.item": kind for kind in _LISTS}
_STARTS = frozenset({"start_map", "start_array"})
_FIELDS = frozenset(
    f"{whole}.{key}" for whole in _WHOLES for key in ("id", "image_id", "file_name", "coco_url")
)
_NUMBERS = frozenset({"annotations.item.bbox.item", "annotations.item.keypoints.item"})
_SEGMENT = "annotations.item.segments_info.item"
_TAKEN = _FIELDS | _NUMBERS | {_SEGMENT, f"{_SEGMENT}.id", f"{_SEGMENT}.area"}
_SIZES = frozenset({"images.item.width", "images.item.height"})


@dataclass(slots=True)
class Item:
    """Image or annotation.

    Args:
        kind: ``images`` or ``annotations``.
        number: index in that list, from 0.
        values: those of ``id``, ``image_id``, ``file_name`` and ``coco_url`` that are present.
        size: width and height of an image, if they are present.
        segments: ``id`` and ``area`` of the segments of a panoptic annotation, at most one more
            than allowed.
    """

    kind: str
    number: int
    values: dict[str, Any] = field(default_factory=dict)
    size: dict[str, Any] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)


def is_coco(head: bytes) -> bool:
    """Return whether a file starts like COCO JSON: a list of named images or of annotations.

    A file that only points to its content may be one, and is refused when it is read.

    Args:
        head: first bytes of the file.
    """
    import ijson

    if describe_pointer(head):
        return True
    head = check_json_head(head)  # the memory of a parser grows with the square of the depth
    seen: set[str] = set()
    events = ijson.sendable_list()
    parser = ijson.parse_coro(events)
    with contextlib.suppress(ijson.JSONError, ValueError):
        parser.send(head)  # the part before an error is enough
    for prefix, event, value in events:
        if event == "map_key" and prefix in ("", "images.item", "annotations.item"):
            seen.add(f"{prefix}.{value}" if prefix else value)
    if {"images.item.file_name", "images.item.coco_url"} & seen:
        return True
    return "annotations.item.image_id" in seen or {"images", "annotations"} <= seen


def iter_annotated(file: BinaryIO, name: str, problems: Problems) -> Iterator[Item]:
    """Iterate over the images and annotations of a COCO JSON file, in its order.

    Args:
        file: the JSON file.
        name: name in messages.
        problems: collects malformed items, which are skipped, and values.

    Raises:
        DataError: if it is not valid JSON.
    """

    def check(valid: bool, line: str) -> bool:
        if not valid:
            problems.add(name, f"{name}: {line}")
        return valid

    counts, found, item = dict.fromkeys(_LISTS, 0), set(), Item("", 0)
    for prefix, event, value in iter_events(file, name):
        if event == "map_key":
            continue
        if prefix in _SIZES:
            item.size[prefix.rpartition(".")[2]] = value
        elif prefix in _TAKEN:
            _take(item, prefix, event, value, check)
        elif prefix in _WHOLES:
            kind = _WHOLES[prefix]
            if event == "end_map":
                yield item
                continue
            if event != "end_array":
                check(event == "start_map", f"{kind}[{counts[kind]}] is not an object")
                item = Item(kind, counts[kind])
                counts[kind] += 1
        elif prefix in counts:
            if event not in ("end_array", "end_map"):
                check(event == "start_array", f"{prefix} is not a list")
            found.add(prefix)
    check("images" in found, "images is missing; COCO's JSON lists its images there")


def _take(
    item: Item, prefix: str, event: str, value: Any, check: Callable[[bool, str], bool]
) -> None:
    key = prefix.split(".")[2]
    where = f"{item.kind}[{item.number}].{key}"
    if prefix in _FIELDS:
        if event in ("end_map", "end_array"):
            return
        if check(event not in _STARTS, f"{where} is neither a number nor a string"):
            item.values[key] = value
    elif prefix in _NUMBERS:
        check(event == "number", f"{where} contains a value that is not a number")
    elif prefix == _SEGMENT:
        if event == "start_map" and len(item.segments) <= MAX_SEGMENTS:
            item.segments.append({})
    elif item.segments and event == "number":
        item.segments[-1].setdefault(prefix.rpartition(".")[2], value)


_BLOCK = 1 << 20
_MAX_ITEM = 1 << 28  # bytes of an item or a key
_DEPTHS = np.zeros(256, np.int8)
_DEPTHS[list(b"[{")] = 1
_DEPTHS[list(b"]}")] = -1
_MARKS = np.zeros(256, np.bool_)
_MARKS[list(b'[{]},:"')] = True


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a document.

    Args:
        key: key of the top-level list of which this is an item; empty for the text between
            lists, which ends where the first item of a list starts.
        data: bytes; of an item with surrounding white space, without the comma before it.
        number: index of the item in its list, from 0.
    """

    key: str
    data: bytes
    number: int = 0


def iter_pieces(file: BinaryIO, keys: Collection[str] | None, name: str) -> Iterator[Piece]:
    """Cut a JSON object into pieces; memory grows with the largest item only.

    Args:
        file: the document, which was checked to be valid JSON.
        keys: keys of the lists to cut into items, or None for all.
        name: name in messages.

    Raises:
        DataError: if an item is larger than 256 MB, or the document is not valid JSON.
    """
    cutter = _Cutter(None if keys is None else frozenset(keys), name)
    while block := file.read(_BLOCK):
        yield from cutter.feed(block)
    yield from cutter.finish()


class _Cutter:
    """Cuts a document block by block at brackets and commas of its two upper levels.

    Offsets count from the start of the document.
    """

    def __init__(self, keys: frozenset[str] | None, name: str) -> None:
        self._keys = keys
        self._name = name
        self._buffer = bytearray()
        self._base = 0  # offset of the first byte of the buffer
        self._yielded = 0  # offset up to which pieces were yielded
        self._key_start = 0
        self._key: str | None = None  # current top-level key, from its colon to the next comma
        self._list: str | None = None  # key of the list being cut
        self._number = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, block: bytes) -> Iterator[Piece]:
        start = self._base + len(self._buffer)
        self._buffer += block
        end = start + len(block)
        for offset, symbol, depth in self._find_marks(block):
            yield from self._step(start + offset, symbol, depth)
        if self._list is None:
            yield from self._text(end if self._key is not None else self._key_start)
        if end - self._yielded > _MAX_ITEM:
            raise DataError(f"{self._name} has an item of more than {_MAX_ITEM >> 20} MB")
        del self._buffer[: self._yielded - self._base]
        self._base = self._yielded

    def finish(self) -> Iterator[Piece]:
        if self._depth or self._in_string:
            raise DataError(f"{self._name} is not valid JSON; the file may be truncated")
        yield from self._text(self._base + len(self._buffer))

    def _step(self, offset: int, symbol: str, depth: int) -> Iterator[Piece]:
        """Process one mark; the depth of a bracket is that of the value around it."""
        if self._list is not None:
            if symbol == "," and depth == 2:
                yield self._item(offset)
                self._yielded = offset + 1
            elif symbol == "]" and depth == 1:
                if self._slice(self._yielded, offset).strip():
                    yield self._item(offset)
                    self._yielded = offset
                self._list = None
        elif depth == 1 and symbol == ":":
            self._key = self._read_key(offset)
        elif depth == 1 and symbol == "[" and self._is_cut():
            yield from self._text(offset + 1)
            self._list, self._number = self._key, 0
        elif (depth == 1 and symbol == ",") or (depth == 0 and symbol == "{"):
            self._key, self._key_start = None, offset + 1

    def _is_cut(self) -> bool:
        return bool(self._key) and (self._keys is None or self._key in self._keys)

    def _find_marks(self, block: bytes) -> Iterator[tuple[int, str, int]]:
        """Iterate over offsets, symbols and depths of possible cuts outside strings."""
        text = (b"\\" if self._escaped else b"") + block
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        prefix = int(self._escaped)
        self._escaped = text.endswith(b"\\")
        symbols = np.frombuffer(text, np.uint8)[prefix:]
        offsets = np.flatnonzero(_MARKS[symbols])
        marks = symbols[offsets]
        quotes = marks == ord('"')
        outside = (np.cumsum(quotes) + self._in_string) % 2 == 0
        steps = np.where(outside, _DEPTHS[marks], 0)
        after = self._depth + np.cumsum(steps)
        if len(marks):
            self._in_string, self._depth = not outside[-1], int(after[-1])
        depths = np.minimum(after, after - steps)
        shallow = (depths < 2) | ((depths == 2) & (marks == ord(",")))
        chosen = np.flatnonzero(outside & ~quotes & shallow)
        for index in chosen.tolist():
            yield int(offsets[index]), chr(marks[index]), int(depths[index])

    def _read_key(self, offset: int) -> str:
        try:
            return str(json.loads(self._slice(self._key_start, offset)))
        except (ValueError, RecursionError):
            raise DataError(f"{self._name} is not valid JSON at byte {offset}") from None

    def _item(self, end: int) -> Piece:
        piece = Piece(self._list or "", self._slice(self._yielded, end), self._number)
        self._number += 1
        return piece

    def _text(self, end: int) -> Iterator[Piece]:
        if end > self._yielded:
            yield Piece("", self._slice(self._yielded, end))
            self._yielded = end

    def _slice(self, start: int, end: int) -> bytes:
        return bytes(memoryview(self._buffer)[start - self._base : end - self._base])
