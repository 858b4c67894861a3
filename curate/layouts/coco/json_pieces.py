"""A JSON document cut into the items of some of its lists and what stands between them.

Put together again in their order the pieces are the document, byte for byte, so
whatever is not edited stays exactly as it was written. Memory grows with the
largest item only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from curate.core.errors import DataError

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
