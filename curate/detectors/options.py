"""Options of detection."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from curate.core.errors import UsageError, describe_choice
from curate.detectors.profiles import PROFILES, InputScale, Passes

FAMILIES = ("retinaface", "scrfd", "yunet", "yolo-face", "centerface")
"""Output formats of the networks that a user can provide as ONNX files."""


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
            raise UsageError(describe_choice("profile", self.profile, PROFILES))
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

    @property
    def fusion(self) -> Passes:
        """The profile's passes of the detector ``fusion``, with the user's cap."""
        passes = PROFILES[self.profile].fusion
        return replace(
            passes,
            coarse=self.limited(passes.coarse) if passes.coarse else None,
            full=tuple(map(self.limited, passes.full)),
            large=tuple(map(self.limited, passes.large)),
        )

    def limited(self, scale: InputScale) -> InputScale:
        """An input scale with the user's cap on the longer side."""
        return scale if self.max_side is None else replace(scale, max_side=self.max_side)
