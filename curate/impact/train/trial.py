"""What networks that were trained on either dataset say of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.impact.arms import Arm, Experiment, Hits, Model
from curate.impact.arrays import Bools, Ints
from curate.impact.predictions.classes import Confusion, find_confusion, judge_kind
from curate.impact.predictions.paired import control
from curate.impact.train.crossed import Estimate, estimate_difference

ORIGINAL, OBFUSCATED = "original", "obfuscated"
DATASETS = (ORIGINAL, OBFUSCATED)


class Cell(NamedTuple):
    """What a network was trained on, and what it is tested on.

    Args:
        trained: ``original`` or ``obfuscated``.
        tested: ``original`` or ``obfuscated``.
        weighted: whether its training images were weighted.
    """

    trained: str
    tested: str
    weighted: bool = False


class Gap(NamedTuple):
    """A difference of two cells that means something.

    Args:
        name: what it is called.
        reference: what is subtracted.
        cell: what it is subtracted from.
    """

    name: str
    reference: Cell
    cell: Cell


def list_cells(weighted: bool = False) -> tuple[Cell, ...]:
    """The four cells."""
    return tuple(Cell(trained, tested, weighted) for trained in DATASETS for tested in DATASETS)


def list_gaps(weighted: bool = False) -> tuple[Gap, ...]:
    """What the cells are held against: trained and tested on original images.

    ``deployment``: trained on obfuscated images, deployed on ordinary ones. ``diagonal``:
    trained and tested on obfuscated ones. ``unadapted``: not trained anew, and given
    obfuscated images.
    """
    reference = Cell(ORIGINAL, ORIGINAL, weighted)
    return (
        Gap("deployment", reference, Cell(OBFUSCATED, ORIGINAL, weighted)),
        Gap("diagonal", reference, Cell(OBFUSCATED, OBFUSCATED, weighted)),
        Gap("unadapted", reference, Cell(ORIGINAL, OBFUSCATED, weighted)),
    )


def list_corrections() -> tuple[Gap, ...]:
    """What the weights change, in each of the four cells."""
    return tuple(
        Gap(f"{cell.trained}-{cell.tested}", cell, cell._replace(weighted=True))
        for cell in list_cells()
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """The test images, seen by one network per seed and arm.

    Args:
        labels: N, each test image's class.
        classes: the classes' names; a label is a place in it.
        trained: C, training images of each class.
        seeds: of the networks.
        arms: what each network says of each dataset, by cell, in the order of seeds.
    """

    labels: Ints
    classes: tuple[str, ...]
    trained: Ints
    seeds: tuple[int, ...]
    arms: Mapping[Cell, tuple[Arm, ...]]

    @property
    def weighted(self) -> bool:
        """Whether there are networks whose training images were weighted."""
        return any(cell.weighted for cell in self.arms)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Four cells, or eight with weights."""
        return list_cells() + (list_cells(weighted=True) if self.weighted else ())

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Those of the networks without weights."""
        return list_gaps()

    def hits(self, cell: Cell, k: int = 1) -> Bools:
        """N×S: whether the label is among the ``k`` best classes."""
        return np.stack([arm.rank < k for arm in self.arms[cell]], axis=1)

    def compare(self, gap: Gap, k: int = 1) -> Hits:
        """Whether each image is right, in both cells of a gap."""
        return Hits(self.hits(gap.reference, k), self.hits(gap.cell, k))

    def pair(self, gap: Gap) -> Experiment:
        """The two cells of a gap as predictions before and after."""
        pairs = zip(self.arms[gap.reference], self.arms[gap.cell], strict=True)
        return Experiment(
            self.labels,
            self.classes,
            tuple(Model(before, after) for before, after in pairs),
            len(self.classes),
        )


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
        """``none``, ``loss``, ``gain`` or ``swap``; see `judge_kind`."""
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
