"""Lay one computed patch per face over the image, whatever the order of the faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from curate.core.faces import Region
from curate.core.geometry import Box, shift
from curate.core.protocols import Frame
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import check_frame

Patch = Callable[[Frame, Region, Box], Frame]
"""From the image, a region and its feathered box to what covers that box."""


def lay_patches(image: Frame, regions: Sequence[Region], feather: float, patch: Patch) -> Frame:
    """A copy of ``image`` with every region covered by its own patch.

    Every patch is computed from the original. Where hidden regions overlap, the
    larger face's patch is on top, because it is the coarser one.

    Args:
        image: H×W or H×W×C with 1–4 channels, uint8 or uint16.
        regions: whole-pixel regions inside the image.
        feather: width of the soft edge outside each region, as a share of the face's
            longer side.
        patch: computes what covers a region.

    Raises:
        WithheldError: if the image or a region is of another kind.
    """
    check_frame(image)
    height, width = image.shape[:2]
    masks.check_regions(regions, width, height)
    layer = image.copy()
    ordered = sorted(regions, key=lambda each: (masks.longer_side(each.face), each.face.xyxy))
    boxes = [masks.feathered(each, feather, width, height) for each in ordered]
    patches = [patch(image, each, box) for each, box in zip(ordered, boxes, strict=True)]
    for box, covering in zip(boxes, patches, strict=True):
        layer[box.slices] = covering
    for each, box, covering in zip(ordered, boxes, patches, strict=True):
        # Again, so that no face's soft edge lies over another's hidden region.
        layer[each.hidden.slices] = covering[shift(each.hidden, -box.x0, -box.y0).slices]
    return masks.settle(image, layer, regions, feather)
