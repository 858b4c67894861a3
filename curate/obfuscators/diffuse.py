"""Colours flow in from around the face; the default method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.core.faces import Region
from curate.core.geometry import Box, clip
from curate.core.ports import Frame
from curate.core.transforms import Scalar
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import Fixed, check_frame, from_fixed, mid_grey, planes, to_fixed
from curate.obfuscators.masks import Mask, Weights
from curate.obfuscators.membrane import interpolate
from curate.obfuscators.options import require

_LEAST_RING = 4


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
        output = image.copy()
        boxes = self.reach(regions, width, height)
        unknown = masks.union(boxes, width, height)
        weights = masks.blend(regions, self.feather, width, height) if self.feather else None
        for group in masks.clusters(boxes):
            _fill(planes(image), group, unknown, weights, planes(output))
        return output

    def reach(self, regions: Sequence[Region], width: int, height: int) -> list[Box]:
        """Whole-pixel boxes outside which ``apply`` changes nothing."""
        return [masks.feathered(each, self.feather, width, height) for each in regions]

    def blend(self, regions: Sequence[Region], width: int, height: int) -> Weights:
        """Weight of the filled layer in the output, H×W, 0..1."""
        return masks.blend(regions, self.feather, width, height)


def _fill(
    image: Frame, group: Sequence[Box], unknown: Mask, weights: Weights | None, output: Frame
) -> None:
    """Fill one group of regions in ``output``, reading only known pixels of ``image``."""
    window = _window(group, *unknown.shape)
    known = 1 - unknown[window.slices]
    if known.any():
        layer = from_fixed(interpolate(_seen(image[window.slices], known), known), image.dtype)
    else:
        layer = np.full_like(image[window.slices], mid_grey(image.dtype))
    x, y = int(window.x0), int(window.y0)
    for box in group:
        rows, columns = box.slices
        inside = layer[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        if weights is not None:
            inside = masks.mix(image[rows, columns], inside, weights[rows, columns])
        output[rows, columns] = inside


def _seen(image: Frame, known: Mask) -> Fixed:
    """The known pixels; zero in place of every other, before anything is computed."""
    seen = np.zeros_like(image)
    cv2.copyTo(image, known, seen)
    return to_fixed(seen)


def _window(group: Sequence[Box], height: int, width: int) -> Box:
    """A group's bounding box with a ring of surroundings to interpolate from."""
    box = masks.enclose(group)
    ring = max(_LEAST_RING, int(masks.longer_side(box)) // 16)
    return clip(Box(box.x0 - ring, box.y0 - ring, box.x1 + ring, box.y1 + ring), width, height)
