"""Label maps: PNG files whose pixels are class or segment ids.

A label map is copied without change, so it must be proven to be one: a file in a folder of
label maps may be a photo. A file without proof is an image like any other. The proof is of the
annotations and the shape of regions; a posterized photo can pass it, so `curate.pipeline` leaves a
map out that `find_drawing` refuses or in which a detector finds a face (`render_label_map`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec.png.chunks import Header, deflate, parse_chunks, write_png
from curate.core.errors import DataError, WithheldError
from curate.core.geometry import Box, scale
from curate.core.protocols import LABEL_MAP, Pixels, SidecarFile
from curate.layouts.access.folder import FileInfo, Folder
from curate.layouts.files import FileLayout
from curate.layouts.sidecars.values import Limits
from curate.storage.index import NameIndex

VOID = 255
"""Value of borders and unlabeled pixels in VOC."""

_DETAIL = ((24, 0.24, 0.27), (48, 0.16, 0.115), (96, 0.115, 0.055))
"""Side of a window; shares of pairs of pixels that differ, and of pixels in narrow regions."""

MIN_FACE = 24
"""Height of a face below which labels within it are not examined, pixels of the map."""

_MIDDLE = 0.7  # of a face's width and height
_LEVELS = 16
_MIN_OTHERS = 0.05  # share of pixels that have another label than most
_MIN_PREDICTED = 0.2  # share of these that brightness predicts

_CLASSES = 21
_MAX_CHANGES = 0.1
_MAX_SINGLE = 0.1
MAX_SEGMENTS = 1024
"""Photos have more colors than this; scenes have fewer segments."""


class LabelMapLayout(FileLayout):
    """Layout of image files whose annotations may include label maps.

    Args:
        folder: files of the dataset.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._proofs = NameIndex()

    def may_be_label_map(self, path: str) -> bool:
        """Return whether a label map is expected at a path."""
        raise NotImplementedError

    def image_of(self, path: str) -> str | None:
        """Return the path of the image to which a label map belongs, or None."""
        raise NotImplementedError

    def is_label_map(self, path: str, data: bytes) -> bool:
        """Prove that an image file is a label map, which cannot show a face."""
        raise NotImplementedError

    def _is_image(self, info: FileInfo) -> bool:
        return super()._is_image(info) and not self._holds_map(info)

    def _to_sidecar(self, info: FileInfo) -> SidecarFile:
        sidecar = super()._to_sidecar(info)
        if not sidecar.copied and super()._is_image(info):  # not an image, so a label map
            return SidecarFile(sidecar.path, info.path, True, format=LABEL_MAP)
        return sidecar

    def rewrite_sidecar(
        self, file: SidecarFile, opened: BinaryIO, target: BinaryIO, limits: Limits
    ) -> None:
        """Write a sidecar file again; a label map is proven again and copied."""
        if file.format != LABEL_MAP:
            super().rewrite_sidecar(file, opened, target, limits)
            return
        data = opened.read()
        if not self.is_label_map(file.uri, data):
            raise DataError(f"{file.uri!r} is not a label map")
        target.write(data)

    def _holds_map(self, info: FileInfo) -> bool:
        """Return whether a file is proven to be a label map; the result is cached by stamp."""
        if not self.may_be_label_map(info.path):
            return False
        known = self._proofs.get(info.stamp, info.path)
        if known is None:
            try:
                known = "map" if self.is_label_map(info.path, self.folder.read(info.path)) else ""
            except WithheldError:
                known = ""
            self._proofs.add(info.stamp, info.path, known)
        return bool(known)


