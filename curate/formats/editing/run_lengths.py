"""COCO's run-length encoding of masks: plain counts, and counts as compressed text.

Runs go down the columns and begin with zeros. The compressed text writes each count,
from the third on as the difference to the one before the last, in groups of five bits
from the lowest on: 48 is added, and 32 where another group follows (as in
``maskApi.c`` of the COCO API, *rleToString*).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError

Mask = npt.NDArray[np.uint8]

_OFFSET, _MORE, _SIGN, _BITS = 48, 0x20, 0x10, 5
_MOST_GROUPS = 13  # of a count of 64 bits


def decode_runs(counts: Sequence[int] | str, width: int, height: int, where: str) -> Mask:
    """A mask of zeros and ones, H×W uint8, from its runs.

    Args:
        counts: numbers of pixels, or their compressed text.
        width: of the mask, pixels.
        height: of the mask, pixels.
        where: what a message calls them.

    Raises:
        DataError: if they are no run lengths of a mask of this size.
    """
    runs = parse_counts(counts, where) if isinstance(counts, str) else counts
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != width * height:
        raise DataError(f"{where} holds no run lengths of a mask of {width}×{height} pixels")
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_runs(mask: Mask) -> list[int]:
    """The runs of a mask, H×W, in which what is not zero counts as one."""
    flat = (mask.T != 0).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def parse_counts(text: str, where: str) -> list[int]:
    """The counts of a compressed text.

    Raises:
        DataError: if it is none.
    """
    counts: list[int] = []
    value = group = 0
    for letter in text:
        code = ord(letter) - _OFFSET
        if not 0 <= code < 2 * _MORE or group == _MOST_GROUPS:
            raise DataError(f"{where} holds {letter!a}, which is no compressed run length")
        value |= (code & 0x1F) << _BITS * group
        group += 1
        if not code & _MORE:
            if code & _SIGN:
                value -= 1 << _BITS * group
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = group = 0
    if group:
        raise DataError(f"{where} ends within a compressed run length")
    return counts


def format_counts(counts: Sequence[int]) -> str:
    """The compressed text of counts."""
    letters: list[str] = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            code = value & 0x1F
            value >>= _BITS
            more = value != (-1 if code & _SIGN else 0)
            letters.append(chr(code + _OFFSET + (_MORE if more else 0)))
            if not more:
                break
    return "".join(letters)
