"""Everything that is measured of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.arrays import Bools
from curate.impact.train.crossed import Estimate, estimate_accuracy, estimate_difference
from curate.impact.train.groups import GroupCells, Part, measure_groups, measure_part
from curate.impact.train.trial import (
    Cell,
    ClassCells,
    Gap,
    Trial,
    list_corrections,
    list_gaps,
    measure_classes,
)

LEAST_CLASSES = 6
"""Of fewer classes the five best are all, or all but none."""


@dataclass(frozen=True, slots=True)
class Both:
    """Of the best class, and of the five best.

    Args:
        top1: of the best class.
        top5: of the five best; None where there are fewer than six classes.
    """

    top1: Estimate
    top5: Estimate | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """What training and testing on either dataset gives.

    Args:
        trial: what was measured.
        accuracy: by cell.
        precision: mean average precision over classes and seeds, by cell.
        gaps: by name, of the networks without weights.
        weighted_gaps: the same of the networks with weights; empty without them.
        corrections: what the weights change, by cell; empty without them.
        classes: every class.
        presence: test images with and without faces; None where they are not known.
        groupings: by each attribute.
    """

    trial: Trial
    accuracy: Mapping[Cell, Both]
    precision: Mapping[Cell, float]
    gaps: Mapping[str, Both]
    weighted_gaps: Mapping[str, Both]
    corrections: Mapping[Cell, Both]
    classes: tuple[ClassCells, ...]
    presence: tuple[Part, Part] | None
    groupings: tuple[GroupCells, ...]


def measure(
    trial: Trial,
    present: Bools | None = None,
    groups: Mapping[str, Sequence[str | None]] | None = None,
) -> Transfer:
    """Measure a trial.

    Args:
        trial: of N test images, at least one of every class.
        present: N, whether there is a face; None where that is not known.
        groups: by attribute, each test image's group.
    """
    corrections = list_corrections() if trial.weighted else ()
    weighted = list_gaps(weighted=True) if trial.weighted else ()
    return Transfer(
        trial=trial,
        accuracy={cell: _accuracy(trial, cell) for cell in trial.cells},
        precision={
            cell: float(np.mean([arm.precision for arm in trial.arms[cell]]))
            for cell in trial.cells
        },
        gaps={gap.name: _difference(trial, gap) for gap in trial.gaps},
        weighted_gaps={gap.name: _difference(trial, gap) for gap in weighted},
        corrections={gap.reference: _difference(trial, gap) for gap in corrections},
        classes=measure_classes(trial),
        presence=None
        if present is None
        else (
            measure_part(trial, "with faces", present),
            measure_part(trial, "without faces", ~present),
        ),
        groupings=tuple(
            measure_groups(trial, name, values) for name, values in (groups or {}).items()
        ),
    )


def _has_top5(trial: Trial) -> bool:
    return len(trial.classes) >= LEAST_CLASSES


def _accuracy(trial: Trial, cell: Cell) -> Both:
    return Both(
        estimate_accuracy(trial.hits(cell)),
        estimate_accuracy(trial.hits(cell, 5)) if _has_top5(trial) else None,
    )


def _difference(trial: Trial, gap: Gap) -> Both:
    return Both(
        estimate_difference(trial.compare(gap)),
        estimate_difference(trial.compare(gap, 5)) if _has_top5(trial) else None,
    )
