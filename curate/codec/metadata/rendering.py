"""Rendering through a color profile, as color-managed viewers do."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np

from curate.core.protocols import Pixels

_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_MAX_DIFFERENCE = 40.0
"""Mean difference from the pixels on a ramp, in levels; at most 30 for ProPhoto RGB."""
_MAX_SLOPE = 2.0
"""Levels by which gray rises per level; at most 1.7 for exponents of 1.8 to 2.6."""
_WINDOW = 8  # levels over which the slope is measured


def can_render(profile: bytes) -> bool:
    """Return whether the profile can be used to display an image."""
    return _transform(profile) is not None


def mode_of(profile: bytes) -> str:
    """Return Pillow's name of the colors that a rebuilt profile describes."""
    return _MODES[profile[16:20]]


@lru_cache(maxsize=64)
def changes_contrast(profile: bytes) -> bool:
    """Return whether the profile shows what the pixels as they are hardly show.

    That is so where ramps of gray and of each channel look very different, or gray rises much
    more steeply; not for the common color spaces.
    """
    mode = mode_of(profile)
    if mode == "CMYK":
        return True
    levels = np.arange(256, dtype=np.uint8)
    ramps = [np.repeat(levels[:, None], 3, axis=1)]
    if mode == "RGB":
        for channel, rest in ((channel, rest) for channel in range(3) for rest in (0, 128, 255)):
            ramp = np.full((256, 3), rest, np.uint8)
            ramp[:, channel] = levels
            ramps.append(ramp)
    pixels = np.stack(ramps)
    shown = render(pixels, profile).astype(int)
    slope = (shown[0, _WINDOW:] - shown[0, :-_WINDOW]) / _WINDOW
    difference = np.abs(shown - pixels).mean(axis=(1, 2))
    return bool(difference.max() > _MAX_DIFFERENCE or slope.max() > _MAX_SLOPE)


def render(pixels: Pixels, profile: bytes) -> Pixels:
    """Return what a viewer shows in sRGB, H×W×3 uint8.

    Args:
        pixels: H×W×3 or, for a profile of CMYK, H×W×4 uint8, of ink as in ``Picture``.
        profile: as returned by ``rebuild_profile``.
    """
    from PIL import Image, ImageCms

    mode = mode_of(profile)
    image = Image.fromarray(pixels)
    if mode == "CMYK":
        image = Image.frombytes("CMYK", image.size, np.ascontiguousarray(pixels).tobytes())
    elif mode == "L":
        image = image.convert("L")
    return np.array(ImageCms.applyTransform(image, _transform(profile)))


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> Any:
    """The transform to sRGB; None if there is none."""
    from PIL import ImageCms

    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode_of(profile),
            "RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
