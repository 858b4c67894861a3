"""What each class loses or gains in a gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.impact.arms import Hits
from curate.impact.classes import Confusion, find_confusion, judge_kind
from curate.impact.crossed import Estimate, estimate_difference
from curate.impact.discovery import control
from curate.impact.transfer.trial import Cell, Gap, Trial

GAPS = ("deployment", "diagonal")
"""The gaps that are looked at class by class."""


@dataclass(frozen=True, slots=True)
class Move:
    """What happens to one class in one gap.

    Args:
        top1: accuracy on its test images.
        q: its p, controlled for the number of classes.
        ap_difference: of average precision over all test images, mean over seeds.
        confusion: the class that takes or gives most, if accuracy moved at all.
    """

    top1: Estimate
    q: float
    ap_difference: float
    confusion: Confusion | None

    @property
    def kind(self) -> str:
        """``none``, ``loss``, ``gain`` or ``swap``; see `curate.impact.classes.judge_kind`."""
        return judge_kind(self.q, self.top1.value, self.ap_difference, self.confusion)


@dataclass(frozen=True, slots=True)
class ClassCells:
    """One class.

    Args:
        place: which class.
        trained: its training images.
        tested: its test images.
        accuracy: on its test images by cell, mean over seeds.
        moves: by the name of the gap.
    """

    place: int
    trained: int
    tested: int
    accuracy: Mapping[Cell, float]
    moves: Mapping[str, Move]


def measure_classes(trial: Trial) -> tuple[ClassCells, ...]:
    """Every class, in order; each gap is controlled for the number of classes by itself."""
    rows = [np.flatnonzero(trial.labels == place) for place in range(len(trial.classes))]
    moves = {gap.name: _moves(trial, gap, rows) for gap in trial.gaps if gap.name in GAPS}
    hits = {cell: trial.hits(cell) for cell in trial.cells}
    return tuple(
        ClassCells(
            place=place,
            trained=int(trial.trained[place]),
            tested=len(own),
            accuracy={cell: float(all_hits[own].mean()) for cell, all_hits in hits.items()},
            moves={name: each[place] for name, each in moves.items()},
        )
        for place, own in enumerate(rows)
    )


def _moves(trial: Trial, gap: Gap, rows: list[np.typing.NDArray[np.int64]]) -> list[Move]:
    hits: Hits = trial.compare(gap)
    pair = trial.pair(gap)
    before, after = (
        np.mean([arm.precision for arm in trial.arms[cell]], axis=0)
        for cell in (gap.reference, gap.cell)
    )
    found = [estimate_difference(hits.of(own)) for own in rows]
    q = control(np.array([each.p for each in found]))
    return [
        Move(
            top1=each,
            q=float(q[place]),
            ap_difference=float(after[place] - before[place]),
            confusion=find_confusion(pair, place, rows[place]),
        )
        for place, each in enumerate(found)
    ]
