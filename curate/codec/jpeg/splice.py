"""Splicing: new pixels in a JPEG by rewriting only the DCT blocks they touch.

In these blocks, samples outside the touched boxes are the source's decoded samples,
rounded and clamped as decoders do; samples inside come from the new pixels only, so
the new coefficients do not depend on the old pixels inside. All sums are exact integers
or have a fixed order, so results do not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.coefficients import (
    Coefficients,
    Table,
    forward,
    inverse,
    quantization_tables,
)
from curate.codec.jpeg.segments import DQT, SOS, FrameHeader, JpegStream
from curate.core.geometry import Box
from curate.core.protocols import Frame

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# JFIF 1.02: full-range BT.601
_FROM_RGB = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
_OFFSETS = (0.0, 128.0, 128.0)
_BAND = 1 << 19  # pixels processed at a time


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole MCUs and the boxes inside, in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int
    boxes: tuple[tuple[int, int, int, int], ...]


def can_splice(stream: JpegStream) -> bool:
    """Whether the file's components, sampling and scans allow splicing."""
    return stream.color_space in ("L", "YCbCr", "RGB") and can_read(stream)


def can_read(stream: JpegStream) -> bool:
    """Whether the file's sampling and scans allow reading its coefficients."""
    frame = stream.frame
    across = max(component.h for component in frame.components)
    down = max(component.v for component in frame.components)
    return (
        all(across % c.h == 0 and down % c.v == 0 for c in frame.components)
        and _is_complete(stream)
        and not _redefines_tables(stream)
    )


def splice(
    planes: Sequence[Coefficients], stream: JpegStream, image: Frame, touched: Sequence[Box]
) -> None:
    """Recompute the blocks that intersect ``touched``, in place.

    Args:
        planes: the source's coefficients, one array per component.
        stream: the source.
        image: the new pixels, H×W or H×W×3 uint8, in the file's own orientation.
        touched: whole-pixel boxes outside which ``image`` equals the source.
    """
    frame = stream.frame
    tables = quantization_tables(stream)
    pixels = image[..., None] if image.ndim == 2 else image
    for window in _bands(_windows(frame, touched), frame):
        for index in range(len(frame.components)):
            _splice_window(
                planes[index],
                _Component.of(frame, index, tables[index]),
                pixels,
                window,
                stream.color_space == "YCbCr",
            )


def reach(frame: FrameHeader, touched: Sequence[Box]) -> list[tuple[slice, slice]]:
    """Return rows and columns that new blocks may change: whole MCUs and interpolated chroma."""
    found = []
    for window in _windows(frame, touched):
        soft_x = max(c.h for c in frame.components)
        soft_y = max(c.v for c in frame.components)
        rows = slice(max(window.y0 - soft_y, 0), window.y1 + soft_y)
        found.append((rows, slice(max(window.x0 - soft_x, 0), window.x1 + soft_x)))
    return found


