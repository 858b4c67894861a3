"""COCO's run lengths, which look like encoded data and are not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_KEY = re.compile(rb"counts\\*[\"']\s{0,9}:\s{0,9}b?(?:\\*[\"']|\[)")
_LONGEST_KEY = 64

# Compressed run lengths use the characters 48 to 111; base64 of a picture has the
# rest of the alphabet within a few characters, and is looked at from there on.
_COMPRESSED = re.compile(rb"[0-o]*+")
_PLAIN = re.compile(rb"[0-9,\s]*+")


def without_masks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Text without the values of its ``counts`` keys, as far as they are run lengths.

    A mask of thousands of runs is one string without a break, or a list of
    thousands of small numbers.

    Args:
        pieces: a text in pieces, cut anywhere.
    """
    rest = b""
    value: re.Pattern[bytes] | None = None
    for piece in pieces:
        data, place = rest + piece, 0
        kept: list[bytes] = []
        while True:
            if value is not None:
                place = _end_of(value, data, place)
                if place == len(data):
                    break  # the value may go on in the next piece
            key = _next_key(data, place)
            if key is None:
                value = None
                break
            kept.append(data[place : key.end()])
            place = key.end()
            value = _PLAIN if data[place - 1 : place] == b"[" else _COMPRESSED
        cut = max(place, len(data) - _LONGEST_KEY)
        rest = data[cut:]
        yield b"".join([*kept, data[place:cut]])
    yield rest


def _next_key(data: bytes, place: int) -> re.Match[bytes] | None:
    for key in _KEY.finditer(data, place):
        if data[key.start() - 1 : key.start()] in (b'"', b"'"):
            return key
    return None


def _end_of(value: re.Pattern[bytes], data: bytes, place: int) -> int:
    found = value.match(data, place)
    return found.end() if found else place
