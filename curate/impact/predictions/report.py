"""An impact as plain values, for JSON; its schema is manifests/impact-1.schema.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from curate.core.intervals import Interval
from curate.impact.evaluate.controls import Controls, Placement, describe_controls
from curate.impact.predictions.classes import ClassChange
from curate.impact.predictions.groups import Gap, Grouping
from curate.impact.predictions.measure import FaceImpact, Impact
from curate.impact.predictions.metrics import BINS, Calibration, RiskCoverage
from curate.impact.predictions.paired import ALPHA, POWER, Change
from curate.impact.predictions.strata import Slope, Stratum

VERSION = 1

_DIGITS = 8


def to_dict(impact: Impact) -> dict[str, Any]:
    """What was measured; differences are obfuscated minus original, in fractions."""
    experiment, faces = impact.experiment, impact.faces
    before, after = impact.precision
    return {
        "pairs": len(experiment),
        "models": len(experiment.models),
        "seed": impact.seed,
        "classes": {"total": len(experiment.classes), "with_images": len(impact.classes)},
        "top1": _change(impact.top1),
        "top5": _change(impact.top5) if impact.top5 else None,
        "average_precision": {
            "original": _round(before),
            "obfuscated": _round(after),
            "difference": _round(after - before),
        },
        "mcnemar": {"b": impact.test.b, "c": impact.test.c, "p": impact.test.p},
        "per_class": [_class(each, experiment.classes) for each in impact.classes],
        "by_blurred_share": [_stratum(each) for each in faces.by_share] if faces else [],
        "blurred_share_slope": _slope(faces.slope) if faces and faces.slope else None,
        "by_faces": [_stratum(each) for each in faces.by_count] if faces else [],
        "by_presence": _presence(faces) if faces else None,
        "by_group": {grouping.name: _grouping(grouping) for grouping in impact.groupings},
        "calibration": _calibrations(impact.calibration) if impact.calibration else None,
        "selective": {
            "original": _risk(impact.selective[0]),
            "obfuscated": _risk(impact.selective[1]),
        },
        "power": {
            "detectable_drop": _round(impact.power.detectable),
            "discordant": _round(impact.power.discordant),
            "alpha": ALPHA,
            "power": POWER,
        },
    }


def controls_to_dict(controls: Controls) -> dict[str, Any]:
    """Control arms; differences are ``to`` minus ``from``, in fractions."""
    return {
        "accuracy": [
            {"arm": each.arm, "top1": _round(each.top1), "top5": _round(each.top5)}
            for each in controls.accuracies
        ],
        "steps": [
            {
                "from": step.before,
                "to": step.after,
                "meaning": step.meaning,
                "top1": _difference(step.top1),
                "top5": _difference(step.top5) if step.top5 else None,
                "with_faces": _difference(step.present) if step.present else None,
                "mcnemar": {"b": step.test.b, "c": step.test.c, "p": step.test.p},
            }
            for step in controls.steps
        ],
        "routes": dict(sorted(controls.routes.items())),
        "placement": _placement(controls.placement) if controls.placement else None,
        "statement": list(describe_controls(controls)),
    }


def _placement(placement: Placement) -> dict[str, Any]:
    return {
        "images": placement.images,
        "regions": placement.regions,
        "overlapping": placement.overlapping,
        "crowded": placement.crowded,
        "faces_share": _round(placement.faces_share),
        "share": _round(placement.share),
    }


def _difference(change: Change) -> dict[str, Any]:
    plain = _change(change)
    return {key: plain[key] for key in ("n", "difference", "ci95", "bootstrap")}


def _change(change: Change) -> dict[str, Any]:
    return {
        "n": change.n,
        "original": _round(change.original),
        "obfuscated": _round(change.obfuscated),
        "difference": _round(change.difference),
        "ci95": _interval(change.interval),
        "bootstrap": _interval(change.bootstrap),
    }


def _class(each: ClassChange, names: Sequence[str]) -> dict[str, Any]:
    return {
        "category": names[each.place],
        **_change(each.top1),
        "p": each.p,
        "q": each.q,
        "ap_original": _round(each.original),
        "ap_obfuscated": _round(each.obfuscated),
        "ap_difference": _round(each.ap_difference),
        "kind": each.kind,
        "confusion": None
        if each.confusion is None
        else {
            "category": names[each.confusion.place],
            "share": _round(each.confusion.share),
        },
    }


def _stratum(stratum: Stratum) -> dict[str, Any]:
    return {"low": stratum.low, "high": stratum.high, **_change(stratum.top1)}


def _slope(slope: Slope) -> dict[str, Any]:
    return {"value": _round(slope.value), "ci95": _interval(slope.interval)}


def _presence(faces: FaceImpact) -> dict[str, Any]:
    return {"with_faces": _change(faces.present), "without_faces": _change(faces.absent)}


def _grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": [
            {"group": group.name, **_change(group.top1), "compared": group.compared}
            for group in grouping.groups
        ],
        "gap": _gap(grouping.gap) if grouping.gap else None,
        "unlabelled": grouping.unlabelled,
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "best": gap.best,
        "worst": gap.worst,
        "original": _round(gap.original),
        "obfuscated": _round(gap.obfuscated),
        "difference": _round(gap.difference),
        "ci95": _interval(gap.interval),
    }


def _calibrations(pair: tuple[Calibration, Calibration]) -> dict[str, Any]:
    return {"bins": BINS, "original": _calibration(pair[0]), "obfuscated": _calibration(pair[1])}


def _calibration(calibration: Calibration) -> dict[str, Any]:
    return {
        "ece": _round(calibration.ece),
        "reliability": [
            {
                "low": _round(each.low),
                "high": _round(each.high),
                "n": each.n,
                "confidence": _round(each.confidence),
                "accuracy": _round(each.accuracy),
            }
            for each in calibration.bins
        ],
    }


def _risk(curve: RiskCoverage) -> dict[str, Any]:
    return {
        "area": _round(curve.area),
        "coverage": [_round(value) for value in curve.coverage],
        "risk": [_round(value) for value in curve.risk],
    }


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_round(interval.low), _round(interval.high)]


def _round(value: float | None) -> float | None:
    """Eight digits say enough, and a share of nothing is null: JSON has no NaN."""
    return None if value is None or math.isnan(value) else round(float(value), _DIGITS)
