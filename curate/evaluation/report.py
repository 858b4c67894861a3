"""An evaluation as plain values, for JSON; its schema is manifests/evaluate-1.schema.json."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from curate.core.intervals import Interval, Share
from curate.evaluation.groups import Gap, Grouping
from curate.evaluation.measure import Evaluation
from curate.evaluation.scores import GroupScore
from curate.evaluation.sweep import Curve, GroupSweep, Sweep

VERSION = 1

_DIGITS = 6


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """What was measured, with intervals at 95 %."""
    rules, free = evaluation.rules, evaluation.face_free
    return {
        "rules": {
            "ious": list(rules.ious),
            "margin": rules.margin,
            "hidden_share": rules.hidden_share,
            "least_height": rules.least_height,
            "seed": rules.seed,
        },
        "faces": {
            "counted": evaluation.overall.faces,
            "ignored": evaluation.ignored,
            "too_small": evaluation.too_small,
        },
        "detections": evaluation.claims,
        "overall": _score(evaluation.overall)["measures"],
        "precision": {_key(iou): _share(each) for iou, each in evaluation.precision.items()},
        "average_precision": {
            _key(iou): _round(curve.average_precision) for iou, curve in evaluation.curves.items()
        },
        "face_free": {
            "images": free.with_box.total,
            "boxes": free.boxes,
            "with_box": _share(free.with_box),
            "per_image": {"value": _round(free.per_image), "interval": _interval(free.interval)},
        },
        "by_height": _scores(evaluation.heights),
        "by": {grouping.name: _grouping(grouping) for grouping in evaluation.groupings},
        "sweep": _sweep(evaluation.sweep) if evaluation.sweep else None,
    }


def _grouping(grouping: Grouping) -> dict[str, Any]:
    return {
        "groups": _scores(grouping.groups),
        "unlabelled": grouping.unlabelled,
        "comparisons": grouping.comparisons,
        "gaps": [_gap(gap) for gap in grouping.gaps],
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "kind": gap.kind,
        "measure": gap.measure,
        "group": gap.group,
        "against": gap.against,
        "difference": _round(gap.difference),
        "newcombe": _interval(gap.newcombe),
        "clustered": _interval(gap.clustered),
    }


def _scores(scores: Iterable[GroupScore]) -> list[dict[str, Any]]:
    return [_score(score) for score in scores]


def _score(score: GroupScore) -> dict[str, Any]:
    return {
        "name": score.name,
        "faces": score.faces,
        "images": score.images,
        "median_height": _round(score.median_height),
        "compared": score.compared,
        "measures": {
            name: {**_share(each.share), "clustered": _interval(each.clustered)}
            for name, each in score.measures.items()
        },
    }


def _sweep(sweep: Sweep) -> dict[str, Any]:
    return {
        "curves": {_key(iou): _curve(curve.thin()) for iou, curve in sweep.curves.items()},
        "by": {group.name: _group_sweep(group) for group in sweep.groups},
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        name: [_round(value) for value in getattr(curve, name)]
        for name in ("confidence", "recall", "precision")
    }


def _group_sweep(group: GroupSweep) -> dict[str, Any]:
    return {
        "best": group.best,
        "target": _round(group.target),
        "thresholds": [_round(value) for value in group.thresholds],
        "recall": _rounded(group.recall),
        "equalisers": [
            {
                "group": each.group,
                "threshold": _round(each.threshold),
                "precision": _round(each.precision),
            }
            for each in group.equalisers
        ],
    }


def _rounded(recall: Mapping[str, tuple[float, ...]]) -> dict[str, list[float | None]]:
    return {name: [_round(value) for value in values] for name, values in recall.items()}


def _share(share: Share) -> dict[str, Any]:
    return {
        "hits": share.hits,
        "total": share.total,
        "value": _round(share.value),
        "wilson": _interval(share.interval),
    }


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_round(interval.low), _round(interval.high)]


def _key(iou: float) -> str:
    return str(round(100 * iou))


def _round(value: float | None) -> float | None:
    """Six digits say enough, and a share of nothing is null: JSON has no NaN."""
    return None if value is None or math.isnan(value) else round(float(value), _DIGITS)
