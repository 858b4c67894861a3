"""Smooth interpolation of unknown pixels from known ones, by a pyramid."""

from __future__ import annotations

import cv2
import numpy as np

from curate.obfuscators.fixedpoint import Fixed, double, halve
from curate.obfuscators.masks import Mask

_BINOMIAL = np.array([0.25, 0.5, 0.25], dtype=np.float32)
_KNOWN_FROM = np.float32(0.25)
_SWEEPS = 2
_LARGE = 1 << 20  # pixels: the interpolated surface is smooth enough at this size


def interpolate(fixed: Fixed, known: Mask) -> Fixed:
    """Fill unknown pixels with an approximately harmonic surface through the known ones.

    Push–pull (Gortler et al., *The Lumigraph*, SIGGRAPH 1996) with relaxation sweeps
    at every level, as in cascadic multigrid (Bornemann & Deuflhard 1996): known
    pixels are averaged into ever smaller images until none is unknown; on the way
    back every unknown pixel is interpolated from the smaller image and relaxed towards
    the mean of its neighbours, with the known ones held. Borders are natural (zero
    slope). Time grows with the number of pixels.

    Args:
        fixed: H×W or H×W×C with 2–4 channels, whole numbers; **0 where unknown**, so
            that what was there cannot enter any sum.
        known: H×W, 1 where a pixel may be read; at least one.

    Returns:
        The same shape, smooth throughout: a filled value where a pixel was unknown, and
        a low-pass of the known ones beside it.
    """
    height, width = known.shape
    if known.all():
        return fixed
    coarse, coarse_known = _pull(fixed, known)
    surface = interpolate(coarse, coarse_known)
    cv2.copyTo(coarse, coarse_known, surface)
    filled = double(surface, width, height)
    if height * width < _LARGE:
        for _ in range(_SWEEPS):
            cv2.copyTo(fixed, known, filled)
            filled = _relax(filled)
    return filled


def _relax(fixed: Fixed) -> Fixed:
    """Every pixel towards the mean of its neighbours, by the 3×3 binomial kernel."""
    relaxed: Fixed = cv2.sepFilter2D(  # type: ignore[assignment]
        fixed, -1, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REPLICATE
    )
    return np.rint(relaxed, out=relaxed)


def _pull(fixed: Fixed, known: Mask) -> tuple[Fixed, Mask]:
    """Half the size: means of the known pixels, where they are a fair share."""
    share = halve(known.astype(np.float32))
    least = min(_KNOWN_FROM, share.max())
    means = halve(fixed)
    # Only where known meets unknown is there anything to divide.
    edge = np.flatnonzero((share > 0) & (share < 1))
    at_edge = share.ravel()[edge, None]
    cells = means.reshape(share.size, -1)
    cells[edge] = np.where(at_edge >= least, cells[edge] / at_edge, 0)
    return np.rint(means, out=means), (share >= least).astype(np.uint8)
