"""Coefficients of a JPEG that exceed the range of pixels, which decoders clip.

Raised by a constant, blocks of a photo decode to pure white, and lowered again to the photo. Pixels
that were encoded have means inside the range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.coefficients import Coefficients, block_shapes, quantization_tables
from curate.codec.jpeg.segments import JpegStream
from curate.core.protocols import Frame

_BLOCK = 8
_MAX_ENDS = 24
"""Samples of a block at an end of the range, from which its mean may be beyond it."""
_MAX_EXCESS = 4.0
"""Levels by which the mean of a block may exceed the range, besides rounding; 0.2 in 598 photos."""
_MAX_RGB_EXCESS = 32.0
"""The same in RGB; cameras of the year 2000 store colors up to 24 levels outside it."""
_TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])

Floats = npt.NDArray[np.float64]


def may_exceed_range(pixels: Frame) -> bool:
    """Return whether three eighths of a block, or a part at an edge, are 0 or 255 in a channel.

    For JPEGs whose coefficients are not read.
    """
    ends = (pixels == 0) | (pixels == 255)
    ends = ends.reshape(*ends.shape[:2], -1)
    pad = [(0, -size % _BLOCK) for size in ends.shape[:2]]
    ends = np.pad(ends, (*pad, (0, 0)), mode="edge")
    rows, columns = (size // _BLOCK for size in ends.shape[:2])
    counts = np.count_nonzero(ends.reshape(rows, _BLOCK, columns, _BLOCK, -1), axis=(1, 3))
    return bool(counts.max() >= _MAX_ENDS)


def exceeds_range(stream: JpegStream, planes: Sequence[Coefficients]) -> bool:
    """Return whether the mean of a block is outside 0..255, in its component or in RGB.

    Args:
        stream: a JPEG whose blocks can be rewritten.
        planes: its coefficients; blocks beyond the edges are ignored.
    """
    components, tables = stream.frame.components, quantization_tables(stream)
    means = [
        plane[:rows, :columns, 0] * (table[0] / 8) + 128
        for plane, table, (rows, columns) in zip(
            planes, tables, block_shapes(stream.frame), strict=True
        )
    ]
    steps = [float(table[0]) / 8 for table in tables]
    if any(_excess(mean) > _MAX_EXCESS + step for mean, step in zip(means, steps, strict=True)):
        return True
    if stream.color_space != "YCbCr":
        return False
    units = [_per_unit(mean, c.v, c.h) for mean, c in zip(means, components, strict=True)]
    rows, columns = (min(unit.shape[axis] for unit in units) for axis in (0, 1))
    stacked = np.stack([unit[:rows, :columns] for unit in units], axis=-1)
    stacked[..., 1:] -= 128
    return _excess(stacked @ _TO_RGB.T) > _MAX_RGB_EXCESS + steps[0] + 2 * max(steps[1:])


def _excess(values: Floats) -> float:
    return float(np.maximum(values - 255, -values).max())


def _per_unit(means: Floats, down: int, across: int) -> Floats:
    """Means over each MCU of a component's blocks; missing blocks repeat the last."""
    pad = ((0, -means.shape[0] % down), (0, -means.shape[1] % across))
    padded = np.pad(means, pad, mode="edge")
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    return np.asarray(padded.reshape(rows, down, columns, across).mean(axis=(1, 3)))
