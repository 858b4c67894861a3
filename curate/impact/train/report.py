"""A transfer as plain values, for JSON; its schema is manifests/train-1.schema.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate.core.intervals import Interval
from curate.impact.train.crossed import Estimate
from curate.impact.train.groups import GroupCells, GroupGap, Part
from curate.impact.train.measure import Both, Transfer
from curate.impact.train.trial import DATASETS, Cell, ClassCells, Move

VERSION = 1

_DIGITS = 8


def to_dict(transfer: Transfer) -> dict[str, Any]:
    """What was measured: ``cells`` by what was trained on, then by what was tested on."""
    names, presence = transfer.trial.classes, transfer.presence
    return {
        "seeds": list(transfer.trial.seeds),
        "cells": _nest(lambda cell: _cell(transfer, cell)),
        "gaps": {name: _both(each) for name, each in transfer.gaps.items()},
        "weighted": _weighted(transfer) if transfer.trial.weighted else None,
        "per_class": [_class(each, names) for each in transfer.classes],
        "by_presence": presence
        and {"with_faces": _part(presence[0]), "without_faces": _part(presence[1])},
        "by_group": {grouping.name: _grouping(grouping) for grouping in transfer.groupings},
    }


def _nest(make: Callable[[Cell], Any], weighted: bool = False) -> dict[str, dict[str, Any]]:
    return {
        trained: {tested: make(Cell(trained, tested, weighted)) for tested in DATASETS}
        for trained in DATASETS
    }


def _cell(transfer: Transfer, cell: Cell) -> dict[str, Any]:
    return {
        **_both(transfer.accuracy[cell]),
        "average_precision": _round(transfer.precision[cell]),
    }


def _weighted(transfer: Transfer) -> dict[str, Any]:
    return {
        "cells": _nest(lambda cell: _cell(transfer, cell), weighted=True),
        "gaps": {name: _both(each) for name, each in transfer.weighted_gaps.items()},
        "corrections": _nest(lambda cell: _both(transfer.corrections[cell])),
    }


def _both(both: Both) -> dict[str, Any]:
    return {
        "top1": _estimate(both.top1),
        "top5": _estimate(both.top5) if both.top5 is not None else None,
    }


def _class(each: ClassCells, names: Sequence[str]) -> dict[str, Any]:
    def accuracy(cell: Cell) -> float | None:
        return _round(each.accuracy[cell])

    weighted = any(cell.weighted for cell in each.accuracy)
    return {
        "category": names[each.place],
        "train": each.trained,
        "test": each.tested,
        "cells": _nest(accuracy),
        "weighted_cells": _nest(accuracy, weighted=True) if weighted else None,
        **{name: _move(move, names) for name, move in each.moves.items()},
    }


def _move(move: Move, names: Sequence[str]) -> dict[str, Any]:
    confusion = move.confusion
    return {
        **_estimate(move.top1),
        "q": move.q,
        "ap_difference": _round(move.ap_difference),
        "kind": move.kind,
        "confusion": confusion
        and {"category": names[confusion.place], "share": _round(confusion.share)},
    }


def _part(part: Part) -> dict[str, Any]:
    weighted = bool(part.corrections)
    return {
        "n": part.n,
        "cells": _nest(lambda cell: _estimate(part.cells[cell])),
        "gaps": _estimates(part.gaps),
        "weighted_cells": _nest(lambda cell: _estimate(part.cells[cell]), weighted=True)
        if weighted
        else None,
        "corrections": _nest(lambda cell: _estimate(part.corrections[cell])) if weighted else None,
    }


def _grouping(grouping: GroupCells) -> dict[str, Any]:
    return {
        "groups": [
            {"group": group.name, **_part(group), "compared": group.compared}
            for group in grouping.groups
        ],
        "gap": _gap(grouping.gap) if grouping.gap is not None else None,
        "unlabelled": grouping.unlabelled,
    }


def _gap(gap: GroupGap) -> dict[str, Any]:
    weighted = bool(gap.corrections)
    return {
        "best": gap.best,
        "worst": gap.worst,
        "cells": _nest(lambda cell: _estimate(gap.cells[cell])),
        "growth": _estimates(gap.growth),
        "weighted_cells": _nest(lambda cell: _estimate(gap.cells[cell]), weighted=True)
        if weighted
        else None,
        "corrections": _nest(lambda cell: _estimate(gap.corrections[cell])) if weighted else None,
    }


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: _estimate(each) for name, each in estimates.items()}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": _round(estimate.value),
        "ci95": _interval(estimate.interval),
        "p": None if math.isnan(estimate.p) else estimate.p,
        "per_seed": [_round(value) for value in estimate.per_seed],
    }


def _interval(interval: Interval) -> list[float | None]:
    return [_round(interval.low), _round(interval.high)]


def _round(value: float) -> float | None:
    """Eight digits say enough, and a share of nothing is null: JSON has no NaN."""
    return None if math.isnan(value) else round(float(value), _DIGITS)
