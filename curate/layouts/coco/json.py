"""COCO's JSON as a stream of images and annotations; memory does not grow with the file.

Only numbers and names are picked out of it: a polygon of a million points, or an
image with a million annotations, is never held.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from curate.core.errors import DataError
from curate.layouts.annotations import iter_events
from curate.layouts.label_maps import MOST_SEGMENTS

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


_BLOCK = 1 << 20
_LONGEST = 1 << 28  # bytes of one item, or of a key
_DEPTHS = np.zeros(256, np.int8)
_DEPTHS[list(b"[{")] = 1
_DEPTHS[list(b"]}")] = -1
_MARKS = np.zeros(256, np.bool_)
_MARKS[list(b'[{]},:"')] = True


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the document.

    Args:
        key: of the list at the top whose item it is; empty for what stands between,
            which ends where a list's first item begins.
        data: the bytes; of an item with the white space around it but without the
            comma before it.
        number: which item of its list it is, from 0.
    """

    key: str
    data: bytes
    number: int = 0


def iter_pieces(file: BinaryIO, keys: Collection[str], name: str) -> Iterator[Piece]:
    """Cut a document that is an object.

    Args:
        file: the document, which is known to be whole JSON.
        keys: of the lists whose items are wanted.
        name: what messages call it.

    Raises:
        DataError: if an item is far too long, or the document is no whole JSON after all.
    """
    cutter = _Cutter(frozenset(keys), name)
    while block := file.read(_BLOCK):
        yield from cutter.feed(block)
    yield from cutter.finish()


class _Cutter:
    """Takes a document block by block; brackets and commas of the two upper levels cut it.

    Places are counted from the beginning of the document.
    """

    def __init__(self, keys: frozenset[str], name: str) -> None:
        self._keys = keys
        self._name = name
        self._buffer = b""
        self._base = 0  # place of the buffer's first byte
        self._given = 0  # up to where pieces were given out
        self._key_start = 0
        self._key: str | None = None  # at the top, from its colon to the next comma
        self._list: str | None = None  # whose items are being cut
        self._number = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, block: bytes) -> Iterator[Piece]:
        start = self._base + len(self._buffer)
        self._buffer += block
        end = start + len(block)
        for place, symbol, depth in self._find_marks(block):
            yield from self._step(start + place, symbol, depth)
        if self._list is None:
            yield from self._text(end if self._key is not None else self._key_start)
        if end - self._given > _LONGEST:
            raise DataError(f"{self._name} has an item of more than {_LONGEST >> 20} MB")
        self._buffer = self._buffer[self._given - self._base :]
        self._base = self._given

    def finish(self) -> Iterator[Piece]:
        if self._depth or self._in_string:
            raise DataError(f"{self._name} is not whole JSON; is it cut off?")
        yield from self._text(self._base + len(self._buffer))

    def _step(self, place: int, symbol: str, depth: int) -> Iterator[Piece]:
        """Take one mark; a bracket stands as deep as what it is in."""
        if self._list is not None:
            if symbol == "," and depth == 2:
                yield self._item(place)
                self._given = place + 1
            elif symbol == "]" and depth == 1:
                if self._slice(self._given, place).strip():
                    yield self._item(place)
                    self._given = place
                self._list = None
        elif depth == 1 and symbol == ":":
            self._key = self._read_key(place)
        elif depth == 1 and symbol == "[" and self._key in self._keys:
            yield from self._text(place + 1)
            self._list, self._number = self._key, 0
        elif (depth == 1 and symbol == ",") or (depth == 0 and symbol == "{"):
            self._key, self._key_start = None, place + 1

    def _find_marks(self, block: bytes) -> Iterator[tuple[int, str, int]]:
        """Places, symbols and depths of what may cut the document, outside strings."""
        text = (b"\\" if self._escaped else b"") + block
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        carried = int(self._escaped)
        self._escaped = text.endswith(b"\\")
        symbols = np.frombuffer(text, np.uint8)[carried:]
        places = np.flatnonzero(_MARKS[symbols])
        marks = symbols[places]
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
            yield int(places[index]), chr(marks[index]), int(depths[index])

    def _read_key(self, place: int) -> str:
        try:
            return str(json.loads(self._slice(self._key_start, place)))
        except (ValueError, RecursionError):
            raise DataError(f"{self._name} is not whole JSON at byte {place}") from None

    def _item(self, end: int) -> Piece:
        piece = Piece(self._list or "", self._slice(self._given, end), self._number)
        self._number += 1
        return piece

    def _text(self, end: int) -> Iterator[Piece]:
        if end > self._given:
            yield Piece("", self._slice(self._given, end))
            self._given = end

    def _slice(self, start: int, end: int) -> bytes:
        return self._buffer[start - self._base : end - self._base]
