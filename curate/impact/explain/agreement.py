"""Whether methods of attribution say the same of an image."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import rankdata

from curate.impact.arrays import Floats

CELLS = 14
"""Cells along each side of the grid on which maps are compared."""


def to_cells(attribution: Floats) -> Floats:
    """What speaks for a class, added up over the cells of a grid; flat.

    So that a map of pixels and one of superpixels can be compared at all.

    Args:
        attribution: a map, H×W.
    """
    positive = np.maximum(attribution, 0.0)
    rows, columns = (min(CELLS, length) for length in positive.shape)
    down = np.linspace(0, positive.shape[0], rows, endpoint=False).round().astype(int)
    across = np.linspace(0, positive.shape[1], columns, endpoint=False).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(positive, down, axis=0), across, axis=1)
    return np.asarray(sums.ravel())


def correlate(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation of two maps on the grid, -1..1; NaN if one is flat."""
    ranks = [rankdata(each) for each in (a, b)]
    centred = [each - each.mean() for each in ranks]
    size = math.sqrt(float((centred[0] @ centred[0]) * (centred[1] @ centred[1])))
    return float(centred[0] @ centred[1]) / size if size > 0 else math.nan
