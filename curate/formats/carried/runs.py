"""Long runs of characters of one kind, found in one pass over the bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def table_of(alphabet: bytes) -> bytes:
    """A table for ``iter_runs``: 0 for the characters of an alphabet, 1 for all others."""
    return bytes(code not in alphabet for code in range(256))


def iter_runs(data: bytes, table: bytes, least: int) -> Iterator[tuple[int, int]]:
    """Start and end of every run of at least ``least`` characters of an alphabet.

    Args:
        data: what to search.
        table: the alphabet, from ``table_of``.
        least: characters, 15 or more.
    """
    marks = data.translate(table)
    # Eight characters at a time: a run holds this many whole words without a break.
    clean = np.frombuffer(marks + b"\1" * (-len(marks) % 8), dtype=np.uint64) == 0
    edges = np.flatnonzero(np.diff(clean, prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    for index in np.flatnonzero(stops - starts >= max((least - 7) // 8, 1)):
        start = marks.rfind(b"\1", 0, int(starts[index]) * 8) + 1
        stop = marks.find(b"\1", int(stops[index]) * 8)
        stop = len(marks) if stop < 0 else stop
        if stop - start >= least:
            yield start, stop
