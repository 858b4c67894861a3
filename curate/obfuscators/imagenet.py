"""ImageNet: the published face-blurring recipe of ImageNet, for comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from curate.core.entries import Scalar
from curate.core.errors import WithheldError
from curate.core.faces import Region
from curate.core.geometry import Box, clip, grow, round_out, shift
from curate.core.protocols import Frame
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import check_frame, planes
from curate.obfuscators.masks import Weights

_SHARE = 0.1  # of the longer side: growth of each face, and sigma by the largest
_PASSES = 3  # box filters by which Pillow approximates a Gaussian


@dataclass(frozen=True, slots=True)
class ImageNet:
    """Blur as in Yang et al., *A Study of Face Obfuscation in ImageNet* (ICML 2022).

    Every face is grown by 0.1 of its longer side. One sigma, 0.1 of the longest side of
    all faces, blurs both the image and the mask of the grown faces; the blurred mask
    blends the blurred image with the original. Because sigma follows the largest face,
    the mask of a small face is washed out: beside a face ten times its size, 81 % of
    the weight of its original pixels remains on average. For comparison only; it does
    not protect small faces.

    Uses the regions' ``face`` boxes, not ``hidden``, as the recipe does.
    """

    name = "imagenet"
    version = "1"
    keeps = (
        "the shading of each face, and the more of its original pixels the smaller it is beside "
        "the largest face of the image: 40 % of their weight at 1/4 of its size, 81 % at 1/10"
    )

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """Constants of the recipe, for the manifest; there are no options."""
        return {"growth": _SHARE, "sigma": _SHARE}

    def apply(self, image: Frame, regions: Sequence[Region]) -> Frame:
        """Return a copy of ``image`` blurred by the recipe.

        Args:
            image: H×W or H×W×C with 1–4 channels, uint8.
            regions: whole-pixel regions inside the image.

        Raises:
            WithheldError: if the image or a region is of another kind.
        """
        check_frame(image)
        if image.dtype != np.uint8:
            raise WithheldError(
                "unsupported", "the imagenet method takes 8-bit images; use another method"
            )
        height, width = image.shape[:2]
        masks.check_regions(regions, width, height)
        output = image.copy()
        if not regions:
            return output
        # Pixels beyond the filter's support do not influence those inside.
        touched = self.reach(regions, width, height)
        support = _support(_sigma(regions))
        at = masks.surroundings(touched, support, width, height)
        mask = _mask(regions, at)
        source = Image.fromarray(np.ascontiguousarray(planes(image)[at.slices]))
        blurred = source.filter(ImageFilter.GaussianBlur(_sigma(regions)))
        mixed = np.asarray(Image.composite(source, blurred, mask))
        output[at.slices] = mixed.reshape(output[at.slices].shape)
        return output

    def reach(self, regions: Sequence[Region], width: int, height: int) -> list[Box]:
        """Return whole-pixel boxes outside which ``apply`` changes nothing."""
        if not regions:
            return []
        pad = _support(_sigma(regions)) + 1  # one more for the drawn rectangle's rounding
        boxes = []
        for each in regions:
            box = round_out(grow(each.face, _SHARE))
            grown = Box(box.x0 - pad, box.y0 - pad, box.x1 + pad, box.y1 + pad)
            boxes.append(clip(grown, width, height))
        return boxes

    def blend(self, regions: Sequence[Region], width: int, height: int) -> Weights:
        """Return the weight of the blurred image in the output, H×W, 0..1."""
        if not regions:
            return np.zeros((height, width), dtype=np.float32)
        mask = np.asarray(_mask(regions, Box(0, 0, width, height)))
        return np.float32(1) - mask.astype(np.float32) / np.float32(255)


def _sigma(regions: Sequence[Region]) -> float:
    return _SHARE * max(masks.longer_side(each.face) for each in regions)


def _support(sigma: float) -> int:
    """Support radius of Pillow's Gaussian, pixels; its box filters are extended by one."""
    return _PASSES * (math.floor((math.sqrt(12 * sigma**2 / _PASSES + 1) - 1) / 2) + 1)


def _mask(regions: Sequence[Region], window: Box) -> Image.Image:
    """The blurred mask inside a window: 255 keeps the original."""
    mask = Image.new("L", (int(window.width), int(window.height)), "white")
    draw = ImageDraw.Draw(mask)
    for each in regions:
        draw.rectangle(shift(grow(each.face, _SHARE), -window.x0, -window.y0).xyxy, fill="black")
    return mask.filter(ImageFilter.GaussianBlur(_sigma(regions)))
