"""Hidden regions of faces, blend weights with feathering, and composition of the result."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt

from curate.core.entries import Scalar
from curate.core.errors import WithheldError
from curate.core.faces import Region
from curate.core.geometry import Box, clip, grow, round_out, shift
from curate.core.protocols import Frame
from curate.obfuscators.fixedpoint import check_frame
from curate.obfuscators.options import require

DEFAULT_MARGIN = 0.15
"""Default growth of a face on every side, as a share of its longer side."""

MAX_REGIONS = 4096
"""Maximum number of faces per image, which bounds time and memory."""

_MAX_COVER = 16
_SMALL_COVER = 1 << 24
"""Maximum area of all hidden regions together: times that of the image, or these pixels."""

_MARGINS = {"imagenet": 0.1}

Mask = npt.NDArray[np.uint8]
"""H×W, 1 or 0."""

Weights = npt.NDArray[np.float32]
"""H×W, weight of the obfuscated layer in the output, 0..1."""


def default_margin(method: str) -> float:
    """Return the default margin of a method."""
    return _MARGINS.get(method, DEFAULT_MARGIN)


def region(face: Box, margin: float, width: int, height: int) -> Region:
    """Return the whole-pixel region in which no original pixel may survive.

    The face is grown by ``margin`` times its longer side, rounded outwards and
    clipped to the image.

    Args:
        face: pixels of the image; may be fractional and extend outside.
        margin: share of the face's longer side, 0 or more.
        width: the image's width, pixels.
        height: the image's height, pixels.

    Raises:
        WithheldError: if the face is empty or the region has no pixel in the
            image. Such a box belongs to another image, size or convention; ignoring
            it could leave a face visible.
    """
    hidden = clip(round_out(grow(face, margin)), width, height)
    if face.is_empty or hidden.is_empty:
        raise WithheldError(
            "faces", f"face {face.xyxy} covers no pixel of a {width}×{height} image"
        )
    return Region(face, hidden)


def check_regions(regions: Sequence[Region], width: int, height: int) -> None:
    """Check that regions are whole pixels of the image.

    Raises:
        WithheldError: if there are more than ``MAX_REGIONS``, a hidden box is empty,
            fractional or not inside the image, or they cover the image many times over.
    """
    if len(regions) > MAX_REGIONS:
        raise WithheldError("faces", f"{len(regions):,} faces; at most {MAX_REGIONS:,} per image")
    for each in regions:
        box = each.hidden
        inside = 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
        if not inside or any(value % 1 for value in box.xyxy):
            raise WithheldError(
                "faces", f"hidden {box.xyxy} is not whole pixels of a {width}×{height} image"
            )
    area = sum(each.hidden.width * each.hidden.height for each in regions)
    if area > max(_MAX_COVER * width * height, _SMALL_COVER):
        times = f"{area / (width * height):.0f} times; at most {_MAX_COVER} times"
        raise WithheldError("faces", f"{len(regions):,} faces cover the image {times}")


def longer_side(face: Box) -> float:
    """Return the longer side of a face, pixels."""
    return max(face.width, face.height)


def feathered(each: Region, feather: float, width: int, height: int) -> Box:
    """Return a hidden box grown by its feather, clipped to the image.

    Args:
        each: the region.
        feather: width of the transition outside it, as a share of the face's longer side.
        width: the image's width, pixels.
        height: the image's height, pixels.
    """
    pad = math.ceil(feather * longer_side(each.face))
    box = each.hidden
    return clip(Box(box.x0 - pad, box.y0 - pad, box.x1 + pad, box.y1 + pad), width, height)


def union(boxes: Sequence[Box], width: int, height: int) -> Mask:
    """Return the union of whole-pixel boxes: H×W, 1 inside and 0 outside."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for box in boxes:
        mask[box.slices] = 1
    return mask


def enclose(boxes: Sequence[Box]) -> Box:
    """Return the bounding box of several boxes."""
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )


