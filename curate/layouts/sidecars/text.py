"""Encoded images in text: base64, hexadecimal, escapes and lists of pixel values."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.layouts.annotations import xml_encoding


def table_of(alphabet: bytes) -> bytes:
    """Return a table for `iter_runs`: 0 for the characters of an alphabet, 1 for others."""
    return bytes(code not in alphabet for code in range(256))


def iter_runs(data: bytes, table: bytes, min_length: int) -> Iterator[tuple[int, int]]:
    """Iterate over start and end of runs of at least ``min_length`` characters of an alphabet.

    Args:
        data: data to search.
        table: alphabet, from `table_of`.
        min_length: number of characters, at least 15.
    """
    marks = data.translate(table)
    # Eight characters at a time: a run contains this many whole words.
    clean = np.frombuffer(marks + b"\1" * (-len(marks) % 8), dtype=np.uint64) == 0
    edges = np.flatnonzero(np.diff(clean, prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    for index in np.flatnonzero(stops - starts >= max((min_length - 7) // 8, 1)):
        start = marks.rfind(b"\1", 0, int(starts[index]) * 8) + 1
        stop = marks.find(b"\1", int(stops[index]) * 8)
        stop = len(marks) if stop < 0 else stop
        if stop - start >= min_length:
            yield start, stop


_KEY = re.compile(rb"counts\\*[\"']\s{0,9}:\s{0,9}b?(?:\\*[\"']|\[)")
_MAX_KEY = 64

# Compressed run lengths use the characters 48 to 111; base64 of a picture has the
# rest of the alphabet within a few characters, and is looked at from there on.
_COMPRESSED = re.compile(rb"[0-o]*+")
_PLAIN = re.compile(rb"[0-9,\s]*+")


def without_masks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Remove the values of ``counts`` keys from a text, as far as they are run lengths.

    A mask of thousands of runs is a long string, or a list of thousands of small numbers.

    Args:
        pieces: text in pieces, cut anywhere.
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
        cut = max(place, len(data) - _MAX_KEY)
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


_MAX_WORD = 1000
"""Characters without a break; annotations have no such words."""

_MIN_LINE = 40
"""Characters; programs that break base64 into lines break it at 57 or more."""

_ALPHABET = rb"A-Za-z0-9+/_\-"
_BASE64 = table_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")
_PICTURES = (
    rb"[/_]9j[/_]|iVBORw0KGgo|R0lGOD|UklGR|SUkqA|TU0AK|Qk[0-3].{5}AAAAA"  # JPEG to BMP
    rb"|AAA.{2}[GWm2]Z0eX[A-D]|AAAADEpYTCAN|AAAADGpQICAN|[/_]0[/_]{2}UQ"  # HEIC, AVIF, JXL, JP2
    rb"|H4sI|eJ[w-z]|eN[o-r]|eA[E-H]|eF[4-7]"  # gzip, zlib
    rb"|UEsDB|Qlpo|KLUv|[/_]Td6WFo|k05VTVBZ"  # zip, bzip2, zstandard, xz, numpy
)
_SIGNED = re.compile(
    rb"(?:" + _PICTURES + rb")[" + _ALPHABET + rb"\s]{200}"
    # A bare JPEG XL stream begins as a path such as /work does, so it must have no break.
    rb"|[/_]w[o-r][" + _ALPHABET + rb"]{200}"
    rb"|(?:0?x)?(?i:ffd8ff|89504e470d0a|47494638|52494646)[0-9a-fA-F\s]{200}"
)

# Text has no control characters, and JSON writes only those and letters as \u00NN; of a
# compressed picture's bytes a quarter are control characters and half are no ASCII.
_DENSE, _AMONG = 40, 1000
_ESCAPES = (
    (b"\\", re.compile(rb"\\(?:x[0-9a-fA-F]{2}|u00[0189][0-9a-fA-F]|[0-3][0-7]{2})")),
    (b"\xc2", re.compile(rb"\xc2[\x80-\x9f]")),
    (b"0x", re.compile(rb"0x[0-9a-fA-F]{1,2}(?![0-9a-fA-F])")),
)
_PERCENT = re.compile(rb"%(?:[Ff]{2}%[Dd]8%[Ff]{2}|89PNG)")
_URL_ESCAPES = (
    *((b"%25", b"%"), (b"%2F", b"/"), (b"%2f", b"/"), (b"%2B", b"+"), (b"%2b", b"+")),
    *((b"%3D", b"="), (b"%3d", b"="), (b"%0A", b"\n"), (b"%0a", b"\n"), (b"%0D", b"\n")),
    (b"%0d", b"\n"),
)
_REFERENCE = re.compile(
    rb"\\u00(?P<json>[0-7][0-9a-fA-F])"
    rb"|&#(?:[xX]0*(?P<hex>[2-7]?[0-9a-fA-F])|0*(?P<decimal>[0-9]{1,2}));"
)


def find_encoded(data: bytes) -> str | None:
    """Return how text contains an image or other binary data, or None.

    Args:
        data: UTF-8 text, unescaped by `unescape`.
    """
    for start, stop in iter_runs(data, _BASE64, _MIN_LINE):
        if _SIGNED.match(data, start):
            return "it holds a picture in base64 or hexadecimal"
        if stop - start >= _MAX_WORD:
            return f"it holds {stop - start} characters of base64 or hexadecimal without a break"
    return None


def has_escaped_bytes(data: bytes) -> bool:
    r"""Return whether text contains escaped bytes: ``\xff\xd8``, ``\u00ff``, ``\377``, ``0xff``.

    Args:
        data: UTF-8 text as stored in the file.
    """
    if b"%" in data and _PERCENT.search(data):
        return True
    found = [
        match.start()
        for lead, pattern in _ESCAPES
        if lead in data
        for match in pattern.finditer(data)
    ]
    places = np.sort(np.array(found, dtype=np.int64))
    return bool((places[_DENSE - 1 :] - places[: 1 - _DENSE] < _AMONG).any())


def unescape(data: bytes) -> bytes:
    r"""Replace what JSON, XML and URLs write for ``+``, ``/``, ``=`` and line ends."""
    if b"\\" in data:
        while b"\\\\" in data:
            data = data.replace(b"\\\\", b"\\")
        data = data.replace(b"\\/", b"/").replace(b"\\n", b"\n").replace(b"\\r", b"\n")
    if b"%" in data:
        for escape, character in _URL_ESCAPES:
            data = data.replace(escape, character)
    if b"\\u00" in data or b"&#" in data:
        data = _REFERENCE.sub(_character, data)
    return data


def _character(match: re.Match[bytes]) -> bytes:
    text = match[match.lastgroup or 0]
    return bytes([int(text, 10 if match.lastgroup == "decimal" else 16)])


# Half of the smallest data set of faces as numbers (FER2013, 48 × 48), and more than
# COCO's keypoints (51) or any but the most intricate polygon (two per corner).
MAX_NUMBERS = 1000
"""A sequence of this many integers from 0 to 255 is an image."""

# Rows of a table of labels or boxes are shorter, and so is a column of labels.
_MIN_IN_ROW = 8

# A minus sign separates too, for bytes that Java writes as -128 to 127.
_NUMERIC = table_of(b"0123456789 \t\r\n,;|()[]-")
_JOINING = np.frombuffer(table_of(b",;|()[]"), dtype=bool)
_NETPBM = re.compile(rb"(?:\xef\xbb\xbf)?P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s")


def is_netpbm(head: bytes) -> bool:
    """Return whether a text starts like a PBM, PGM or PPM file."""
    return _NETPBM.match(head) is not None


def has_pixels(data: bytes) -> bool:
    """Return whether text contains a sequence of a thousand or more numbers from 0 to 255.

    The numbers are separated by spaces, line ends, commas, semicolons, bars and brackets
    only. Lines of a few bare numbers are a table or a column of labels and do not count,
    unless a comma or a bracket continues the list over the line end.
    """
    min_length = 2 * MAX_NUMBERS - 1  # a digit and a separator each
    return any(
        _longest_sequence(data[start:stop]) >= MAX_NUMBERS
        for start, stop in iter_runs(data, _NUMERIC, min_length)
    )


def _longest_sequence(text: bytes) -> int:
    codes = np.frombuffer(text, dtype=np.uint8)
    edges = np.flatnonzero(np.diff((codes >= 48) & (codes <= 57), prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    if len(starts) < MAX_NUMBERS:
        return 0
    counted = _fits_a_byte(codes, starts, stops) & _in_long_rows(codes, starts, stops)
    breaks = np.flatnonzero(~counted)
    return int(np.diff(np.concatenate(([-1], breaks, [len(counted)]))).max()) - 1


def _fits_a_byte(
    codes: npt.NDArray[np.uint8], starts: npt.NDArray[Any], stops: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    lengths = stops - starts
    value = np.zeros(len(starts), dtype=np.int64)
    for place, weight in enumerate((1, 10, 100), start=1):
        # An index before the text wraps around; the length masks it.
        value += np.where(lengths >= place, codes[stops - place].astype(np.int64) - 48, 0) * weight
    return np.asarray((lengths <= 3) & (value <= 255))


def _in_long_rows(
    codes: npt.NDArray[np.uint8], starts: npt.NDArray[Any], stops: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    line_ends = np.cumsum(codes == 10)
    joins = np.cumsum(~_JOINING[codes])
    left, right = stops[:-1], starts[1:]
    ends = (line_ends[right] > line_ends[left - 1]) & (joins[right] == joins[left - 1])
    rows = np.concatenate(([0], np.cumsum(ends)))
    return np.asarray(np.bincount(rows)[rows] >= _MIN_IN_ROW)


_BLOCK = 1 << 20

# What is sufficient to recognise an image must fit into one overlap: a thousand numbers on
# separate indented lines are the longest.
_OVERLAP = 1 << 16

_NO_TEXT = "it is not UTF-8 or UTF-16 text"
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\v\f\r") + b"\x7f"


def find_in_file(path: Path) -> str | None:
    """Return why a text file may contain images, or None.

    Args:
        path: text file, UTF-8, or UTF-16 with a byte order mark.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return find_in_blocks(iter(lambda: file.read(_BLOCK), b""))


def find_in_blocks(blocks: Iterable[bytes]) -> str | None:
    """Return why text may contain images, or None.

    Args:
        blocks: whole file in blocks of two bytes or more: UTF-8, or UTF-16 with a byte order
            mark.
    """
    try:
        return find_in_text(_iter_utf8(blocks))
    except UnicodeError:
        return _NO_TEXT


def find_in_text(pieces: Iterable[bytes]) -> str | None:
    """Return why text may contain images, or None.

    Args:
        pieces: UTF-8 text, cut anywhere.
    """
    for number, block in enumerate(_overlapping(without_masks(pieces))):
        if number == 0 and is_netpbm(block):
            return "it holds a picture as numbers"
        if reason := _find_in_block(block):
            return reason
    return None


def _overlapping(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join pieces to blocks to search, each starting with the end of the previous one."""
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
            decoder = codecs.getincrementaldecoder(xml_encoding(block))("strict")
        yield decoder.decode(block).encode()
    if decoder is not None:
        decoder.decode(b"", final=True)
