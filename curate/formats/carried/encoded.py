"""Pictures written as base64, hexadecimal or escapes."""

from __future__ import annotations

import re

import numpy as np

from curate.formats.carried.runs import iter_runs, table_of

_LONGEST_WORD = 1000
"""Characters without a break; no annotation has such a word."""

_LEAST_LINE = 40
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
    """Say how text holds a picture or other binary data, or None if it does not.

    Args:
        data: text as UTF-8, unescaped by ``unescape``.
    """
    for start, stop in iter_runs(data, _BASE64, _LEAST_LINE):
        if _SIGNED.match(data, start):
            return "it holds a picture in base64 or hexadecimal"
        if stop - start >= _LONGEST_WORD:
            return f"it holds {stop - start} characters of base64 or hexadecimal without a break"
    return None


def has_escaped_bytes(data: bytes) -> bool:
    r"""Whether text holds bytes as escapes: ``\xff\xd8``, ``\u00ff``, ``\377``, ``0xff``.

    Args:
        data: text as UTF-8, as it stands in the file.
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
    r"""Text with what JSON, XML and URLs write for ``+``, ``/``, ``=`` and line ends."""
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
