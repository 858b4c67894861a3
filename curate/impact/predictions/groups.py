"""Whether obfuscation costs some groups more than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Interval, percentiles
from curate.impact.arms import Hits
from curate.impact.predictions.paired import Change, compare
from curate.impact.resample import Bootstrap, over_models, resample

LEAST_IMAGES = 30
"""Groups of fewer images are shown and not compared with others."""


@dataclass(frozen=True, slots=True)
class Group:
    """The images of one group.

    Args:
        name: the group.
        top1: accuracy on its images.
    """

    name: str
    top1: Change

    @property
    def compared(self) -> bool:
        """Whether there are enough images for a gap."""
        return self.top1.n >= LEAST_IMAGES


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much accuracy is higher in one group than in another, before and after.

    Args:
        best: the group with the highest accuracy on original images.
        worst: the group with the lowest.
        original: the gap on original images, 0..1.
        obfuscated: the same two groups' on obfuscated images; below 0 if they changed places.
        interval: the bootstrap's, of what the gap grew by; None where it says nothing.
    """

    best: str
    worst: str
    original: float
    obfuscated: float
    interval: Interval | None

    @property
    def difference(self) -> float:
        """What the gap grew by."""
        return self.obfuscated - self.original


@dataclass(frozen=True, slots=True)
class Grouping:
    """Images by the values of one attribute.

    Args:
        name: the attribute.
        groups: by descending number of images.
        gap: between the best and the worst of those that are compared, if there are two.
        unlabelled: images whose value is not known.
    """

    name: str
    groups: tuple[Group, ...]
    gap: Gap | None
    unlabelled: int


def by_group(hits: Hits, name: str, values: Sequence[str | None], bootstrap: Bootstrap) -> Grouping:
    """Accuracy by the values of an attribute, and the gap between them.

    Args:
        hits: of N images.
        name: the attribute.
        values: N, each image's group, or None where it is not known.
        bootstrap: how resamples are drawn.
    """
    column = np.asarray(["" if value is None else value for value in values])
    names = sorted({value for value in values if value is not None})
    groups = [
        Group(value, compare(hits.of(column == value), bootstrap, f"group {name} {value}"))
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
        over_models(
            resample(
                hits.of(column == group.name).differences, bootstrap, f"gap {name} {group.name}"
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
