"""Statistics of trained networks: accuracies, gaps, subsets of the test images, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.experiment import ORIGINAL, Bools
from curate.impact.group_gaps import (
    MIN_IMAGES,
    Growth,
    Rows,
    compare_with_rest,
    cross_fit_growth,
    estimate_selected_gap,
    select_pair,
)
from curate.impact.train.cells import (
    Cell,
    ClassCells,
    Gap,
    TrainingResults,
    list_gaps,
    measure_classes,
)
from curate.impact.variance_components import (
    Estimate,
    estimate_accuracy,
    estimate_difference,
)

MIN_CLASSES = 6
"""Top-5 accuracy is given from this number of classes on."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Results on some of the test images.

    Args:
        name: what they have in common.
        n: number of images.
        cells: accuracy by cell.
        gaps: differences of cells by the gap's name.
        corrections: effect of the weights by cell; empty without weights.
    """

    name: str
    n: int
    cells: Mapping[Cell, Estimate]
    gaps: Mapping[str, Estimate]
    corrections: Mapping[Cell, Estimate]

    @property
    def compared(self) -> bool:
        """Whether there are enough images for a gap between groups."""
        return self.n >= MIN_IMAGES


@dataclass(frozen=True, slots=True)
class GroupGap:
    """Difference of accuracy between two groups in every cell.

    The groups are selected by networks trained and tested on original images without weights.

    Args:
        best: the group with the highest accuracy there.
        worst: the group with the lowest.
        cells: the gap in each cell, negative if reversed; the intervals allow for the
            selection.
        growth: cross-fitted growth of the gap by the name of the gap between cells.
        corrections: the same with weights, by cell; empty without weights.
        relative: by the name of the gap between cells and by group, change of accuracy minus
            that of all other compared images.
    """

    best: str
    worst: str
    cells: Mapping[Cell, Estimate]
    growth: Mapping[str, Growth]
    corrections: Mapping[Cell, Growth]
    relative: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class GroupCells:
    """Test images by the values of one attribute.

    Args:
        name: the attribute.
        groups: by descending size.
        gap: between the best and the worst compared group, if there are two.
        unlabeled: number of test images without a value.
    """

    name: str
    groups: tuple[Subset, ...]
    gap: GroupGap | None
    unlabeled: int


@dataclass(frozen=True, slots=True)
class TopK:
    """Top-1 and top-5 results; ``top5`` is None with fewer than six classes."""

    top1: Estimate
    top5: Estimate | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """All statistics.

    Args:
        results: predictions on the test images.
        accuracy: by cell.
        precision: mean average precision over classes and seeds, by cell.
        gaps: by name, of networks without weights.
        weighted_gaps: the same of networks with weights; empty without them.
        corrections: effect of the weights by cell; empty without them.
        classes: every class.
        presence: test images with and without faces; None where unknown.
        groupings: by attribute.
    """

    results: TrainingResults
    accuracy: Mapping[Cell, TopK]
    precision: Mapping[Cell, float]
    gaps: Mapping[str, TopK]
    weighted_gaps: Mapping[str, TopK]
    corrections: Mapping[Cell, TopK]
    classes: tuple[ClassCells, ...]
    presence: tuple[Subset, Subset] | None
    groupings: tuple[GroupCells, ...]


def measure(
    results: TrainingResults,
    present: Bools | None = None,
    groups: Mapping[str, Sequence[str | None]] | None = None,
) -> Transfer:
    """Measure the trained networks.

    Args:
        results: on N test images, at least one of every class.
        present: whether an image has faces, shape (N,); None where unknown.
        groups: group of each test image, by attribute.
    """
    weighted = list_gaps(weighted=True) if results.weighted else ()
    presence = None
    if present is not None:
        presence = (
            measure_subset(results, "with faces", present),
            measure_subset(results, "without faces", ~present),
        )
    return Transfer(
        results=results,
        accuracy={cell: _measure_accuracy(results, cell) for cell in results.cells},
        precision={
            cell: float(np.mean([arm.precision for arm in results.arms[cell]]))
            for cell in results.cells
        },
        gaps={gap.name: _measure_difference(results, gap) for gap in results.gaps},
        weighted_gaps={gap.name: _measure_difference(results, gap) for gap in weighted},
        corrections={
            gap.reference: _measure_difference(results, gap) for gap in results.corrections
        },
        classes=measure_classes(results),
        presence=presence,
        groupings=tuple(
            measure_groups(results, name, values) for name, values in (groups or {}).items()
        ),
    )


def _measure_accuracy(results: TrainingResults, cell: Cell) -> TopK:
    has_top5 = len(results.classes) >= MIN_CLASSES
    top5 = estimate_accuracy(results.hits(cell, 5)) if has_top5 else None
    return TopK(estimate_accuracy(results.hits(cell)), top5)


def _measure_difference(results: TrainingResults, gap: Gap) -> TopK:
    has_top5 = len(results.classes) >= MIN_CLASSES
    top5 = estimate_difference(results.compare(gap, 5)) if has_top5 else None
    return TopK(estimate_difference(results.compare(gap)), top5)


def measure_subset(results: TrainingResults, name: str, rows: Bools) -> Subset:
    """Measure some of the test images.

    Args:
        results: on N test images.
        name: what the images have in common.
        rows: which images, shape (N,).
    """
    return Subset(
        name=name,
        n=int(rows.sum()),
        cells={cell: estimate_accuracy(results.hits(cell)[rows]) for cell in results.cells},
        gaps={
            gap.name: estimate_difference(results.compare(gap).select(rows)) for gap in results.gaps
        },
        corrections={
            gap.reference: estimate_difference(results.compare(gap).select(rows))
            for gap in results.corrections
        },
    )


def measure_groups(results: TrainingResults, name: str, values: Sequence[str | None]) -> GroupCells:
    """Measure the groups of an attribute.

    Args:
        results: on N test images.
        name: the attribute.
        values: group of each image, length N; None where unknown.
    """
    column = np.asarray(["" if value is None else value for value in values])
    known = np.asarray([value is not None for value in values])
    groups = [
        measure_subset(results, value, known & (column == value))
        for value in sorted({value for value in values if value is not None})
    ]
    ordered = tuple(sorted(groups, key=lambda group: -group.n))
    rows = {
        group.name: np.flatnonzero(known & (column == group.name))
        for group in groups
        if group.compared
    }
    gap = _find_gap(results, rows) if len(rows) > 1 else None
    return GroupCells(name, ordered, gap, int((~known).sum()))


def _find_gap(results: TrainingResults, rows: Rows) -> GroupGap:
    selecting = results.hits(Cell(ORIGINAL, ORIGINAL))
    pair = select_pair(selecting, rows)

    def grow(gap: Gap) -> Growth:
        return cross_fit_growth(selecting, results.compare(gap), rows, results.seeds[0])

    return GroupGap(
        best=pair[0],
        worst=pair[1],
        cells={
            cell: estimate_selected_gap(results.hits(cell), rows, pair) for cell in results.cells
        },
        growth={gap.name: grow(gap) for gap in results.gaps},
        corrections={gap.reference: grow(gap) for gap in results.corrections},
        relative={gap.name: compare_with_rest(results.compare(gap), rows) for gap in results.gaps},
    )
