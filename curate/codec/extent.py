"""Where an output's pixels may differ from the source's, once the boxes touched are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.stream import JpegStream
from curate.codec.picture import Picture
from curate.core.geometry import Box


def changed_mask(picture: Picture, touched: Sequence[Box], index: int = 0) -> npt.NDArray[np.bool_]:
    """H×W, true wherever writing ``touched`` into the picture may change a decoded pixel.

    For lossless formats these are the boxes themselves. For a JPEG they are the
    blocks that the boxes meet, and one more chroma sample around them, which
    decoders mix in when they enlarge subsampled chroma.

    Args:
        picture: the source, as loaded.
        touched: whole-pixel boxes outside which the new frame is unchanged.
        index: which frame; frames may differ in size.
    """
    mask = np.zeros(picture.frames[index].shape[:2], dtype=bool)
    step_x = step_y = 1
    apron_x = apron_y = 0
    if isinstance(picture.stored, JpegStream):
        components = picture.stored.frame.components
        across, down = max(c.h for c in components), max(c.v for c in components)
        step_x, step_y = 8 * across, 8 * down
        apron_x, apron_y = (across, down) if across * down > 1 else (0, 0)
    for box in touched:
        x0, x1 = _align(box.x0, box.x1, step_x, apron_x)
        y0, y1 = _align(box.y0, box.y1, step_y, apron_y)
        mask[max(y0, 0) : y1, max(x0, 0) : x1] = True
    return mask


def _align(low: float, high: float, step: int, apron: int) -> tuple[int, int]:
    return int(low) // step * step - apron, -(-int(high) // step) * step + apron
