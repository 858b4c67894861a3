"""Gaussian: a blur of each face, for comparison; the coarse shading survives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.faces import Region
from curate.core.geometry import Box, shift
from curate.core.protocols import Frame
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import Fixed, double, from_fixed, halve, planes, to_fixed
from curate.obfuscators.masks import PatchMethod
from curate.obfuscators.options import require

_MIN_SIGMA = 2.0  # pixels; smaller values would leave the smallest faces unchanged
_WEIGHT_STEPS = 4096.0
_SUPPORT = 3.0  # sigmas; beyond, a pixel's weight is below 0.5 %


@dataclass(frozen=True, slots=True)
class Gaussian(PatchMethod):
    """Blur each face by a Gaussian proportional to its size.

    Args:
        sigma: standard deviation, as a share of the face's longer side; at least
            2 pixels are used.
        feather: width of the soft edge outside the region, as a share of the face's
            longer side.

    Raises:
        UsageError: if ``sigma`` is not within 0.1..2 or ``feather`` not within 0..1.
    """

    sigma: float = 0.3
    feather: float = 0.0

    name = "gaussian"
    version = "1"
    keeps = (
        "the coarse shading of each face; from a blur of 0.3 of the face an attacker who trains "
        "on blurred faces recognized 84 % of the test photos of 40 people, from 0.1 96 %"
    )

    def __post_init__(self) -> None:
        require(0.1 <= self.sigma <= 2, "sigma", self.sigma, "a number from 0.1 to 2")
        PatchMethod.__post_init__(self)

    def _patch(self, image: Frame, region: Region, box: Box) -> Frame:
        """The blurred image inside a box."""
        height, width = image.shape[:2]
        sigma = max(self.sigma * masks.longer_side(region.face), _MIN_SIGMA)
        window = masks.surroundings([box], math.ceil(_SUPPORT * sigma), width, height)
        blurred = blur(to_fixed(planes(image)[window.slices]), sigma)
        inside = blurred[shift(box, -window.x0, -window.y0).slices]
        return from_fixed(np.ascontiguousarray(inside), image.dtype).reshape(
            *inside.shape[:2], *image.shape[2:]
        )


def blur(fixed: Fixed, sigma: float) -> Fixed:
    """Gaussian blur on an image pyramid.

    Each down- and upsampling step at level l adds a variance of 4ˡ pixels²; a Gaussian
    at the coarsest level adds the rest. Weights are multiples of 1/4096, so sums are
    exact in float64.

    Args:
        fixed: H×W or H×W×C, integers; reflected at the borders.
        sigma: standard deviation, pixels.
    """
    levels = max(0, math.floor(math.log2(sigma / 2)))
    added = 2 * (4**levels - 1) / 3
    sizes = []
    for _ in range(levels):
        sizes.append(fixed.shape[:2])
        fixed = np.rint(halve(fixed))
    kernel = _kernel(math.sqrt((sigma**2 - added) / 4**levels))
    smoothed = cv2.sepFilter2D(fixed, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    blurred: Fixed = np.rint(smoothed).astype(np.float32)
    for height, width in reversed(sizes):
        blurred = double(blurred, width, height)
    return blurred


def _kernel(sigma: float) -> npt.NDArray[np.float64]:
    """Sampled Gaussian of sum 1 with weights that are multiples of 1/4096."""
    radius = math.ceil(4 * sigma)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    steps: npt.NDArray[np.float64] = np.rint(bell / bell.sum() * _WEIGHT_STEPS)
    steps[radius] += _WEIGHT_STEPS - steps.sum()
    return steps / _WEIGHT_STEPS
