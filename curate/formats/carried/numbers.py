"""Pixels written as numbers: FER2013's ``pixels``, nested lists, ASCII PGM."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.formats.carried.runs import iter_runs, table_of

# Half of the smallest data set of faces as numbers (FER2013, 48 × 48), and more than
# COCO's keypoints (51) or any but the most intricate polygon (two per corner).
MOST_NUMBERS = 1000
"""As many whole numbers of one byte in sequence are a picture."""

# Rows of a table of labels or boxes are shorter, and so is a column of labels;
# a picture of fewer columns shows nobody.
_LEAST_IN_ROW = 8

# A minus sign separates too, for bytes that Java writes as -128 to 127.
_NUMERIC = table_of(b"0123456789 \t\r\n,;|()[]-")
_JOINING = np.frombuffer(table_of(b",;|()[]"), dtype=bool)
_NETPBM = re.compile(rb"(?:\xef\xbb\xbf)?P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s")


def is_netpbm(head: bytes) -> bool:
    """Whether a text begins as a PBM, PGM or PPM does."""
    return _NETPBM.match(head) is not None


def has_pixels(data: bytes) -> bool:
    """Whether text holds a thousand or more numbers from 0 to 255 in sequence.

    Between them stand only spaces, line ends, commas, semicolons, bars and
    brackets. Lines of a few bare numbers are a table or a column of labels and
    do not count, unless a comma or a bracket carries the list over the line end.
    """
    least = 2 * MOST_NUMBERS - 1  # a digit and a separator each
    return any(
        _longest_sequence(data[start:stop]) >= MOST_NUMBERS
        for start, stop in iter_runs(data, _NUMERIC, least)
    )


def _longest_sequence(text: bytes) -> int:
    codes = np.frombuffer(text, dtype=np.uint8)
    edges = np.flatnonzero(np.diff((codes >= 48) & (codes <= 57), prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    if len(starts) < MOST_NUMBERS:
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
    return np.asarray(np.bincount(rows)[rows] >= _LEAST_IN_ROW)
