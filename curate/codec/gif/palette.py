"""Colours brought into a palette: those that must stay exactly, others as near as there is room."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from curate.core.protocols import Frame

Colours = npt.NDArray[np.uint8]
_BATCH = 4096


def to_palette(
    pixels: Frame, fixed: npt.NDArray[np.bool_], clear: npt.NDArray[np.bool_] | None, room: int
) -> tuple[npt.NDArray[np.uint8], Colours] | None:
    """Palette indices of an RGB image.

    Args:
        pixels: H×W×3 uint8.
        fixed: H×W, pixels whose colours are kept exactly; the others' may move.
        clear: H×W, pixels whose colour does not matter, or None.
        room: the most colours a palette may have, up to 256.

    Returns:
        Indices, H×W uint8, and the palette, N×3 uint8; None where the fixed
        pixels alone have more colours than there is room.
    """
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    shown = np.ones(fixed.shape, np.bool_) if clear is None else ~clear
    kept = np.unique(packed[fixed & shown])
    if len(kept) > room:
        return None
    free = np.setdiff1d(packed[~fixed & shown], kept)
    added = free if len(kept) + len(free) <= room else _reduced(free, room - len(kept))
    palette = _unpack(np.concatenate([kept, added]))
    if not len(palette):
        palette = np.zeros((1, 3), np.uint8)
    colours, inverse = np.unique(packed, return_inverse=True)
    nearest = _nearest(_unpack(colours), palette)
    return nearest[inverse].reshape(fixed.shape), palette


def _reduced(colours: npt.NDArray[np.uint32], room: int) -> npt.NDArray[np.uint32]:
    """At most ``room`` colours that stand for all of them, by median cut."""
    if room < 1:
        return colours[:0]
    strip = Image.fromarray(_unpack(colours)[None])
    reduced = strip.quantize(room, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    chosen = np.array(reduced.convert("RGB")).reshape(-1, 3).astype(np.uint32)
    return np.unique(chosen @ np.array([1 << 16, 1 << 8, 1], np.uint32))[:room]


def _nearest(colours: Colours, palette: Colours) -> npt.NDArray[np.uint8]:
    """Index of the palette's nearest colour for each; the first of equals."""
    targets = palette.astype(np.int32)
    nearest = np.empty(len(colours), np.uint8)
    for start in range(0, len(colours), _BATCH):
        batch = colours[start : start + _BATCH].astype(np.int32)
        distances = ((batch[:, None] - targets[None]) ** 2).sum(axis=2)
        nearest[start : start + _BATCH] = distances.argmin(axis=1)
    return nearest


def _unpack(packed: npt.NDArray[np.uint32]) -> Colours:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
