"""The 2 × 2 design: networks trained on either dataset, tested on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.core.p_values import benjamini_hochberg
from curate.impact.class_changes import Confusion, classify_change, find_confusion
from curate.impact.experiment import (
    OBFUSCATED,
    ORIGINAL,
    Arm,
    Bools,
    Experiment,
    Hits,
    Ints,
    Model,
)
from curate.impact.variance_components import Estimate, estimate_difference

DATASETS = (ORIGINAL, OBFUSCATED)

CLASS_GAPS = ("deployment", "diagonal")
"""Gaps that are reported per class."""


class Cell(NamedTuple):
    """One cell of the design.

    Args:
        trained: dataset the networks are trained on, ``original`` or ``obfuscated``.
        tested: dataset they are tested on.
        weighted: whether training images are weighted.
    """

    trained: str
    tested: str
    weighted: bool = False


class Gap(NamedTuple):
    """Difference of two cells.

    Args:
        name: name in the report.
        reference: the cell that is subtracted.
        cell: the cell it is subtracted from.
    """

    name: str
    reference: Cell
    cell: Cell


def list_cells(weighted: bool = False) -> tuple[Cell, ...]:
    """Return the four cells."""
    return tuple(Cell(trained, tested, weighted) for trained in DATASETS for tested in DATASETS)


def list_gaps(weighted: bool = False) -> tuple[Gap, ...]:
    """Return the gaps, all relative to training and testing on original images.

    ``deployment``: trained on obfuscated and tested on original images. ``diagonal``: trained
    and tested on obfuscated images. ``unadapted``: trained on original and tested on obfuscated
    images.
    """
    reference = Cell(ORIGINAL, ORIGINAL, weighted)
    return (
        Gap("deployment", reference, Cell(OBFUSCATED, ORIGINAL, weighted)),
        Gap("diagonal", reference, Cell(OBFUSCATED, OBFUSCATED, weighted)),
        Gap("unadapted", reference, Cell(ORIGINAL, OBFUSCATED, weighted)),
    )


def list_corrections() -> tuple[Gap, ...]:
    """Return the effect of the weights in each of the four cells."""
    return tuple(
        Gap(f"{cell.trained}-{cell.tested}", cell, cell._replace(weighted=True))
        for cell in list_cells()
    )


@dataclass(frozen=True, slots=True)
class TrainingResults:
    """Predictions on the test images, one network per seed and cell.

    Args:
        labels: true class of each test image, shape (N,).
        classes: class names in index order.
        trained: number of training images of each class, shape (C,).
        seeds: seeds of the networks.
        arms: predictions by cell, in the order of seeds.
    """

    labels: Ints
    classes: tuple[str, ...]
    trained: Ints
    seeds: tuple[int, ...]
    arms: Mapping[Cell, tuple[Arm, ...]]

    @property
    def weighted(self) -> bool:
        """Whether there are networks with weighted training images."""
        return any(cell.weighted for cell in self.arms)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Four cells, or eight with weights."""
        return list_cells() + (list_cells(weighted=True) if self.weighted else ())

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Gaps of the networks without weights."""
        return list_gaps()

    @property
    def corrections(self) -> tuple[Gap, ...]:
        """Effects of the weights; empty without them."""
        return list_corrections() if self.weighted else ()

    def hits(self, cell: Cell, k: int = 1) -> Bools:
        """Return whether the true class is among the top ``k``, shape (N, S) for S seeds."""
        return np.stack([arm.rank < k for arm in self.arms[cell]], axis=1)

    def compare(self, gap: Gap, k: int = 1) -> Hits:
        """Return per-image correctness in both cells of a gap."""
        return Hits(self.hits(gap.reference, k), self.hits(gap.cell, k))

    def pair(self, gap: Gap) -> Experiment:
        """Return the two cells of a gap as paired predictions."""
        pairs = zip(self.arms[gap.reference], self.arms[gap.cell], strict=True)
        return Experiment(
            self.labels,
            self.classes,
            tuple(Model(before, after) for before, after in pairs),
            len(self.classes),
        )


@dataclass(frozen=True, slots=True)
class ClassGap:
    """Change of one class in one gap.

    Args:
        top1: accuracy on its test images.
        q: p-value adjusted for the number of classes.
        ap_difference: change of average precision over all test images, mean over seeds.
        confusion: the class with the largest opposite change, if accuracy changed.
    """

    top1: Estimate
    q: float
    ap_difference: float
    confusion: Confusion | None

    @property
    def kind(self) -> str:
        """``none``, ``loss``, ``gain`` or ``swap``; see `classify_change`."""
        return classify_change(self.q, self.top1.value, self.ap_difference, self.confusion)


@dataclass(frozen=True, slots=True)
class ClassCells:
    """Results of one class.

    Args:
        index: the class.
        trained: number of training images.
        tested: number of test images.
        accuracy: on its test images by cell, mean over seeds.
        gaps: by name.
    """

    index: int
    trained: int
    tested: int
    accuracy: Mapping[Cell, float]
    gaps: Mapping[str, ClassGap]


def measure_classes(results: TrainingResults) -> tuple[ClassCells, ...]:
    """Return every class in order; p-values are adjusted within each gap."""
    rows = [np.flatnonzero(results.labels == index) for index in range(len(results.classes))]
    gaps = {gap.name: _measure_gap(results, gap, rows) for gap in results.gaps
            if gap.name in CLASS_GAPS}  # fmt: skip
    hits = {cell: results.hits(cell) for cell in results.cells}
    return tuple(
        ClassCells(
            index=index,
            trained=int(results.trained[index]),
            tested=len(own),
            accuracy={cell: float(all_hits[own].mean()) for cell, all_hits in hits.items()},
            gaps={name: each[index] for name, each in gaps.items()},
        )
        for index, own in enumerate(rows)
    )


def _measure_gap(results: TrainingResults, gap: Gap, rows: list[Ints]) -> list[ClassGap]:
    hits, pair = results.compare(gap), results.pair(gap)
    before, after = (
        np.mean([arm.precision for arm in results.arms[cell]], axis=0)
        for cell in (gap.reference, gap.cell)
    )
    found = [estimate_difference(hits.select(own)) for own in rows]
    q = benjamini_hochberg(np.array([each.p for each in found]))
    return [
        ClassGap(
            top1=each,
            q=float(q[index]),
            ap_difference=float(after[index] - before[index]),
            confusion=find_confusion(pair, index, rows[index]),
        )
        for index, each in enumerate(found)
    ]
