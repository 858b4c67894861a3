"""What a network is shown of an image: passes, tiles and crops, and the way back.

A pass shows the whole image at one input scale. A pass that is larger than a tile on a
side is cut into overlapping tiles, which bounds the memory, and is accompanied by coarser
passes, in which faces that a tile cuts are seen whole.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from curate.core.errors import DataError
from curate.core.faces import Detection
from curate.core.protocols import Pixels
from curate.detectors.candidates import Candidates, Floats, concatenate, nms
from curate.detectors.profiles import InputScale

STRIDE = 32
"""Sides of a network's input are multiples of this many pixels."""
SNAP = 0.25
"""A snapped side is rounded up where so little of a stride, as a share, is missing."""
OVERLAP = 128
"""Overlap of neighboring tiles; smaller faces lie whole in at least one of them."""
COARSER = 0.25
"""Ratio between the input scales of a tiled pass and the coarser pass beside it."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of an image and the size at which a network sees it.

    Args:
        x0: left edge of the rectangle, pixels of the image.
        y0: top edge.
        x1: right edge, exclusive.
        y1: bottom edge, exclusive.
        width: width after resizing, pixels.
        height: height after resizing, pixels.
        mirrored: whether left and right are exchanged.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    width: int
    height: int
    mirrored: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the network's input: the size rounded up to the stride."""
        return round_up(self.height), round_up(self.width)


def check_pixels(image: Pixels) -> None:
    """Check that an array is H×W×3 uint8 with at least one pixel.

    Raises:
        DataError: if it is anything else.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            "a detector needs an RGB image, H×W×3 uint8 with at least one pixel; "
            f"this array is {image.dtype} of shape {image.shape}"
        )


def input_factor(width: int, height: int, scale: InputScale) -> float:
    """Ratio of a network's input to the image: the scale's own, within its limits.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        scale: the wanted ratio and its limits.
    """
    longer = max(width, height)
    factor = max(scale.factor, min(scale.full_side / longer, 1.0), scale.min_side / longer)
    factor = min(factor, math.sqrt(scale.max_pixels / (width * height)))
    if scale.max_side is not None:
        factor = min(factor, scale.max_side / longer)
    if scale.snapped and longer * factor >= STRIDE:
        factor = math.floor(longer * factor / STRIDE + SNAP) * STRIDE / longer
    return factor


def plan_passes(width: int, height: int, scale: InputScale) -> list[Crop]:
    """The crops in which a network sees an image at an input scale, finest first.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        scale: the input scale.
    """
    factor = input_factor(width, height, scale)
    crops = []
    while True:
        tiles = _tiles(width, height, factor, scale.tile)
        crops += tiles
        if len(tiles) == 1:
            break
        factor *= COARSER
    if scale.mirrored:
        crops = [replace(crop, mirrored=True) for crop in crops]
    return crops


def _tiles(width: int, height: int, factor: float, tile: int) -> list[Crop]:
    across, down = (_spans(side, factor, tile) for side in (width, height))
    return [
        Crop(x0, y0, x1, y1, _resized(x1 - x0, factor), _resized(y1 - y0, factor))
        for y0, y1 in down
        for x0, x1 in across
    ]


def _spans(side: int, factor: float, tile: int) -> list[tuple[int, int]]:
    """Overlapping spans that cover one side of the image, pixels of the image."""
    if side * factor <= tile:
        return [(0, side)]
    overlap = min(OVERLAP, tile // 4)
    count = math.ceil((side * factor - overlap) / (tile - overlap))
    length = math.ceil((side + (count - 1) * overlap / factor) / count)
    starts = [round(i * (side - length) / (count - 1)) for i in range(count)]
    return [(start, start + length) for start in starts]


def _resized(side: int, factor: float) -> int:
    return max(1, round(side * factor))


def run_passes(
    image: Pixels, scale: InputScale, find: Callable[[Pixels], Candidates]
) -> Candidates:
    """Candidates of a detector in all passes over an image, before suppression.

    Args:
        image: H×W×3 uint8.
        scale: the input scale.
        find: the detector on one crop's pixels, H×W×3 uint8; returns their coordinates.

    Returns:
        Candidates in the image's pixels, clipped to it.

    Raises:
        DataError: if the image is not H×W×3 uint8 with at least one pixel.
    """
    check_pixels(image)
    height, width = image.shape[:2]
    found = [
        to_image(find(crop_pixels(image, crop)).clipped(crop.width, crop.height), crop)
        for crop in plan_passes(width, height, scale)
    ]
    return concatenate(found).clipped(width, height)


def crop_pixels(image: Pixels, crop: Crop) -> Pixels:
    """The resized pixels of a crop, ``crop.height`` × ``crop.width`` × 3 uint8.

    Args:
        image: H×W×3 uint8; left unchanged. Where nothing is resized, the result is a view of it.
        crop: which part, at which size.
    """
    part = image[crop.y0 : crop.y1, crop.x0 : crop.x1]
    if part.shape[:2] != (crop.height, crop.width):
        part = resize(part, crop.width, crop.height)
    return part[:, ::-1] if crop.mirrored else part


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by area averaging where the result is smaller, bilinearly where it is larger."""
    smaller = width < pixels.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=how).astype(np.uint8, copy=False)