def surroundings(group: Sequence[Box], ring: int, width: int, height: int) -> Box:
    """Return the bounding box, grown by ``ring`` pixels on every side and clipped."""
    box = enclose(group)
    return clip(Box(box.x0 - ring, box.y0 - ring, box.x1 + ring, box.y1 + ring), width, height)


def clusters(boxes: Sequence[Box]) -> list[list[Box]]:
    """Group boxes into connected components of overlapping or touching boxes.

    Boxes that share only a corner are connected. Memory is linear in the number of boxes.
    """
    if len(boxes) < 2:
        return [[box] for box in boxes]
    x0, y0, x1, y1 = np.array([box.xyxy for box in boxes]).T
    label = np.full(len(boxes), -1)
    for first in range(len(boxes)):
        if label[first] >= 0:
            continue
        label[first] = first
        pending = [first]
        while pending:
            at = pending.pop()
            near = (x0 <= x1[at]) & (x1 >= x0[at]) & (y0 <= y1[at]) & (y1 >= y0[at])
            found = np.flatnonzero(near & (label < 0))
            label[found] = first
            pending += found.tolist()
    groups: dict[int, list[Box]] = {}
    for box, first in zip(boxes, label.tolist(), strict=True):
        groups.setdefault(first, []).append(box)
    return list(groups.values())


def blend(regions: Sequence[Region], feather: float, width: int, height: int) -> Weights:
    """Return the weight of the obfuscated layer: 1 in hidden regions, falling off outside.

    Args:
        regions: the regions of one image.
        feather: width of the fall-off, as a share of each face's longer side.
        width: the image's width, pixels.
        height: the image's height, pixels.

    Returns:
        H×W float32, 0..1; the maximum where several regions meet.
    """
    weights = np.zeros((height, width), dtype=np.float32)
    for each in regions:
        if feather > 0:
            box = feathered(each, feather, width, height)
            np.maximum(weights[box.slices], _fall_off(each, feather, box), out=weights[box.slices])
    for each in regions:
        weights[each.hidden.slices] = 1
    return weights


def composite(image: Frame, layer: Frame, regions: Sequence[Region], feather: float) -> Frame:
    """Composite an obfuscated layer over the image.

    Args:
        image: H×W or H×W×C, uint8 or uint16.
        layer: the image with every feathered region replaced.
        regions: the regions of the image.
        feather: width of the fall-off, as a share of each face's longer side.

    Returns:
        The layer where its weight is 1 (the original is not read there), a blend in
        the feather, and the image elsewhere.
    """
    if feather <= 0:
        return layer
    height, width = image.shape[:2]
    weights = blend(regions, feather, width, height)
    output = image.copy()
    for each in regions:
        at = feathered(each, feather, width, height).slices
        output[at] = _mix(image[at], layer[at], weights[at])
    return output


def _mix(original: Frame, layer: Frame, weights: Weights) -> Frame:
    share = weights if original.ndim == 2 else weights[..., None]
    source = original.astype(np.float32)
    mixed = np.floor(source + share * (layer.astype(np.float32) - source) + np.float32(0.5))
    return np.where(share >= 1, layer, mixed.astype(original.dtype))


def _fall_off(each: Region, feather: float, box: Box) -> Weights:
    """Smoothstep of the distance from pixel centers in ``box`` to the hidden region."""
    hidden, reach = each.hidden, feather * longer_side(each.face)
    x = np.arange(box.x0, box.x1) + 0.5
    y = np.arange(box.y0, box.y1) + 0.5
    dx = np.maximum(np.maximum(hidden.x0 - x, x - hidden.x1), 0)
    dy = np.maximum(np.maximum(hidden.y0 - y, y - hidden.y1), 0)
    near = np.maximum(1 - np.sqrt(dx**2 + dy[:, None] ** 2) / reach, 0)
    weights: Weights = (near * near * (3 - 2 * near)).astype(np.float32)
    return weights


