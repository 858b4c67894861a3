"""The profiles: default detector, input scales and thresholds of ``--profile``, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from curate.detectors.candidates import Floats, Mask

MAX_PIXELS = 64_000_000
"""Default cap on the pixels of one pass; larger images are reduced to it."""
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
class Rule:
    """When a probability is enough.

    Args:
        accept: minimum probability in an image with a sure face.
        crowded: the same where candidates are too many to be scored again on crops.
        alone: minimum probability in an image without a sure face.
        sure: probability from which a face is sure.
        small: boxes lower than this, pixels, …
        small_accept: … need at least this probability.
    """

    accept: float = 0.05
    crowded: float = 0.2
    alone: float = 0.5
    sure: float = 0.6
    small: float = 14.0
    small_accept: float = 0.4

    def minimum(self, probabilities: Floats, heights: Floats, crowded: bool) -> Floats:
        """The probability that each candidate of an image needs, shape (N,)."""
        has_sure = bool((probabilities >= self.sure).any())
        minimum = (self.crowded if crowded else self.accept) if has_sure else self.alone
        return np.where(heights < self.small, max(self.small_accept, minimum), minimum)

    def accepts(self, probabilities: Floats, heights: Floats, crowded: bool) -> Mask:
        """Which candidates of an image are faces, shape (N,)."""
        accepted: Mask = probabilities >= self.minimum(probabilities, heights, crowded)
        return accepted


@dataclass(frozen=True, slots=True)
class Passes:
    """What the detector ``fusion`` runs in a profile.

    Args:
        coarse: the pass that every small image gets; None to start with the full passes.
        full: the full passes; none where the coarse pass is all.
        large: passes over large images.
        calibration: name of the calibration of the full passes' mean score.
        promising: probability by the coarse pass alone from which a candidate is kept.
        few: up to so many candidates are scored again on crops.
        likely: probability on crops from which a candidate of the coarse pass is likely.
        tall: a likely candidate lower than this, pixels, needs a full pass …
        follow: … as do likely ones of which none is accepted; if false, crops decide alone.
        quantized: whether the network has 8-bit integers, on the processor.
        rule: when a probability is enough.
    """

    coarse: InputScale | None
    full: tuple[InputScale, ...]
    large: tuple[InputScale, ...]
    calibration: str
    promising: float
    few: int
    likely: float
    tall: float
    follow: bool
    quantized: bool
    rule: Rule


@dataclass(frozen=True, slots=True)
class Profile:
    """A trade-off between speed and recall.

    Args:
        detector: the detector used where none is named.
        scale: input scale of detectors that use a single network.
        fusion: what the detector ``fusion`` runs.
    """

    detector: str
    scale: InputScale
    fusion: Passes


COARSE = InputScale(factor=0.5, full_side=224, snapped=True)
FINE = InputScale(factor=1.5)
MIRRORED = InputScale(factor=1.5, mirrored=True)
DOUBLE = InputScale(factor=2.0)
NATIVE = InputScale()

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "fast": Profile(
            detector="fusion",
            scale=InputScale(factor=0.5, full_side=320),
            fusion=Passes(
                coarse=COARSE, full=(NATIVE,), large=(InputScale(factor=0.5),), calibration="full",
                promising=0.03, few=8, likely=0.1, tall=0.0, follow=False, quantized=True,
                rule=Rule(crowded=0.4),
            ),
        ),
        "balanced": Profile(
            detector="fusion",
            scale=NATIVE,
            fusion=Passes(
                coarse=COARSE, full=(FINE,), large=(NATIVE,), calibration="full",
                promising=0.03, few=12, likely=0.08, tall=24.0, follow=True, quantized=True,
                rule=Rule(crowded=0.21),
            ),
        ),
        "thorough": Profile(
            detector="fusion",
            scale=DOUBLE,
            fusion=Passes(
                coarse=None, full=(FINE, MIRRORED, DOUBLE), large=(FINE,), calibration="thorough",
                promising=0.0, few=16, likely=0.0, tall=0.0, follow=True, quantized=False,
                rule=Rule(accept=0.03, crowded=0.18, small_accept=0.5),
            ),
        ),
    }
)  # fmt: skip