def padded(pixels: Pixels, shape: tuple[int, int] | None = None) -> Pixels:
    """A copy padded with black at the right and the bottom to multiples of the stride.

    Args:
        pixels: H×W×3 uint8.
        shape: rows and columns of the result; by default the smallest that fit.
    """
    height, width = pixels.shape[:2]
    shape = shape or (round_up(height), round_up(width))
    canvas = np.zeros((*shape, 3), dtype=np.uint8)
    canvas[:height, :width] = pixels
    return canvas


def to_image(candidates: Candidates, crop: Crop) -> Candidates:
    """Map candidates from a crop's pixels to those of the image."""
    boxes = candidates.boxes.copy()
    if crop.mirrored:
        boxes[:, 0::2] = crop.width - boxes[:, 2::-2]
    boxes[:, 0::2] = boxes[:, 0::2] * ((crop.x1 - crop.x0) / crop.width) + crop.x0
    boxes[:, 1::2] = boxes[:, 1::2] * ((crop.y1 - crop.y0) / crop.height) + crop.y0
    return Candidates(boxes, candidates.scores)


@dataclass(frozen=True, slots=True)
class Square:
    """A square around a candidate box, resized, with the border's pixels repeated beyond it.

    Args:
        pixels: S×S×3 uint8.
        x0: the square's left edge in the image, pixels; may be negative.
        y0: its top edge.
        ratio: pixels of the image per pixel of the square.
    """

    pixels: Pixels
    x0: int
    y0: int
    ratio: float


def square(image: Pixels, box: Floats | Sequence[float], context: float, side: int) -> Square:
    """Cut a square around a box.

    Args:
        image: H×W×3 uint8.
        box: ``xyxy``, pixels of the image, overlapping it.
        context: the square's side in multiples of the box's longer side.
        side: S, the side after resizing, pixels.
    """
    height, width = image.shape[:2]
    length = max(box[2] - box[0], box[3] - box[1], 1.0) * context
    x0, y0 = (math.floor((box[i] + box[i + 2]) / 2 - length / 2) for i in (0, 1))
    whole = max(math.ceil(length), 1)
    ratio = whole / side
    (left, right), (begin_x, end_x) = _span(x0, whole, width, side)
    (top, bottom), (begin_y, end_y) = _span(y0, whole, height, side)
    # Resizing before padding bounds the memory by the image's, whatever the box.
    small = resize(image[top:bottom, left:right], end_x - begin_x, end_y - begin_y)
    beyond = (begin_y, side - end_y, begin_x, side - end_x)
    pixels = cv2.copyMakeBorder(small, *beyond, cv2.BORDER_REPLICATE)
    return Square(np.asarray(pixels, dtype=np.uint8), x0, y0, ratio)


def _span(start: int, length: int, size: int, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where one axis of a square lies in the image, and where that part lies in the result."""
    first = min(max(start, 0), size - 1)
    last = max(min(start + length, size), first + 1)
    begin = min(max(round((first - start) * side / length), 0), side - 1)
    end = max(min(round((last - start) * side / length), side), begin + 1)
    return (first, last), (begin, end)


def round_up(side: int) -> int:
    """The smallest multiple of the stride that is at least ``side``."""
    return -(-side // STRIDE) * STRIDE


class PassDetector(ABC):
    """A detector of one network that runs in passes; subclasses find faces in one crop."""

    name: str
    nms_iou: float
    _scale: InputScale

    @abstractmethod
    def find(self, pixels: Pixels) -> Candidates:
        """Candidate boxes in one crop, H×W×3 uint8, before suppression; may exceed the crop."""

    def candidates(self, image: Pixels, scale: InputScale) -> Candidates:
        """Candidate boxes of one image at an input scale, clipped to it, after suppression."""
        return nms(run_passes(image, scale, self.find), self.nms_iou)

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        return self.candidates(image, self._scale).detections(self.name)

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect in several images, which may differ in size; one list each, in order."""
        return [self.detect(image) for image in images]
