"""The quantisation tables of a JPEG (ITU-T T.81, B.2.4.1)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.stream import DQT, JpegStream
from curate.core.errors import WithheldError

Table = npt.NDArray[np.float64]
"""A quantisation table: 64 steps, row by row."""


def quantisation_tables(stream: JpegStream) -> list[Table]:
    """Every component's table, as last defined.

    Raises:
        WithheldError: ``corrupt`` if a component's table is not in the file, or
            has a step of zero.
    """
    tables: dict[int, Table] = {}
    for segment in stream.coded:
        if segment.marker == DQT:
            tables.update(_read_tables(segment.payload))
    if any(component.table not in tables for component in stream.frame.components):
        raise WithheldError("corrupt", "the JPEG lacks a quantisation table")
    found = [tables[component.table] for component in stream.frame.components]
    if not all(table.all() for table in found):
        raise WithheldError("corrupt", "a JPEG quantisation table has a step of zero")
    return found


def _read_tables(payload: bytes) -> dict[int, Table]:
    tables: dict[int, Table] = {}
    at = 0
    while at < len(payload):
        wide, slot = payload[at] >> 4, payload[at] & 15
        size = 128 if wide else 64
        steps = np.frombuffer(payload, ">u2" if wide else "u1", 64, at + 1)
        table = np.empty(64)
        table[_zigzag()] = steps
        tables[slot] = table
        at += 1 + size
    return tables


@lru_cache(maxsize=1)
def _zigzag() -> npt.NDArray[np.intp]:
    """Row-by-row position of each coefficient in the order of the file (T.81, figure 5)."""
    order = sorted(
        ((y, x) for y in range(8) for x in range(8)),
        key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
    )
    return np.array([8 * y + x for y, x in order])
