"""Every choice that a user has about detection, and the defaults of the three profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from curate.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sight:
    """How large a network sees an image, and how often.

    Args:
        factor: the network sees the image at this share of its size …
        full_side: … but not reduced below this longer side, pixels …
        max_side: … and never with a longer side than this, pixels.
        min_side: an image whose longer side is shorter is enlarged to this, pixels.
        mirrored: whether the mirror image is looked at as well.
        zooms: further looks at the whole image, at these multiples of its size in the first.
        squeeze: share by which a side is shortened, at the most, where that spares the
            network a stride of padding.
    """

    factor: float = 1.0
    full_side: int = 0
    max_side: int = 1600
    min_side: int = 128
    mirrored: bool = False
    zooms: tuple[float, ...] = ()
    squeeze: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A balance of speed and thoroughness.

    Args:
        detector: the detector used where none is named.
        sight: how large the network sees an image, and how often.
    """

    detector: str
    sight: Sight


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "fast": Profile(
            "centerface", Sight(factor=0.5, full_side=320, max_side=1024, squeeze=0.07)
        ),
        "balanced": Profile("agreement", Sight(factor=0.7, full_side=352, max_side=1600)),
        "thorough": Profile("agreement", Sight(max_side=1152, mirrored=True, zooms=(2.0,))),
    }
)


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What to detect with.

    Args:
        name: a registered name; None for the profile's own detector.
        profile: ``fast``, ``balanced`` or ``thorough``.
        confidence: the least score of a face, 0..1; None for the detector's default.
        max_side: cap on the longer side that a network sees, pixels; None for
            the profile's.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: processor threads per detector.
        backend: what runs CenterFace on the processor; ``auto``, ``opencv``,
            ``openvino`` or ``torch``.
        weights: the weights file of a detector whose weights the user brings.

    Raises:
        UsageError: if a value is outside its range.
    """

    name: str | None = None
    profile: str = "balanced"
    confidence: float | None = None
    max_side: int | None = None
    device: str = "auto"
    threads: int = 1
    backend: str = "auto"
    weights: Path | None = None

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
            raise UsageError(f"{self.threads} threads are less than one")

    @property
    def detector(self) -> str:
        """The registered name that was asked for, or that of the profile's own detector."""
        return self.name or PROFILES[self.profile].detector

    @property
    def sight(self) -> Sight:
        """The profile's sight, with the user's cap."""
        sight = PROFILES[self.profile].sight
        return sight if self.max_side is None else replace(sight, max_side=self.max_side)
