"""The discrete cosine transform of 8×8 blocks, both ways (ITU-T T.81, A.3.3).

The inverse is, integer for integer, the one that decoders show by default: the
fast algorithm of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) in the
fixed-point form of libjpeg's accurate method. So the samples that are kept are
those that can be seen, and no hidden fraction of them carries anything over.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.quantisation import Table

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Coefficients = npt.NDArray[np.int16]

_TIE = 1e-6  # larger than any error of summation: halves round upwards on every machine
_LARGEST = 1023  # a baseline coefficient has at most ten bits
_CONSTANT_BITS, _FIRST_PASS_BITS = 13, 2


def forward(samples: Floats, table: Table) -> Coefficients:
    """Quantised coefficients of blocks of samples.

    Args:
        samples: N×64, row by row, 0..255.
        table: 64 quantisation steps, row by row.
    """
    scaled = ((samples - 128.0) @ _matrix().T) / table
    return np.clip(np.floor(scaled + 0.5 + _TIE), -_LARGEST, _LARGEST).astype(np.int16)


def inverse(coefficients: Coefficients, table: Table) -> Floats:
    """Samples of blocks as a decoder shows them: whole numbers, 0..255, N×64."""
    values = coefficients.astype(np.int64) * table.astype(np.int64)
    blocks = values.reshape(-1, 8, 8)
    columns = _one_way(blocks.swapaxes(0, 1), _CONSTANT_BITS - _FIRST_PASS_BITS)
    rows = _one_way(columns.transpose(2, 1, 0), _CONSTANT_BITS + _FIRST_PASS_BITS + 3)
    samples = rows.transpose(1, 2, 0).reshape(-1, 64)
    return np.clip(samples + 128, 0, 255).astype(np.float64)


def _one_way(lines: Integers, shift: int) -> Integers:
    """The one-dimensional inverse along the first axis, of length 8, scaled down by a shift."""
    even = _even_part(lines)
    odd = _odd_part(lines)
    half = 1 << (shift - 1)
    both = np.concatenate([even + odd, (even - odd)[::-1]])
    return (both + half) >> shift


def _even_part(lines: Integers) -> Integers:
    turned = (lines[2] + lines[6]) * 4433  # √2·cos(6π/16) in 13 bits, and so on below
    low = turned - lines[6] * 15137
    high = turned + lines[2] * 6270
    total = (lines[0] + lines[4]) << _CONSTANT_BITS
    difference = (lines[0] - lines[4]) << _CONSTANT_BITS
    return np.stack([total + high, difference + low, difference - low, total - high])


def _odd_part(lines: Integers) -> Integers:
    first, second = lines[7] + lines[3], lines[5] + lines[1]
    common = (first + second) * 9633
    first, second = common - first * 16069, common - second * 3196
    outer = (lines[7] + lines[1]) * -7373
    inner = (lines[5] + lines[3]) * -20995
    return np.stack(
        [
            lines[1] * 12299 + outer + second,
            lines[3] * 25172 + inner + first,
            lines[5] * 16819 + inner + second,
            lines[7] * 2446 + outer + first,
        ]
    )


@lru_cache(maxsize=1)
def _matrix() -> Floats:
    """The two-dimensional forward transform of a block as one 64×64 matrix."""
    k, n = np.mgrid[0:8, 0:8]
    line = np.where(k == 0, np.sqrt(0.125), 0.5) * np.cos((2 * n + 1) * k * np.pi / 16)
    return np.kron(line, line)
