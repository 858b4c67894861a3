"""Augmentations that leave every label true.

What is drawn must not change what an image is labelled with, and least of all
the group that a person in it is seen as. So light and colours move less than
they do between two photos of one scene: in 19 of 20 draws the lightness L* of skin
changes by less than 5, which is about half of one of the ten steps of the Monk
skin tone scale, and the hue by at most 4 degrees. A test holds these numbers.

Where an image is moved or turned, the strip that opens at its border repeats
the border's pixels. A mirrored strip would show people a second time, without
their labels; a black one would teach a model to tell made images from others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_PHOTOMETRIC: tuple[Mapping[str, Any], ...] = (
    {
        "__class_fullname__": "RandomBrightnessContrast",
        "brightness_limit": (-0.02, 0.02),
        "contrast_limit": (-0.05, 0.05),
        "brightness_by_max": True,
        "ensure_safe_range": False,  # else an image of all values would stay as it is
        "p": 1.0,
    },
    {
        "__class_fullname__": "HueSaturationValue",
        "hue_shift_limit": (-2, 2),  # OpenCV's degrees of hue are two of a circle's
        "sat_shift_limit": (-8, 8),
        "val_shift_limit": (0, 0),
        "p": 0.5,
    },
    {"__class_fullname__": "RandomGamma", "gamma_limit": (96, 104), "p": 0.5},
    {
        "__class_fullname__": "OneOf",
        "transforms": (
            {"__class_fullname__": "GaussNoise", "std_range": (0.004, 0.016), "p": 1.0},
            {
                "__class_fullname__": "GaussianBlur",
                "blur_limit": (3, 3),
                "sigma_limit": (0.3, 0.8),
                "p": 1.0,
            },
        ),
        "p": 0.5,
    },
)
_FLIP: Mapping[str, Any] = {"__class_fullname__": "HorizontalFlip", "p": 0.5}
_GEOMETRIC: Mapping[str, Any] = {
    "__class_fullname__": "Affine",
    "rotate": (-8, 8),
    "scale": (0.92, 1.08),
    "keep_ratio": True,
    "translate_percent": (-0.04, 0.04),
    "interpolation": 1,  # OpenCV's linear
    "border_mode": 1,  # OpenCV's BORDER_REPLICATE
    "p": 1.0,
}

PRESETS: Mapping[str, tuple[Mapping[str, Any], ...]] = MappingProxyType(
    {
        "photometric": _PHOTOMETRIC,
        "flip": (_FLIP, *_PHOTOMETRIC),
        "geometric": (_FLIP, _GEOMETRIC, *_PHOTOMETRIC),
    }
)
"""Transforms by preset, as albumentations serialises them.

``photometric``: light, contrast, colours, a little noise or blur; every pixel stays
where it is. ``flip``: a mirror image every other time, too; not where left and right
make the label, as of letters and road signs. ``geometric``: turned, scaled and moved a
little, too.
"""
