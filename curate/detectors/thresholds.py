"""The score from which a detector reports a face, as a reader of a dataset wants to know it."""

from __future__ import annotations

import importlib
from typing import Any

from curate.core.errors import CurateError
from curate.detectors import DETECTORS, PROFILES


def describe_thresholds(
    detector: str | None, profile: str, confidence: float | None
) -> dict[str, float]:
    """Minimum scores of a detector, 0..1, by the case that they are for.

    Args:
        detector: as a recipe has it, without a file; None for the profile's.
        profile: the profile.
        confidence: the recipe's; None for the detector's default.

    Returns:
        ``confidence`` where there is one for all cases. Of the detector ``fusion``, whose scores
        are calibrated probabilities: ``sure_face`` for an image with a sure face,
        ``no_sure_face``, ``crowd`` and ``small``. Empty where it is not known.
    """
    name = (detector or PROFILES[profile].detector).partition(":")[0]
    if confidence is not None:
        return {"confidence": confidence}
    if name == "fusion":
        rule = PROFILES[profile].fusion.rule
        return {
            "sure_face": rule.accept,
            "no_sure_face": rule.alone,
            "crowd": rule.crowded,
            "small": rule.small_accept,
        }
    try:
        module: Any = importlib.import_module(DETECTORS.check(name).target.partition(":")[0])
    except CurateError:  # a detector of another release, or of an extra that is not installed
        return {}
    return {"confidence": module.CONFIDENCE}