@dataclass(frozen=True, slots=True)
class _Component:
    """A component's index, subsampling factors and quantization table."""

    index: int
    fx: int
    fy: int
    table: Table

    @classmethod
    def of(cls, frame: FrameHeader, index: int, table: Table) -> _Component:
        across = max(component.h for component in frame.components)
        down = max(component.v for component in frame.components)
        this = frame.components[index]
        return cls(index, across // this.h, down // this.v, table)


def _splice_window(
    plane: Coefficients, component: _Component, pixels: Frame, window: Window, ycbcr: bool
) -> None:
    fx, fy = component.fx, component.fy
    rows, columns = plane.shape[:2]
    by0, bx0 = window.y0 // (8 * fy), window.x0 // (8 * fx)
    by1, bx1 = min(window.y1 // (8 * fy), rows), min(window.x1 // (8 * fx), columns)
    shape = (8 * (by1 - by0), 8 * (bx1 - bx0))
    met = _sample_mask(shape, window, fx, fy, (0, 0))
    replaced = _sample_mask(shape, window, fx, fy, (fx // 2, fy // 2))
    chosen = _to_blocks(met).any(axis=1)
    if not chosen.any():
        return
    inside = _to_blocks(replaced)[chosen]
    new = _to_blocks(_samples(pixels, component, window, shape, ycbcr))[chosen]
    part = plane[by0:by1, bx0:bx1].reshape(-1, 64)
    kept = ~inside.all(axis=1)
    old = np.zeros_like(new)
    old[kept] = inverse(part[chosen][kept], component.table)
    part[chosen] = forward(np.where(inside, new, old), component.table)
    plane[by0:by1, bx0:bx1] = part.reshape(by1 - by0, bx1 - bx0, 64)


def _sample_mask(
    shape: tuple[int, int], window: Window, fx: int, fy: int, apron: tuple[int, int]
) -> Mask:
    """Samples of a window whose footprint, grown by the apron, intersects a box."""
    mask = np.zeros(shape, np.bool_)
    for x0, y0, x1, y1 in window.boxes:
        left, top = x0 - window.x0 - apron[0], y0 - window.y0 - apron[1]
        right, bottom = x1 - window.x0 + apron[0], y1 - window.y0 + apron[1]
        rows = slice(max(top // fy, 0), max(-(-bottom // fy), 0))
        mask[rows, max(left // fx, 0) : max(-(-right // fx), 0)] = True
    return mask


def _samples(
    pixels: Frame, component: _Component, window: Window, shape: tuple[int, int], ycbcr: bool
) -> Floats:
    """The component's samples of a window: means of the new pixels in its color space.

    Samples beyond the edges of the image repeat the last sample, not the last pixel, which may be
    half of it only.
    """
    fx, fy = component.fx, component.fy
    tile = pixels[window.y0 : window.y1, window.x0 : window.x1]
    rows, columns = -(-tile.shape[0] // fy), -(-tile.shape[1] // fx)
    pad = (shape[0] * fy - tile.shape[0], shape[1] * fx - tile.shape[1])
    tile = tile[: shape[0] * fy, : shape[1] * fx]
    if max(pad) > 0:
        tile = np.pad(tile, ((0, max(pad[0], 0)), (0, max(pad[1], 0)), (0, 0)), mode="edge")
    if not ycbcr:
        tile = tile[..., component.index : component.index + 1]
    sums = [
        sum(tile[y::fy, x::fx, channel].astype(np.int32) for y in range(fy) for x in range(fx))
        for channel in range(tile.shape[2])
    ]
    if ycbcr:
        weights = _FROM_RGB[component.index] / (fx * fy)
        mixed = sums[0] * weights[0] + sums[1] * weights[1] + sums[2] * weights[2]
        samples = np.asarray(mixed + _OFFSETS[component.index], np.float64)
    else:
        samples = np.asarray(sums[0] / float(fx * fy), np.float64)
    samples[rows:] = samples[rows - 1]
    samples[:, columns:] = samples[:, columns - 1 : columns]
    return samples


def _to_blocks(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    rows, columns = samples.shape[0] // 8, samples.shape[1] // 8
    return samples.reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 64)


def _windows(frame: FrameHeader, touched: Sequence[Box]) -> list[Window]:
    """Group the boxes into rectangles of whole MCUs that share no MCU."""
    mcu = (8 * max(c.h for c in frame.components), 8 * max(c.v for c in frame.components))
    windows = [window for box in touched if (window := _window(box, frame, mcu))]
    x0, y0, x1, y1 = np.array([(w.x0, w.y0, w.x1, w.y1) for w in windows], int).reshape(-1, 4).T
    separate = np.zeros(len(windows), np.bool_)
    for at, window in enumerate(windows):
        while True:
            meets = (x0 < window.x1) & (x1 > window.x0) & (y0 < window.y1) & (y1 > window.y0)
            met = np.flatnonzero(meets & separate).tolist()
            if not met:
                break
            separate[met] = False
            window = reduce(_join, [windows[other] for other in met], window)
        windows[at], separate[at] = window, True
        x0[at], y0[at], x1[at], y1[at] = window.x0, window.y0, window.x1, window.y1
    return [windows[at] for at in np.flatnonzero(separate).tolist()]


def _bands(windows: Sequence[Window], frame: FrameHeader) -> Iterator[Window]:
    """Cut the windows into bands of whole MCU rows, to bound memory."""
    mcu = 8 * max(component.v for component in frame.components)
    for window in windows:
        step = max(1, _BAND // ((window.x1 - window.x0) * mcu)) * mcu
        for top in range(window.y0, window.y1, step):
            yield replace(window, y0=top, y1=min(top + step, window.y1))


def _window(box: Box, frame: FrameHeader, mcu: tuple[int, int]) -> Window | None:
    across, down = mcu
    x0, y0 = max(int(box.x0), 0), max(int(box.y0), 0)
    x1, y1 = min(int(box.x1), frame.width), min(int(box.y1), frame.height)
    if x1 <= x0 or y1 <= y0:
        return None
    # Samples beyond the right and lower edges repeat the edge. They are new also where only a
    # chroma sample of the edge is, which the old ones would repeat as it was.
    right, bottom = -(-x1 // across) * across, -(-y1 // down) * down
    x1 = right if x1 + across // 16 >= frame.width else x1
    y1 = bottom if y1 + down // 16 >= frame.height else y1
    return Window(x0 // across * across, y0 // down * down, right, bottom, ((x0, y0, x1, y1),))


def _join(a: Window, b: Window) -> Window:
    return Window(
        min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1), a.boxes + b.boxes
    )


def _is_complete(stream: JpegStream) -> bool:
    """Whether a progressive file refines all coefficients to the last bit.

    Decoders smooth missing bits; coefficients that are written back would not be.
    """
    if not stream.frame.progressive:
        return True
    left = {component.id: set(range(64)) for component in stream.frame.components}
    for segment in stream.coded:
        if segment.scan:
            count = segment.payload[0]
            start, stop, approximation = segment.payload[1 + 2 * count :]
            if approximation & 15 == 0:
                for id_ in segment.payload[1 : 1 + 2 * count : 2]:
                    left.get(id_, set()).difference_update(range(start, stop + 1))
    return not any(left.values())


def _redefines_tables(stream: JpegStream) -> bool:
    """Whether quantization tables are redefined between scans."""
    markers = [segment.marker for segment in stream.coded]
    return DQT in markers[markers.index(SOS) :]