class Feathered(ABC):
    """What methods with a soft edge share: their area, their weights and their parameters.

    Subclasses are frozen dataclasses whose fields are the options of the method.

    Raises:
        UsageError: if ``feather`` is not within 0..1.
    """

    __slots__ = ()
    feather: float

    def __post_init__(self) -> None:
        require(0 <= self.feather <= 1, "feather", self.feather, "a number from 0 to 1")

    @property
    def parameters(self) -> Mapping[str, Scalar]:
        """All options, for the manifest."""
        options = fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        return {each.name: getattr(self, each.name) for each in options}

    def apply(self, image: Frame, regions: Sequence[Region]) -> Frame:
        """Return a copy of ``image`` with each region obfuscated.

        Args:
            image: H×W or H×W×C with 1–4 channels, uint8 or uint16.
            regions: whole-pixel regions inside the image.

        Raises:
            WithheldError: if the image or a region is of another kind.
        """
        check_frame(image)
        check_regions(regions, image.shape[1], image.shape[0])
        return composite(image, self._obfuscate(image, regions), regions, self.feather)

    @abstractmethod
    def _obfuscate(self, image: Frame, regions: Sequence[Region]) -> Frame:
        """The image with every feathered region replaced."""

    def reach(self, regions: Sequence[Region], width: int, height: int) -> list[Box]:
        """Return whole-pixel boxes outside which ``apply`` changes nothing."""
        return [feathered(each, self.feather, width, height) for each in regions]

    def blend(self, regions: Sequence[Region], width: int, height: int) -> Weights:
        """Return the weight of the obfuscated layer in the output, H×W, 0..1."""
        return blend(regions, self.feather, width, height)


class PatchMethod(Feathered):
    """A method that replaces every region by a patch computed from the original image.

    Where hidden regions overlap, the larger face's patch is on top, because it is the coarser one.
    """

    __slots__ = ()

    @abstractmethod
    def _patch(self, image: Frame, region: Region, box: Box) -> Frame:
        """The pixels of the feathered box of a region."""

    def _obfuscate(self, image: Frame, regions: Sequence[Region]) -> Frame:
        layer = image.copy()
        ordered = sorted(regions, key=lambda each: (longer_side(each.face), each.face.xyxy))
        boxes = self.reach(ordered, image.shape[1], image.shape[0])
        for each, box in zip(ordered, boxes, strict=True):
            layer[box.slices] = self._patch(image, each, box)
        for number in _overlapped(ordered, boxes):
            # Again, so that no feather covers another face's hidden region.
            each, box = ordered[number], boxes[number]
            covering = self._patch(image, each, box)
            layer[each.hidden.slices] = covering[shift(each.hidden, -box.x0, -box.y0).slices]
        return layer


class FillMethod(Feathered):
    """A method that fills every connected group of regions from the known pixels around it."""

    __slots__ = ()

    @abstractmethod
    def _fill(self, image: Frame, group: Sequence[Box], unknown: Mask, layer: Frame) -> None:
        """Fill a group of boxes in ``layer``, reading only known pixels of ``image``."""

    def _obfuscate(self, image: Frame, regions: Sequence[Region]) -> Frame:
        height, width = image.shape[:2]
        layer = image.copy()
        boxes = self.reach(regions, width, height)
        unknown = union(boxes, width, height)
        for group in clusters(boxes):
            self._fill(image, group, unknown, layer)
        return layer


def _overlapped(regions: Sequence[Region], boxes: Sequence[Box]) -> list[int]:
    """Indices of the regions whose hidden box another region's feathered box overlaps."""
    x0, y0, x1, y1 = np.array([box.xyxy for box in boxes]).reshape(-1, 4).T
    found = []
    for number, each in enumerate(regions):
        hidden = each.hidden
        over = (x0 < hidden.x1) & (x1 > hidden.x0) & (y0 < hidden.y1) & (y1 > hidden.y0)
        if np.count_nonzero(over) > 1:
            found.append(number)
    return found
