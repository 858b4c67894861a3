"""Preprocessing: from an image to a network's input.

Preprocessing is part of a model: the same weights lose several points of accuracy with
another one. Where a model does not define it, it is stated by ``key=value`` pairs:

=============  ====================================================  ================
key            meaning                                               default
=============  ====================================================  ================
size           side of the input, or HEIGHTxWIDTH, pixels            224
resize         shorter side before cropping, pixels                  size / 0.875;
                                                                     stretch: size
fit            ``shorter``: resize, then crop the center;            shorter
               ``crop``: crop the share size/resize, then resize;
               ``stretch``: both sides become resize, whatever
               the aspect, and the center is cropped
interpolation  nearest, box, bilinear, hamming, bicubic, lanczos     bilinear
range          what a sample of 255 becomes before mean and std      1
mean           subtracted; one number, or three as A/B/C             .485/.456/.406
std            divided by; one number, or three                      .229/.224/.225
order          ``rgb`` or ``bgr``; mean and std are in this order    rgb
=============  ====================================================  ================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import UsageError, suggest
from curate.core.protocols import Pixels

Channels = tuple[float, float, float]

FITS = ("shorter", "crop", "stretch")
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
ORDERS = ("rgb", "bgr")
CROP_SHARE = 0.875
"""Default share of the resized shorter side that is kept: 224 of 256."""
MEAN: Channels = (0.485, 0.456, 0.406)
STD: Channels = (0.229, 0.224, 0.225)
"""Of ImageNet's training images, in 0..1; used by most published weights."""
LARGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """Preprocessing of an upright RGB image.

    Args:
        height: of the input, pixels.
        width: of the input, pixels.
        resize: the shorter side before cropping, pixels.
        fit: how images of another aspect ratio are resized; one of `FITS`.
        interpolation: one of `INTERPOLATIONS`, with Pillow's antialiasing.
        range: what a sample of 255 becomes before mean and standard deviation.
        mean: subtracted from each channel.
        std: each channel is divided by it.
        order: of the channels, ``rgb`` or ``bgr``.

    Raises:
        UsageError: if a value is out of range.
    """

    height: int = 224
    width: int = 224
    resize: int = 256
    fit: str = "shorter"
    interpolation: str = "bilinear"
    range: float = 1.0
    mean: Channels = MEAN
    std: Channels = STD
    order: str = "rgb"

    def __post_init__(self) -> None:
        for key, known in _CHOICES.items():
            if getattr(self, key) not in known:
                given = getattr(self, key)
                raise UsageError(
                    f"{key} cannot be {given!r}; choose one of: {', '.join(known)}"
                    f"{suggest(str(given), known)}"
                )
        longer = max(self.height, self.width)
        if not (min(self.height, self.width) >= 1 and longer <= LARGEST):
            raise UsageError(f"size must be 1 to {LARGEST} pixels")
        if not longer <= self.resize <= 2 * LARGEST:
            raise UsageError(f"resize must be {longer} (the size) or more, not {self.resize}")
        if self.fit == "crop" and self.height != self.width:
            raise UsageError("fit=crop needs a square size")
        if not all(map(math.isfinite, (self.range, *self.mean, *self.std))) or self.range <= 0:
            raise UsageError("range, mean and std must be numbers, and range above 0")
        if min(self.std) <= 0:
            raise UsageError("std must be above 0")

    def apply(self, image: Pixels) -> npt.NDArray[np.float32]:
        """Return the network's input, shape (3, height, width), from (H, W, 3) uint8."""
        from PIL import Image

        method = Image.Resampling[self.interpolation.upper()]
        box = self.window(image.shape[1], image.shape[0])
        # Resizing a window equals resizing and cropping, with bounded memory for very long
        # images.
        small = Image.fromarray(image).resize((self.width, self.height), method, box=box)
        samples = np.asarray(small, dtype=np.float32)
        if self.order == "bgr":
            samples = samples[..., ::-1]
        samples = samples * np.float32(self.range / 255)
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        normalized = (samples - mean) / std
        return np.ascontiguousarray(normalized.transpose(2, 0, 1), dtype=np.float32)

    def window(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return the part of an image that the network sees: x0, y0, x1, y1 in its pixels."""
        if self.fit == "stretch":
            across, down = width * self.width / self.resize, height * self.height / self.resize
            return _centered(width, height, across, down)
        shorter = min(width, height)
        if self.fit == "crop":
            side = max(int(self.height / self.resize * shorter), 1)
            left, top = (width - side + 1) // 2, (height - side + 1) // 2
            return (float(left), float(top), float(left + side), float(top + side))
        # Whole pixels of the resized image are cropped, as in torchvision.
        resized = (
            self.resize if width == shorter else int(self.resize * width / height),
            self.resize if height == shorter else int(self.resize * height / width),
        )
        left, top = round((resized[0] - self.width) / 2), round((resized[1] - self.height) / 2)
        x0, x1 = (edge * width / resized[0] for edge in (left, left + self.width))
        y0, y1 = (edge * height / resized[1] for edge in (top, top + self.height))
        return (x0, y0, min(x1, width), min(y1, height))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the report."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"mean": list(self.mean), "std": list(self.std)}


def parse_preprocess(settings: Mapping[str, str]) -> Preprocess:
    """Parse ``key=value`` pairs; missing keys keep their defaults.

    Raises:
        UsageError: if a key is unknown or its value is invalid.
    """
    values: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in _PARSERS:
            raise UsageError(f"preprocessing has no {key!r}; it has: {', '.join(_PARSERS)}")
        try:
            values[key] = _PARSERS[key](text)
        except ValueError:
            raise UsageError(f"preprocessing: {key}={text} is not valid") from None
    if "size" in values:
        values["height"], values["width"] = values.pop("size")
    longer = max(values.get("height", 224), values.get("width", 224))
    share = 1.0 if values.get("fit") == "stretch" else CROP_SHARE
    values.setdefault("resize", round(longer / share))
    return Preprocess(**values)


def _centered(
    width: int, height: int, across: float, down: float
) -> tuple[float, float, float, float]:
    left, top = (width - across) / 2, (height - down) / 2
    return (left, top, left + across, top + down)


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    return int(height), int(width or height)


def _parse_channels(text: str) -> Channels:
    numbers = [float(part) for part in text.split("/")]
    if len(numbers) == 1:
        numbers *= 3
    first, second, third = numbers
    return first, second, third


_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"fit": FITS, "interpolation": INTERPOLATIONS, "order": ORDERS}
)
_PARSERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "size": _parse_size,
        "resize": int,
        "fit": str,
        "interpolation": str,
        "range": float,
        "mean": _parse_channels,
        "std": _parse_channels,
        "order": str,
    }
)
