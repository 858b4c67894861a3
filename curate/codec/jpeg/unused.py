"""What a JPEG can hold beside the coefficients that it shows: unused steps, codes and restarts.

A quantization step of a coefficient that is zero in all blocks has no meaning. So have bits
between the last code of a restart interval and its marker, and symbols of Huffman tables that
no sequential scan can contain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from curate.codec.jpeg.coefficients import Coefficients, zigzag
from curate.codec.jpeg.segments import DHT, DQT, DRI, JpegStream, tables_of

_MAX_SIZE = 10  # bits of an AC coefficient (T.81, F.1.2.2)
_MAX_DC_SIZE = 11
_ZEROS = (0x00, 0xF0)  # AC symbols without a coefficient: end of block, sixteen zeros


def with_used_steps(stream: JpegStream, planes: Sequence[Coefficients]) -> JpegStream:
    """Return the stream with each quantization step that no block uses equal to the one before.

    Args:
        stream: a JPEG that defines its quantization tables before its first scan.
        planes: its coefficients, of every component.
    """
    used = np.zeros((4, 64), np.bool_)
    for component, plane in zip(stream.frame.components, planes, strict=True):
        used[component.table] |= (plane != 0).any(axis=(0, 1))[zigzag()]
    coded = [
        replace(
            segment,
            payload=b"".join(_filled(table, used[name]) for name, table in tables_of(segment)),
        )
        if segment.marker == DQT
        else segment
        for segment in stream.coded
    ]
    return replace(stream, coded=tuple(coded))


def _filled(table: bytes, used: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bytes:
    """A table of DQT; the step of the mean is always used."""
    steps = np.frombuffer(table, ">u2" if table[0] >> 4 else "u1", 64, 1)
    last_used = np.maximum.accumulate(np.where(used, np.arange(64), 0))
    return table[:1] + steps[last_used].tobytes()


def has_free_bits(stream: JpegStream) -> bool:
    """Return whether scans have restart markers, or Huffman tables symbols of no meaning."""
    return any(
        segment.marker == DRI
        or (
            segment.marker == DHT
            and not stream.frame.progressive
            and not all(_is_usual(table) for _, table in tables_of(segment))
        )
        for segment in stream.coded
    )


def _is_usual(table: bytes) -> bool:
    symbols = table[17:]
    if table[0] >> 4 == 0:
        return all(symbol <= _MAX_DC_SIZE for symbol in symbols)
    return all(
        symbol in _ZEROS if symbol & 15 == 0 else symbol & 15 <= _MAX_SIZE for symbol in symbols
    )
