"""Label maps: PNGs whose pixels are numbers of segments, not a picture of anything.

A map goes to the output byte for byte, and no face is looked for in it. So it
must be proven first that it is one: an image in the maps' folder may be a photo.
What cannot be proven is an image like any other.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec.png.chunks import Header, deflate, parse_chunks, write_png
from curate.core.errors import WithheldError
from curate.core.protocols import CarriedFile
from curate.layouts.access.folder import Folder, Leaf
from curate.layouts.files import FileLayout
from curate.storage.index import NameIndex

VOID = 255
"""VOC's number for borders and what is not labelled."""

_CLASSES = 21
MOST_SEGMENTS = 1024
"""A photo has more colours than this; a scene has fewer segments."""


class MapLayout(FileLayout):
    """A layout of image files that may carry label maps as annotations.

    Args:
        folder: where the dataset is.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._proofs = NameIndex()

    def may_be_map(self, path: str) -> bool:
        """Whether a label map is expected at this path."""
        raise NotImplementedError

    def _is_image(self, leaf: Leaf) -> bool:
        return super()._is_image(leaf) and not self._holds_map(leaf)

    def _other(self, leaf: Leaf) -> CarriedFile:
        other = super()._other(leaf)
        if not other.carried and super()._is_image(leaf):  # it is no image, so it is a map
            return CarriedFile(other.path, leaf.path, True)
        return other

    def _holds_map(self, leaf: Leaf) -> bool:
        """Whether a file is proven to be a map; each is looked at once, unless it changes."""
        if not self.may_be_map(leaf.path):
            return False
        known = self._proofs.get(leaf.stamp, leaf.path)
        if known is None:
            try:
                known = "map" if self.is_map(leaf.path, self.folder.read(leaf.path)) else ""
            except WithheldError:
                known = ""
            self._proofs.add(leaf.stamp, leaf.path, known)
        return bool(known)


def is_panoptic_map(data: bytes, ids: Collection[int]) -> bool:
    """Prove that a PNG is a panoptic map: every colour R + 256 G + 256² B is a segment or void.

    Args:
        data: the file.
        ids: ids of the segments that the annotations give for this very file.
    """
    if not 0 < len(ids) <= MOST_SEGMENTS or codec.sniff(data) != "PNG" or codec.find_leaks(data):
        return False
    pixels = _load_rgb(data, "RGB")
    return pixels is not None and set(_numbers(pixels)) <= {0, *ids}


def is_voc_map(data: bytes, classes: bool) -> bool:
    """Prove that a PNG is a segmentation of Pascal VOC, with VOC's own palette.

    Args:
        data: the file.
        classes: whether its values are classes, 0 to 20 and 255; otherwise they
            are objects, numbered from 1 without a gap.
    """
    if codec.sniff(data) != "PNG":
        return False
    pixels = _load_rgb(data, "P")
    if pixels is None or not _has_voc_palette(data):
        return False
    # The whole palette is known, so entries that no pixel uses tell nothing.
    if set(codec.find_leaks(data)) - {codec.UNUSED_COLORS}:
        return False
    colours = {number: value for value, number in enumerate(_numbers(voc_palette()[None], False))}
    values = {colours.get(number, -1) for number in _numbers(pixels)} - {0, VOID}
    return values <= set(range(_CLASSES) if classes else range(1, len(values) + 1))


def load_voc_map(data: bytes) -> npt.NDArray[np.uint8]:
    """The values of a segmentation that is proven to be one, H×W uint8."""
    pixels = _load_rgb(data, "P")
    if pixels is None:
        raise ValueError("no map; prove it first")
    values = np.zeros(1 << 24, np.uint8)
    values[_numbers(voc_palette()[None], False)] = np.arange(256, dtype=np.uint8)
    numbers = np.array(_numbers(pixels, False), np.int64)
    return values[numbers].reshape(pixels.shape[:2])


def encode_voc_map(values: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of a segmentation with VOC's palette; values H×W uint8."""
    height, width = values.shape
    header = Header(width, height, depth=8, color=3, interlaced=False)
    palette = voc_palette().tobytes()
    return write_png([(b"IHDR", header.to_bytes()), (b"PLTE", palette), (b"IDAT", deflate(values))])


def voc_palette() -> npt.NDArray[np.uint8]:
    """VOC's colour map, 256×3: the bits of a value spread over the colours' highest bits."""
    values = np.arange(256, dtype=np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= (values >> bit & 1) << (7 - bit // 3)
    return palette


def _has_voc_palette(data: bytes) -> bool:
    chunks, _ = parse_chunks(data)
    palettes = [payload for kind, payload in chunks if kind == b"PLTE"]
    return len(palettes) == 1 and voc_palette().tobytes().startswith(palettes[0])


def _load_rgb(data: bytes, mode: str) -> npt.NDArray[np.uint8] | None:
    """The one frame of an opaque 8-bit image of a mode, H×W×3, or None if it is not that."""
    try:
        picture = codec.load(data)
    except WithheldError:
        return None
    frame = picture.frames[0]
    if picture.mode != mode or len(picture.frames) != 1 or frame.dtype != np.uint8:
        return None
    return frame if frame.ndim == 3 and frame.shape[2] == 3 else None


def _numbers(pixels: npt.NDArray[np.uint8], unique: bool = True) -> list[int]:
    """R + 256 G + 256² B of H×W×3 pixels: those that occur, or all in order."""
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    packed = (red + (green << 8) + (blue << 16)).ravel()
    numbers: list[int] = (np.unique(packed) if unique else packed).tolist()
    return numbers
