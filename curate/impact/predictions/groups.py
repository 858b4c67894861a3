"""Accuracy by group, and whether obfuscation affects some groups more than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.experiment import Hits
from curate.impact.group_gaps import (
    MIN_IMAGES,
    Growth,
    Rows,
    compare_with_rest,
    cross_fit_growth,
    estimate_selected_gap,
    select_pair,
)
from curate.impact.paired import Bootstrap, Change, compare
from curate.impact.variance_components import Estimate


@dataclass(frozen=True, slots=True)
class Group:
    """One group of images.

    Args:
        name: value of the attribute.
        top1: accuracy on its images.
        relative: change of accuracy minus that of all other compared images; None for groups
            that are too small.
    """

    name: str
    top1: Change
    relative: Estimate | None

    @property
    def compared(self) -> bool:
        """Whether the group is large enough to be compared."""
        return self.top1.n >= MIN_IMAGES


@dataclass(frozen=True, slots=True)
class Gap:
    """Gap of accuracy between two groups, before and after obfuscation.

    Args:
        best: the group with the highest accuracy on original images.
        worst: the group with the lowest.
        original: the gap on original images; its interval allows for the selection.
        obfuscated: the gap of the same groups on obfuscated images; negative if reversed.
        growth: cross-fitted growth of the gap.
    """

    best: str
    worst: str
    original: Estimate
    obfuscated: Estimate
    growth: Growth


@dataclass(frozen=True, slots=True)
class Grouping:
    """Images by the values of one attribute.

    Args:
        name: the attribute.
        groups: by descending size.
        gap: between the best and the worst compared group, if there are two.
        unlabeled: number of images without a value.
    """

    name: str
    groups: tuple[Group, ...]
    gap: Gap | None
    unlabeled: int


def by_group(hits: Hits, name: str, values: Sequence[str | None], bootstrap: Bootstrap) -> Grouping:
    """Compute accuracy by the values of an attribute, and compare the groups.

    Args:
        hits: per-image correctness, N images.
        name: the attribute.
        values: group of each image, length N; None where unknown.
        bootstrap: options of the bootstrap.
    """
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        if value is not None:
            rows.setdefault(value, []).append(row)
    indices = {value: np.array(own, dtype=np.int64) for value, own in sorted(rows.items())}
    compared = {value: own for value, own in indices.items() if len(own) >= MIN_IMAGES}
    relative = compare_with_rest(hits, compared) if len(compared) > 1 else {}
    groups = [
        Group(
            value,
            compare(hits.select(own), bootstrap, f"group {name} {value}"),
            relative.get(value),
        )
        for value, own in indices.items()
    ]
    return Grouping(
        name,
        tuple(sorted(groups, key=lambda group: -group.top1.n)),
        _find_gap(hits, compared, bootstrap.seed) if len(compared) > 1 else None,
        sum(value is None for value in values),
    )


def _find_gap(hits: Hits, rows: Rows, seed: int) -> Gap:
    pair = select_pair(hits.original, rows)
    return Gap(
        *pair,
        estimate_selected_gap(hits.original, rows, pair),
        estimate_selected_gap(hits.obfuscated, rows, pair),
        cross_fit_growth(hits.original, hits, rows, seed),
    )
