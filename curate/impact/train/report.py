"""The report of `train_impact`; schema manifests/train-1.schema.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.core.records import join_lines
from curate.impact.formatting import pick, round_value
from curate.impact.group_gaps import Growth
from curate.impact.train.cells import DATASETS, Cell, ClassCells, ClassGap
from curate.impact.train.measure import GroupCells, GroupGap, Subset, TopK, Transfer
from curate.impact.variance_components import Estimate
from curate.report.document import Report
from curate.report.values import Page

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1


@dataclass(frozen=True, repr=False)
class TrainReport(Report):
    """Effect of training on obfuscated images.

    Args:
        transfer: the statistics.
        facts: what was trained and how.
        runs: learning curve, or fit of the probe, of every network.
        notes: what could not be measured and why, one line each.
    """

    transfer: Transfer
    facts: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON, in fractions."""
        return {
            "version": VERSION,
            **self.facts,
            **list_transfer(self.transfer),
            "runs": [dict(run) for run in self.runs],
            "notes": list(self.notes),
        }

    def to_page(self) -> Page:
        """Return the HTML page's contents."""
        from curate.impact.train.page import make_page

        return make_page(self)

    def to_text(self) -> str:
        """Return the main figures, one per line."""
        return join_lines(_list_lines(self))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per class: accuracy by cell and the gaps, by class name."""
        import pandas as pd

        rows = []
        for each in self.transfer.classes:
            row: dict[str, Any] = {"category": self.transfer.results.classes[each.index]}
            row |= {"train": each.trained, "test": each.tested}
            row |= {format_cell(cell): value for cell, value in each.accuracy.items()}
            for name, gap in each.gaps.items():
                row |= {name: gap.top1.value, f"{name}_q": gap.q, f"{name}_kind": gap.kind}
            rows.append(row)
        return pd.DataFrame(rows).set_index("category")

    def __repr__(self) -> str:
        gap, seeds = self.transfer.gaps["deployment"].top1, len(self.transfer.results.seeds)
        return f"<TrainReport: {seeds} seeds, deployment gap {100 * gap.value:+.2f} points>"


def format_trained(cell: Cell) -> str:
    """Return what the networks of a cell were trained on."""
    return f"{cell.trained}, weighted" if cell.weighted else cell.trained


def format_cell(cell: Cell) -> str:
    """Return the name of a cell."""
    return f"{format_trained(cell)} → {cell.tested}"


def _list_lines(report: TrainReport) -> Iterator[str]:
    transfer, images = report.transfer, report.facts["images"]
    seeds = len(transfer.results.seeds)
    yield (
        f"{images['train']:,} training images, {images['test']:,} test images, "
        f"{len(transfer.results.classes):,} classes, {seeds} seed{'s' if seeds > 1 else ''}"
    )
    for cell, topk in transfer.accuracy.items():
        weights = " with weights" if cell.weighted else ""
        low, high = topk.top1.interval
        yield (
            f"trained on {cell.trained}{weights}, tested on {cell.tested}: "
            f"{100 * topk.top1.value:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
        )
    for gaps, suffix in ((transfer.gaps, ""), (transfer.weighted_gaps, " with weights")):
        for name, topk in gaps.items():
            low, high = topk.top1.interval
            yield (
                f"{name} gap{suffix}: {100 * topk.top1.value:+.2f} points "
                f"({100 * low:+.2f} to {100 * high:+.2f}), p {topk.top1.p:.3g}"
            )
    yield from report.notes


def list_transfer(transfer: Transfer) -> dict[str, Any]:
    """Return the statistics; ``cells`` by dataset of training, then of testing."""
    names, presence = transfer.results.classes, transfer.presence
    return {
        "seeds": list(transfer.results.seeds),
        "cells": _nest(lambda cell: _list_cell(transfer, cell)),
        "gaps": {name: _list_topk(each) for name, each in transfer.gaps.items()},
        "weighted": _list_weighted(transfer) if transfer.results.weighted else None,
        "per_class": [_list_class(each, names) for each in transfer.classes],
        "by_presence": presence
        and {"with_faces": _list_subset(presence[0]), "without_faces": _list_subset(presence[1])},
        "by_group": {grouping.name: _list_grouping(grouping) for grouping in transfer.groupings},
    }


def _nest(make: Callable[[Cell], Any], weighted: bool = False) -> dict[str, dict[str, Any]]:
    return {
        trained: {tested: make(Cell(trained, tested, weighted)) for tested in DATASETS}
        for trained in DATASETS
    }


def _list_cell(transfer: Transfer, cell: Cell) -> dict[str, Any]:
    return {
        **_list_topk(transfer.accuracy[cell]),
        "average_precision": round_value(transfer.precision[cell]),
    }


def _list_weighted(transfer: Transfer) -> dict[str, Any]:
    return {
        "cells": _nest(lambda cell: _list_cell(transfer, cell), weighted=True),
        "gaps": {name: _list_topk(each) for name, each in transfer.weighted_gaps.items()},
        "corrections": _nest(lambda cell: _list_topk(transfer.corrections[cell])),
    }


def _list_topk(topk: TopK) -> dict[str, Any]:
    return {
        "top1": _list_estimate(topk.top1),
        "top5": _list_estimate(topk.top5) if topk.top5 is not None else None,
    }


def _list_class(each: ClassCells, names: Sequence[str]) -> dict[str, Any]:
    def accuracy(cell: Cell) -> float | None:
        return round_value(each.accuracy[cell])

    weighted = any(cell.weighted for cell in each.accuracy)
    return {
        "category": names[each.index],
        "train": each.trained,
        "test": each.tested,
        "cells": _nest(accuracy),
        "weighted_cells": _nest(accuracy, weighted=True) if weighted else None,
        **{name: _list_class_gap(gap, names) for name, gap in each.gaps.items()},
    }


def _list_class_gap(gap: ClassGap, names: Sequence[str]) -> dict[str, Any]:
    confusion = gap.confusion
    return {
        **_list_estimate(gap.top1),
        "q": gap.q,
        "ap_difference": round_value(gap.ap_difference),
        "kind": gap.kind,
        "confusion": confusion
        and {"category": names[confusion.index], "share": round_value(confusion.share)},
    }


def _list_subset(subset: Subset) -> dict[str, Any]:
    weighted = bool(subset.corrections)
    return {
        "n": subset.n,
        "cells": _nest(lambda cell: _list_estimate(subset.cells[cell])),
        "gaps": _list_estimates(subset.gaps),
        "weighted_cells": _nest(lambda cell: _list_estimate(subset.cells[cell]), weighted=True)
        if weighted
        else None,
        "corrections": _nest(lambda cell: _list_estimate(subset.corrections[cell]))
        if weighted
        else None,
    }


def _list_grouping(grouping: GroupCells) -> dict[str, Any]:
    return {
        "groups": [
            {"group": group.name, **_list_subset(group), "compared": group.compared}
            for group in grouping.groups
        ],
        "gap": _list_gap(grouping.gap) if grouping.gap is not None else None,
        "unlabeled": grouping.unlabeled,
    }


def _list_gap(gap: GroupGap) -> dict[str, Any]:
    weighted = bool(gap.corrections)
    return {
        "best": gap.best,
        "worst": gap.worst,
        "cells": _nest(lambda cell: _list_estimate(gap.cells[cell])),
        "growth": {name: _list_growth(each) for name, each in gap.growth.items()},
        "weighted_cells": _nest(lambda cell: _list_estimate(gap.cells[cell]), weighted=True)
        if weighted
        else None,
        "corrections": _nest(lambda cell: _list_growth(gap.corrections[cell]))
        if weighted
        else None,
        "relative": {name: _list_estimates(each) for name, each in gap.relative.items()},
    }


def _list_growth(growth: Growth) -> dict[str, Any]:
    selected = [{"best": best, "worst": worst} for best, worst in growth.pairs]
    return {**_list_estimate(growth.estimate), "selected": selected}


def _list_estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: _list_estimate(each) for name, each in estimates.items()}


def _list_estimate(estimate: Estimate) -> dict[str, Any]:
    p = None if math.isnan(estimate.p) else estimate.p  # not rounded
    return {**pick(estimate, "value", "ci95=interval"), "p": p, **pick(estimate, "per_seed")}
