"""Diffuse: smooth interpolation from the pixels around the face; the default method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.core.geometry import Box, shift
from curate.core.protocols import Frame
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import (
    Fixed,
    double,
    from_fixed,
    halve,
    mid_gray,
    planes,
    to_fixed,
)
from curate.obfuscators.masks import FillMethod, Mask

_BINOMIAL = np.array([0.25, 0.5, 0.25], dtype=np.float32)
_MIN_KNOWN = np.float32(0.25)
_SWEEPS = 2
_LARGE = 1 << 20  # pixels: the interpolated surface is smooth enough at this size


def interpolate(fixed: Fixed, known: Mask) -> Fixed:
    """Fill unknown pixels with an approximately harmonic surface through the known ones.

    Push–pull (Gortler et al., *The Lumigraph*, SIGGRAPH 1996) with relaxation sweeps
    at every level, as in cascadic multigrid (Bornemann & Deuflhard 1996): known
    pixels are averaged into ever coarser levels until none is unknown; on the way back
    each unknown pixel is interpolated from the coarser level and relaxed towards the
    mean of its neighbors, with known pixels fixed. Neumann boundary (zero slope).
    Linear time in the number of pixels.

    Args:
        fixed: H×W or H×W×C with 2–4 channels, whole numbers; **0 where unknown**, so
            that no hidden pixel can enter a sum.
        known: H×W, 1 where a pixel may be read; at least one pixel.

    Returns:
        The same shape: interpolated values where pixels are unknown, a low-pass of the
        known pixels elsewhere.
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
    """One relaxation sweep: the 3×3 binomial kernel."""
    relaxed: Fixed = cv2.sepFilter2D(  # type: ignore[assignment]
        fixed, -1, _BINOMIAL, _BINOMIAL, borderType=cv2.BORDER_REPLICATE
    )
    return np.rint(relaxed, out=relaxed)


def _pull(fixed: Fixed, known: Mask) -> tuple[Fixed, Mask]:
    """Downsample by 2: means of known pixels where at least a quarter is known."""
    share = halve(known.astype(np.float32))
    threshold = min(_MIN_KNOWN, share.max())
    means = halve(fixed)
    # Division is needed only at the border between known and unknown.
    edge = np.flatnonzero((share > 0) & (share < 1))
    at_edge = share.ravel()[edge, None]
    cells = means.reshape(share.size, -1)
    cells[edge] = np.where(at_edge >= threshold, cells[edge] / at_edge, 0)
    return np.rint(means, out=means), (share >= threshold).astype(np.uint8)


_MIN_RING = 4
_RING_SHARE = 16


@dataclass(frozen=True, slots=True)
class Diffuse(FillMethod):
    """Fill hidden regions smoothly from the pixels around them.

    No hidden pixel of any face is read: all are unknown, and each connected group of
    regions is interpolated from the known pixels around it. A group that fills the
    image becomes mid-gray.

    Args:
        feather: width of the soft edge outside the region, as a share of the face's
            longer side. Its pixels are unknown to the interpolation too.

    Raises:
        UsageError: if ``feather`` is not within 0..1.
    """

    feather: float = 0.0

    name = "diffuse"
    version = "1"
    keeps = "nothing"

    def _fill(self, image: Frame, group: Sequence[Box], unknown: Mask, layer: Frame) -> None:
        image, layer = planes(image), planes(layer)
        height, width = unknown.shape
        ring = max(_MIN_RING, int(masks.longer_side(masks.enclose(group))) // _RING_SHARE)
        window = masks.surroundings(group, ring, width, height)
        known = 1 - unknown[window.slices]
        if known.any():
            seen = _known_pixels(image[window.slices], known)
            filled = from_fixed(interpolate(seen, known), image.dtype)
        else:
            filled = np.full_like(image[window.slices], mid_gray(image.dtype))
        for box in group:
            layer[box.slices] = filled[shift(box, -window.x0, -window.y0).slices]


def _known_pixels(image: Frame, known: Mask) -> Fixed:
    """The known pixels, and zero for all others, before anything is computed."""
    seen = np.zeros(image.shape, dtype=image.dtype)
    cv2.copyTo(image, known, seen)
    return to_fixed(seen)
