"""The cells group by group, and the gap between groups in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.arrays import Bools
from curate.impact.predictions.groups import LEAST_IMAGES
from curate.impact.train.crossed import (
    Estimate,
    estimate_accuracy,
    estimate_difference,
    estimate_gap,
    estimate_growth,
)
from curate.impact.train.trial import ORIGINAL, Cell, Gap, Trial, list_corrections


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the test images.

    Args:
        name: what they have in common.
        n: how many.
        cells: accuracy on them.
        gaps: differences of cells on them, by the gap's name.
        corrections: what the weights change, by cell; empty without weights.
    """

    name: str
    n: int
    cells: Mapping[Cell, Estimate]
    gaps: Mapping[str, Estimate]
    corrections: Mapping[Cell, Estimate]

    @property
    def compared(self) -> bool:
        """Whether there are enough images for a gap between groups."""
        return self.n >= LEAST_IMAGES


@dataclass(frozen=True, slots=True)
class GroupGap:
    """By how much accuracy is higher in one group than in another.

    Both are picked by the networks that were trained and tested on original images
    without weights; the same two are then followed through every cell.

    Args:
        best: the group with the highest accuracy there.
        worst: the group with the lowest.
        cells: the gap in each cell; below 0 where the two changed places.
        growth: what the gap grows by, by the name of the gap between cells.
        corrections: what the gap grows by with weights, by cell; empty without weights.
    """

    best: str
    worst: str
    cells: Mapping[Cell, Estimate]
    growth: Mapping[str, Estimate]
    corrections: Mapping[Cell, Estimate]


@dataclass(frozen=True, slots=True)
class GroupCells:
    """Test images by the values of one attribute.

    Args:
        name: the attribute.
        groups: by descending number of images.
        gap: between the best and the worst of those that are compared, if there are two.
        unlabelled: test images whose value is not known.
    """

    name: str
    groups: tuple[Part, ...]
    gap: GroupGap | None
    unlabelled: int


def measure_part(trial: Trial, name: str, rows: Bools) -> Part:
    """The cells and gaps of some of the test images.

    Args:
        trial: of N test images.
        name: what they have in common.
        rows: N, which images.
    """
    return Part(
        name=name,
        n=int(rows.sum()),
        cells={cell: estimate_accuracy(trial.hits(cell)[rows]) for cell in trial.cells},
        gaps={gap.name: estimate_difference(trial.compare(gap).of(rows)) for gap in trial.gaps},
        corrections={
            each.reference: estimate_difference(trial.compare(each).of(rows))
            for each in _corrections(trial)
        },
    )


def measure_groups(trial: Trial, name: str, values: Sequence[str | None]) -> GroupCells:
    """The cells by the values of an attribute.

    Args:
        trial: of N test images.
        name: the attribute.
        values: N, each image's group, or None where it is not known.
    """
    column = np.asarray(["" if value is None else value for value in values])
    known = np.asarray([value is not None for value in values])
    groups = [
        measure_part(trial, value, known & (column == value))
        for value in sorted({value for value in values if value is not None})
    ]
    ordered = tuple(sorted(groups, key=lambda group: -group.n))
    rows = {group.name: known & (column == group.name) for group in groups}
    return GroupCells(name, ordered, _find_gap(trial, ordered, rows), int((~known).sum()))


def _find_gap(trial: Trial, groups: Sequence[Part], rows: Mapping[str, Bools]) -> GroupGap | None:
    reference = Cell(ORIGINAL, ORIGINAL)
    compared = sorted(
        (group for group in groups if group.compared),
        key=lambda group: group.cells[reference].value,
    )
    if len(compared) < 2:
        return None
    worst, best = compared[0].name, compared[-1].name
    high, low = rows[best], rows[worst]
    return GroupGap(
        best=best,
        worst=worst,
        cells={
            cell: estimate_gap(trial.hits(cell)[high], trial.hits(cell)[low])
            for cell in trial.cells
        },
        growth={
            gap.name: estimate_growth(trial.compare(gap).of(high), trial.compare(gap).of(low))
            for gap in trial.gaps
        },
        corrections={
            each.reference: estimate_growth(
                trial.compare(each).of(high), trial.compare(each).of(low)
            )
            for each in _corrections(trial)
        },
    )


def _corrections(trial: Trial) -> tuple[Gap, ...]:
    return list_corrections() if trial.weighted else ()
