"""Accuracy by group, and the gap between groups before and after obfuscation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Interval, percentiles
from curate.impact.experiment import Hits
from curate.impact.paired import Bootstrap, Change, average_models, compare, resample

MIN_IMAGES = 30
"""Smaller groups are shown but not compared with others."""


@dataclass(frozen=True, slots=True)
class Group:
    """One group of images.

    Args:
        name: value of the attribute.
        top1: accuracy on its images.
    """

    name: str
    top1: Change

    @property
    def compared(self) -> bool:
        """Whether the group is large enough for a gap."""
        return self.top1.n >= MIN_IMAGES


@dataclass(frozen=True, slots=True)
class Gap:
    """Difference of accuracy between two groups, before and after obfuscation.

    Args:
        best: the group with the highest accuracy on original images.
        worst: the group with the lowest.
        original: the gap on original images, 0..1.
        obfuscated: the gap of the same groups on obfuscated images; negative if reversed.
        interval: bootstrap interval of the growth; None where all resamples agree.
    """

    best: str
    worst: str
    original: float
    obfuscated: float
    interval: Interval | None

    @property
    def difference(self) -> float:
        """Growth of the gap, obfuscated minus original."""
        return self.obfuscated - self.original


@dataclass(frozen=True, slots=True)
class Grouping:
    """Images by the values of one attribute.

    Args:
        name: the attribute.
        groups: by descending size.
        gap: between the best and the worst compared group, if there are two.
        unlabelled: number of images without a value.
    """

    name: str
    groups: tuple[Group, ...]
    gap: Gap | None
    unlabelled: int


def by_group(hits: Hits, name: str, values: Sequence[str | None], bootstrap: Bootstrap) -> Grouping:
    """Compute accuracy by the values of an attribute, and the gap between groups.

    Args:
        hits: per-image correctness, N images.
        name: the attribute.
        values: group of each image, length N; None where unknown.
        bootstrap: options of the bootstrap.
    """
    column = np.asarray(["" if value is None else value for value in values])
    names = sorted({value for value in values if value is not None})
    groups = [
        Group(value, compare(hits.select(column == value), bootstrap, f"group {name} {value}"))
        for value in names
    ]
    ordered = tuple(sorted(groups, key=lambda group: -group.top1.n))
    unlabelled = sum(value is None for value in values)
    return Grouping(name, ordered, _find_gap(hits, name, column, ordered, bootstrap), unlabelled)


def _find_gap(
    hits: Hits,
    name: str,
    column: np.typing.NDArray[np.str_],
    groups: Sequence[Group],
    bootstrap: Bootstrap,
) -> Gap | None:
    """The gap of the same two groups before and after, so that it is a paired difference."""
    compared = sorted(
        (group for group in groups if group.compared), key=lambda group: group.top1.original
    )
    if len(compared) < 2:
        return None
    worst, best = compared[0], compared[-1]
    drawn = [
        average_models(
            resample(
                hits.select(column == group.name).differences, bootstrap, f"gap {name} {group.name}"
            ),
            bootstrap,
        )
        for group in (best, worst)
    ]
    return Gap(
        best.name,
        worst.name,
        best.top1.original - worst.top1.original,
        best.top1.obfuscated - worst.top1.obfuscated,
        percentiles(drawn[0] - drawn[1]),
    )
