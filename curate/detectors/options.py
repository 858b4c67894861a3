"""Options of detection, and the defaults of the three profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from curate.core.errors import UsageError

MAX_PIXELS = 64_000_000
"""Default cap on the pixels of one pass; larger images are reduced to it."""


FAMILIES = ("retinaface", "scrfd", "yunet", "yolo-face", "centerface")
"""Output formats of the networks that a user can provide as ONNX files."""
TILE = 960
"""Default longest side of a tile, pixels of the network's input."""


@dataclass(frozen=True, slots=True)
class InputScale:
    """The size at which a network sees an image.

    Args:
        factor: ratio of the network's input to the image …
        full_side: … but images are not reduced below this longer side, pixels …
        min_side: … images with a shorter longer side are enlarged to this, pixels …
        max_pixels: … no pass has more pixels than this …
        max_side: … and none a longer side than this, pixels; None for no such limit.
        snapped: whether the longer side is then rounded to a multiple of the network's stride,
            so that less of the input is padding.
        mirrored: whether the network sees the mirror image instead.
        tile: longest side of a tile, pixels of the network's input; larger passes are tiled.
    """

    factor: float = 1.0
    full_side: int = 0
    min_side: int = 128
    max_pixels: int = MAX_PIXELS
    max_side: int | None = None
    snapped: bool = False
    mirrored: bool = False
    tile: int = TILE


@dataclass(frozen=True, slots=True)
class Profile:
    """A trade-off between speed and recall.

    Args:
        detector: the detector used where none is named.
        scale: input scale of detectors that use a single network.
    """

    detector: str
    scale: InputScale


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "fast": Profile("fusion", InputScale(factor=0.5, full_side=320)),
        "balanced": Profile("fusion", InputScale()),
        "thorough": Profile("fusion", InputScale(factor=2.0)),
    }
)


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Which detector, and how it runs.

    Args:
        name: a registered name; None for the profile's own detector.
        profile: ``fast``, ``balanced`` or ``thorough``.
        confidence: minimum score of a face, 0..1; None for the detector's default.
        max_side: cap on the longer side of a network's input, pixels; None for no cap
            but the profile's on the area.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: processor threads per detector.
        weights: weights file of a detector whose weights the user provides.
        family: output format of the network in that file, such as ``retinaface``.
        self_test: whether a provided network is tried on a packaged picture first.

    Raises:
        UsageError: if a value is outside its range.
    """

    name: str | None = None
    profile: str = "balanced"
    confidence: float | None = None
    max_side: int | None = None
    device: str = "auto"
    threads: int = 1
    weights: Path | None = None
    family: str | None = None
    self_test: bool = True

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            known = ", ".join(PROFILES)
            raise UsageError(f"unknown profile {self.profile!r}; choose one of: {known}")
        if self.confidence is not None and not (
            math.isfinite(self.confidence) and 0 < self.confidence < 1
        ):
            raise UsageError(f"confidence {self.confidence} is not between 0 and 1")
        if self.max_side is not None and self.max_side < 32:
            raise UsageError(f"max side {self.max_side} is less than 32 pixels")
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, not {self.threads}")

    @property
    def detector(self) -> str:
        """The named detector, or the profile's own."""
        return self.name or PROFILES[self.profile].detector

    @property
    def scale(self) -> InputScale:
        """The profile's input scale, with the user's cap."""
        return self.limited(PROFILES[self.profile].scale)

    def limited(self, scale: InputScale) -> InputScale:
        """An input scale with the user's cap on the longer side."""
        return scale if self.max_side is None else replace(scale, max_side=self.max_side)
