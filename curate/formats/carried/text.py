"""Pictures in text, searched in blocks that overlap."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from curate.formats.carried.encoded import find_encoded, has_escaped_bytes, unescape
from curate.formats.carried.masks import without_masks
from curate.formats.carried.numbers import has_pixels, is_netpbm

_BLOCK = 1 << 20

# What is enough to tell a picture must lie within one overlap: a thousand numbers on
# lines of their own, indented, are the longest.
_OVERLAP = 1 << 16

_NO_TEXT = "it is not UTF-8 or UTF-16 text"
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\v\f\r") + b"\x7f"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find_in_file(path: Path) -> str | None:
    """Say why a text file may hold pictures, or None if it holds none.

    Args:
        path: a file that should be UTF-8, or UTF-16 with a byte order mark.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return find_in_blocks(iter(lambda: file.read(_BLOCK), b""))


def find_in_blocks(blocks: Iterable[bytes]) -> str | None:
    """Say why text may hold pictures, or None if it holds none.

    Args:
        blocks: a whole file, in blocks of two bytes or more: UTF-8, or UTF-16 with a byte
            order mark.
    """
    try:
        return find_in_text(_iter_utf8(blocks))
    except UnicodeDecodeError:
        return _NO_TEXT


def find_in_text(pieces: Iterable[bytes]) -> str | None:
    """Say why text may hold pictures, or None if it holds none.

    Args:
        pieces: UTF-8, cut anywhere.
    """
    for number, block in enumerate(_overlapping(without_masks(pieces))):
        if number == 0 and is_netpbm(block):
            return "it holds a picture as numbers"
        if reason := _find_in_block(block):
            return reason
    return None


def _overlapping(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A text in blocks that are worth a search, each beginning with the end of the last."""
    block, fresh = b"", 0
    for piece in pieces:
        block += piece
        fresh += len(piece)
        if fresh >= _OVERLAP:
            yield block
            block, fresh = block[-_OVERLAP:], 0
    if fresh:
        yield block


def _find_in_block(block: bytes) -> str | None:
    if len(block.translate(None, _CONTROLS)) < len(block):
        return _NO_TEXT
    if has_escaped_bytes(block):
        return "it holds bytes as escapes"
    text = unescape(block)
    if has_pixels(text):
        return "it holds a picture as numbers"
    return find_encoded(text)


def _iter_utf8(blocks: Iterable[bytes]) -> Iterator[bytes]:
    decoder: codecs.IncrementalDecoder | None = None
    for block in blocks:
        if decoder is None:
            encoding = "utf-16" if block[:2] in _UTF16 else "utf-8"
            decoder = codecs.getincrementaldecoder(encoding)("strict")
        yield decoder.decode(block).encode()
    if decoder is not None:
        decoder.decode(b"", final=True)