def is_panoptic_map(data: bytes, areas: Mapping[int, float | None], size: tuple[Any, Any]) -> bool:
    """Prove that a PNG is a panoptic map: every value R + 256 G + 256² B is a segment or void.

    Args:
        data: content of the file.
        areas: ids and areas of the segments that the annotations list for this file; a segment
            has as many pixels.
        size: width and height of its image.
    """
    if not 0 < len(areas) <= MAX_SEGMENTS or codec.sniff(data) != "PNG" or codec.find_leaks(data):
        return False
    pixels = _load_rgb(data, "RGB")
    if pixels is None or pixels.shape[1::-1] != size or not _has_flat_regions(pixels):
        return False
    values, counts = np.unique(_numbers(pixels, False), return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    found.pop(0, None)
    return found.keys() <= areas.keys() and all(
        found.get(number, 0) == area for number, area in areas.items() if number != 0
    )


def is_voc_map(data: bytes, classes: bool) -> bool:
    """Prove that a PNG is a Pascal VOC segmentation with the VOC palette.

    Args:
        data: content of the file.
        classes: whether its values are classes, 0 to 20 and 255; otherwise they are
            objects, numbered from 1 without gaps.
    """
    if codec.sniff(data) != "PNG":
        return False
    pixels = _load_rgb(data, "P")
    if pixels is None or not _has_voc_palette(data) or not _has_flat_regions(pixels):
        return False
    # The whole palette is known, so unused entries contain no information.
    if set(codec.find_leaks(data)) - {codec.UNUSED_COLORS}:
        return False
    colors = {number: value for value, number in enumerate(_numbers(voc_palette()[None], False))}
    values = {colors.get(number, -1) for number in _numbers(pixels)} - {0, VOID}
    return values <= set(range(_CLASSES) if classes else range(1, len(values) + 1))


def _has_flat_regions(pixels: npt.NDArray[np.uint8]) -> bool:
    """Return whether an image consists of flat regions, as label maps do and photos do not.

    A photo with few gray levels has long contours and many runs of a single pixel. On 50
    segmentations rendered from COCO at least 97 % of adjacent pixels are equal and at most 5 % of
    the changes belong to runs of one pixel; on 100 photos of people with 3 to 21 gray levels at
    least 8 % do, in the median 23 % and more.

    Args:
        pixels: H×W×3 uint8.
    """
    packed = _pack(pixels)
    changes = single = pairs = 0
    for rows in (packed, packed.T):
        edges = rows[:, 1:] != rows[:, :-1]
        pairs += edges.size
        changes += int(np.count_nonzero(edges))
        single += int(np.count_nonzero(edges[:, 1:] & edges[:, :-1]))
    allowed = _MAX_CHANGES * pairs + 2 * sum(packed.shape)  # small maps have long contours
    return changes <= allowed and single <= _MAX_SINGLE * changes


def find_drawing(data: bytes) -> str | None:
    """Return why a label map is too detailed to be one, or None; whatever the order of its labels.

    Labels have regions of some width, also where many objects are small; a picture reduced to few
    levels has bands and spots. In windows as large as a small face, this counts the pairs of
    adjacent pixels that differ, and the pixels in no square of 3×3 of one label. The limits are at
    least 1.2 times what 200 segmentations rendered from COCO reach.

    Args:
        data: content of the file.

    Raises:
        WithheldError: if it cannot be decoded.
        ValueError: if it is not a label map.
    """
    labels = _load_labels(data)[1].astype(np.uint16)
    edges = np.zeros(labels.shape, np.float32)
    edges[:, 1:] += labels[:, 1:] != labels[:, :-1]
    edges[1:] += labels[1:] != labels[:-1]
    square = np.ones((3, 3), np.uint8)
    uniform = cv2.erode(labels, square) == cv2.dilate(labels, square)
    thin = (cv2.dilate(uniform.astype(np.uint8), square) == 0).astype(np.float32)
    for side, max_edges, max_thin in _DETAIL:
        if side == _DETAIL[0][0]:
            side = min(side, *labels.shape)  # a smaller map is one window
        if _max_mean(edges * np.float32(0.5), side) > max_edges or _max_mean(thin, side) > max_thin:
            return f"its regions are too small within {side}×{side} pixels, as those of a photo"
    return None


def _max_mean(values: npt.NDArray[np.float32], side: int) -> float:
    """Return the largest mean of a square of an image; 0 if the image is smaller."""
    if min(values.shape) < side:
        return 0.0
    inner = side // 2
    means = cv2.boxFilter(values, -1, (side, side))
    return float(means[inner : len(means) - inner + 1, inner : means.shape[1] - inner + 1].max())


def shows_faces(data: bytes, image: Pixels, faces: Sequence[Box]) -> bool:
    """Return whether a label map shows features of faces of its image, in few levels.

    Labels are of whole things: in the middle of a face there is one, or the label of a thing
    before it, whose border is not that of light and shade. In a picture of the face with few
    levels, other labels are in the middle of it, and brightness predicts which. A face that the
    picture reduces to one level has no features there.

    Args:
        data: content of the map.
        image: its image, H×W×3 uint8, of any size.
        faces: the faces of the image, in its pixels.

    Raises:
        WithheldError: if the map cannot be decoded.
        ValueError: if it is not a label map.
    """
    labels = _load_labels(data)[1]
    height, width = labels.shape
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    across, down = width / image.shape[1], height / image.shape[0]
    gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
    rows, columns = np.mgrid[:height, :width]
    for face in faces:
        box = scale(face, across, down)
        if box.height < MIN_FACE:
            continue
        y = (rows + 0.5 - (box.y0 + box.y1) / 2) / (_MIDDLE * box.height / 2)
        x = (columns + 0.5 - (box.x0 + box.x1) / 2) / (_MIDDLE * box.width / 2)
        middle = x * x + y * y <= 1
        if _follow(labels[middle], gray[middle]):
            return True
    return False


def _follow(labels: npt.NDArray[np.int64], brightness: npt.NDArray[np.uint8]) -> bool:
    """Return whether several labels share some pixels, and brightness predicts them.

    The measure is Goodman and Kruskal's λ with 16 classes of brightness of one size.
    """
    count = len(labels)
    if not count:
        return False
    kinds, label = np.unique(labels, return_inverse=True)
    level = np.argsort(np.argsort(brightness, kind="stable")) * _LEVELS // count
    table = np.zeros((_LEVELS, len(kinds)), np.int64)
    np.add.at(table, (level, label.ravel()), 1)
    most = int(table.sum(axis=0).max())
    predicted = int(table.max(axis=1).sum())
    others = count - most
    return others >= _MIN_OTHERS * count and predicted - most >= _MIN_PREDICTED * others


def render_label_map(data: bytes) -> list[npt.NDArray[np.uint8]]:
    """Render a label map in the ways in which a face could be seen.

    Args:
        data: content of the file.

    Returns:
        H×W×3 arrays: its own colors; the rank of each label, in the order of the VOC color map
        or of the values R + 256 G + 256² B, spread over 0 to 255; and likewise in the order in
        which labels adjoin, which is the order of the gray levels of a photo whatever its labels.

    Raises:
        WithheldError: if it cannot be decoded.
        ValueError: if it is not a label map.
    """
    pixels, ranks = _load_labels(data)
    views = [np.ascontiguousarray(pixels)]
    for labels in (ranks, _order_by_neighbors(ranks)[ranks]):
        levels = (labels * 255 // max(int(ranks.max()), 1)).astype(np.uint8)
        views.append(np.repeat(levels[..., None], 3, axis=2))
    return views


def _load_labels(data: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the pixels of a label map, H×W×3, and the ranks of its labels, H×W."""
    pixels = _load_rgb(data, "P")
    values = load_voc_map(data) if pixels is not None and _has_voc_palette(data) else None
    pixels = _load_rgb(data, "RGB") if pixels is None else pixels
    if pixels is None:
        raise ValueError("not a label map")
    numbers = _pack(pixels) if values is None else values
    ranks = np.unique(numbers, return_inverse=True)[1].reshape(pixels.shape[:2])
    if ranks.max() > MAX_SEGMENTS:
        raise ValueError("not a label map")
    return pixels, ranks


def _order_by_neighbors(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return positions of labels such that those with long common borders are close.

    It is the order of the second eigenvector of the Laplacian of the borders' lengths (Atkins,
    Boman and Hendrickson, SIAM J. Comput. 28, 1998), in the direction that ranks do not have.
    """
    count = int(ranks.max()) + 1
    borders = np.zeros(count * count)
    for first, second in ((ranks[:, 1:], ranks[:, :-1]), (ranks[1:], ranks[:-1])):
        borders += np.bincount((first * count + second).ravel(), minlength=count * count)
    weights = borders.reshape(count, count)
    weights = weights + weights.T
    np.fill_diagonal(weights, 0)
    if count == 1:
        return np.zeros(1, np.int64)
    order = np.linalg.eigh(np.diag(weights.sum(axis=1)) - weights)[1][:, 1]
    if float(order @ (np.arange(count) - (count - 1) / 2)) > 0:
        order = -order
    positions = np.empty(count, np.int64)
    positions[np.argsort(order, kind="stable")] = np.arange(count)
    return positions


def load_voc_map(data: bytes) -> npt.NDArray[np.uint8]:
    """Return the values of a proven segmentation, H×W uint8."""
    pixels = _load_rgb(data, "P")
    if pixels is None:
        raise ValueError("not a label map")
    values = np.zeros(1 << 24, np.uint8)
    values[_numbers(voc_palette()[None], False)] = np.arange(256, dtype=np.uint8)
    numbers = np.array(_numbers(pixels, False), np.int64)
    return values[numbers].reshape(pixels.shape[:2])


def encode_voc_map(values: npt.NDArray[np.uint8]) -> bytes:
    """Encode a segmentation, H×W uint8, as a PNG with the VOC palette."""
    height, width = values.shape
    header = Header(width, height, depth=8, color=3, interlaced=False)
    palette = voc_palette().tobytes()
    return write_png([(b"IHDR", header.to_bytes()), (b"PLTE", palette), (b"IDAT", deflate(values))])


def voc_palette() -> npt.NDArray[np.uint8]:
    """Return the VOC color map, 256×3: bits of a value spread over the high bits of the colors."""
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
    """Return the frame of an opaque 8-bit single-frame image of a mode, H×W×3, or None."""
    try:
        picture = codec.load(data)
    except WithheldError:
        return None
    frame = picture.frames[0]
    if picture.mode != mode or len(picture.frames) != 1 or frame.dtype != np.uint8:
        return None
    return frame if frame.ndim == 3 and frame.shape[2] == 3 else None


def _pack(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Return R + 256 G + 256² B of H×W×3 pixels, H×W."""
    packed: npt.NDArray[np.uint32]
    packed = pixels.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    return packed


def _numbers(pixels: npt.NDArray[np.uint8], unique: bool = True) -> list[int]:
    """Return R + 256 G + 256² B of H×W×3 pixels: the unique values, or all in order."""
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    packed = (red + (green << 8) + (blue << 16)).ravel()
    numbers: list[int] = (np.unique(packed) if unique else packed).tolist()
    return numbers
