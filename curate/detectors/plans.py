"""The passes of each profile of the detector ``fusion``, and the rule that accepts candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from curate.detectors.candidates import Floats, Mask
from curate.detectors.options import DetectorOptions, InputScale


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
        least = (self.crowded if crowded else self.accept) if has_sure else self.alone
        return np.where(heights < self.small, max(self.small_accept, least), least)

    def accepts(self, probabilities: Floats, heights: Floats, crowded: bool) -> Mask:
        """Which candidates of an image are faces, shape (N,)."""
        accepted: Mask = probabilities >= self.minimum(probabilities, heights, crowded)
        return accepted


@dataclass(frozen=True, slots=True)
class Plan:
    """What a profile runs.

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


COARSE = InputScale(factor=0.5, full_side=224, snapped=True)
FINE = InputScale(factor=1.5)
MIRRORED = InputScale(factor=1.5, mirrored=True)
DOUBLE = InputScale(factor=2.0)
NATIVE = InputScale()
PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        "fast": Plan(
            coarse=COARSE, full=(NATIVE,), large=(InputScale(factor=0.5),), calibration="full",
            promising=0.03, few=8, likely=0.1, tall=0.0, follow=False, quantized=True,
            rule=Rule(crowded=0.4),
        ),
        "balanced": Plan(
            coarse=COARSE, full=(FINE,), large=(NATIVE,), calibration="full",
            promising=0.03, few=12, likely=0.08, tall=24.0, follow=True, quantized=True,
            rule=Rule(crowded=0.21),
        ),
        "thorough": Plan(
            coarse=None, full=(FINE, MIRRORED, DOUBLE), large=(FINE,), calibration="thorough",
            promising=0.0, few=16, likely=0.0, tall=0.0, follow=True, quantized=False,
            rule=Rule(accept=0.03, crowded=0.18, small_accept=0.5),
        ),
    }
)  # fmt: skip


def limited(plan: Plan, options: DetectorOptions) -> Plan:
    """The plan with the user's cap on the longer side of every pass."""
    return replace(
        plan,
        coarse=options.limited(plan.coarse) if plan.coarse else None,
        full=tuple(map(options.limited, plan.full)),
        large=tuple(map(options.limited, plan.large)),
    )
