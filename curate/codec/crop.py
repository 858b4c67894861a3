"""A small picture of a part of an image, for a person to look at."""

from __future__ import annotations

import io

from curate.core.geometry import Box, clip, round_out
from curate.core.protocols import Pixels

_QUALITY = 85


def crop_jpeg(pixels: Pixels, box: Box, side: int) -> bytes:
    """The part of an image inside a box, scaled so that its longer side is ``side``; as JPEG.

    Args:
        pixels: upright RGB, H×W×3 uint8.
        box: pixels of that image; at least one of them inside it.
        side: pixels.
    """
    from PIL import Image

    inside = clip(round_out(box), pixels.shape[1], pixels.shape[0])
    part = Image.fromarray(pixels[inside.slices])
    factor = side / max(part.size)
    size = (max(1, round(part.width * factor)), max(1, round(part.height * factor)))
    file = io.BytesIO()
    part.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
