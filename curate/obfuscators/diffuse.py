"""Colours flow in from around the face; the default method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.core.faces import Region
from curate.core.geometry import Box, shift
from curate.core.protocols import Frame
from curate.core.transforms import Scalar
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import Fixed, check_frame, from_fixed, mid_grey, planes, to_fixed
from curate.obfuscators.masks import Mask, Weights
from curate.obfuscators.membrane import interpolate
from curate.obfuscators.options import require

_LEAST_RING = 4
_RING_SHARE = 16


@dataclass(frozen=True, slots=True)
class Diffuse:
    """Fill hidden regions smoothly from the pixels around them.

    No hidden pixel is ever read: all of them, of every face in the image, are unknown
    at once, and each connected group of regions is interpolated from the known pixels
    of its surroundings. A group that fills the image becomes mid-grey.

    Args:
        feather: width of the soft edge outside the region, as a share of the face's
            longer side. The soft edge is not read for the interpolation either.

    Raises:
        UsageError: if ``feather`` is not within 0..1.
    """

    feather: float = 0.0

    name = "diffuse"
    version = "1"
    keeps = "nothing"

    def __post_init__(self) -> None:
        require(0 <= self.feather <= 1, "feather", self.feather, "a number from 0 to 1")

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """Every option, for the manifest."""
        return {"feather": self.feather}

    def apply(self, image: Frame, regions: Sequence[Region]) -> Frame:
        """A copy of ``image`` with the regions filled from around them.

        Args:
            image: H×W or H×W×C with 1–4 channels, uint8 or uint16.
            regions: whole-pixel regions inside the image.

        Raises:
            WithheldError: if the image or a region is of another kind.
        """
        check_frame(image)
        height, width = image.shape[:2]
        masks.check_regions(regions, width, height)
        layer = image.copy()
        boxes = self.reach(regions, width, height)
        unknown = masks.union(boxes, width, height)
        for group in masks.clusters(boxes):
            _fill(planes(image), group, unknown, planes(layer))
        return masks.settle(image, layer, regions, self.feather)

    def reach(self, regions: Sequence[Region], width: int, height: int) -> list[Box]:
        """Whole-pixel boxes outside which ``apply`` changes nothing."""
        return [masks.feathered(each, self.feather, width, height) for each in regions]

    def blend(self, regions: Sequence[Region], width: int, height: int) -> Weights:
        """Weight of the filled layer in the output, H×W, 0..1."""
        return masks.blend(regions, self.feather, width, height)


def _fill(image: Frame, group: Sequence[Box], unknown: Mask, layer: Frame) -> None:
    """Fill one group of boxes in ``layer``, reading only known pixels of ``image``."""
    height, width = unknown.shape
    ring = max(_LEAST_RING, int(masks.longer_side(masks.enclose(group))) // _RING_SHARE)
    window = masks.surroundings(group, ring, width, height)
    known = 1 - unknown[window.slices]
    if known.any():
        seen = _seen(image[window.slices], known)
        filled = from_fixed(interpolate(seen, known), image.dtype)
    else:
        filled = np.full_like(image[window.slices], mid_grey(image.dtype))
    for box in group:
        layer[box.slices] = filled[shift(box, -window.x0, -window.y0).slices]


def _seen(image: Frame, known: Mask) -> Fixed:
    """The known pixels; zero in place of every other, before anything is computed."""
    seen = np.zeros(image.shape, dtype=image.dtype)
    cv2.copyTo(image, known, seen)
    return to_fixed(seen)
