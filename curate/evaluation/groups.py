"""The faces of each group, and the gaps between groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Interval, Share, hull, newcombe, percentiles
from curate.evaluation.matching import FaceTable, Rules
from curate.evaluation.scores import Counts, GroupScore, count, score_groups


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much a share is higher in one group than in another.

    Args:
        kind: ``extremes`` for the best and the worst group, ``rest`` for a group and
            all other compared groups together.
        measure: which share.
        group: the one.
        against: the other; None for the rest.
        difference: ``group`` minus ``against``, -1..1.
        newcombe: interval for independent faces.
        clustered: the cluster bootstrap's over images; None where it can say nothing.
    """

    kind: str
    measure: str
    group: str
    against: str | None
    difference: float
    newcombe: Interval
    clustered: Interval | None

    @property
    def shown(self) -> Interval:
        """The hull of both: few faces and faces that hang together both widen it."""
        return hull(self.newcombe, self.clustered)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Faces by the values of one attribute.

    Args:
        name: the attribute.
        groups: by name.
        gaps: between those that are compared.
        unlabelled: faces of which the labels do not say it.
    """

    name: str
    groups: tuple[GroupScore, ...]
    gaps: tuple[Gap, ...]
    unlabelled: int

    @property
    def comparisons(self) -> int:
        """How many pairs of groups the best and the worst were chosen from, per measure."""
        compared = sum(group.compared for group in self.groups)
        return compared * (compared - 1) // 2


def compare(table: FaceTable, name: str, rules: Rules) -> Grouping:
    """Score the groups of an attribute and the gaps between them.

    Args:
        table: faces; ``name`` is one of its attributes.
        name: the attribute.
        rules: what counts.
    """
    values = table.attributes[name]
    names = sorted({value for value in values if value is not None})
    scores = score_groups(table, values, names, rules)
    gaps: list[Gap] = []
    compared = [group for group in scores if group.compared]
    if len(compared) > 1:
        gaps = _find_gaps(table, values, [group.name for group in compared], rules)
    unlabelled = sum(value is None for value in values)
    return Grouping(name, scores, tuple(gaps), unlabelled)


def _find_gaps(
    table: FaceTable, values: Sequence[str | None], names: Sequence[str], rules: Rules
) -> list[Gap]:
    """The best against the worst group, and each against the rest, by measure."""
    counts = count(table, values, names)
    both = Counts(
        np.concatenate([counts.good, counts.rest.good], axis=1),
        np.concatenate([counts.all, counts.rest.all], axis=1),
    )
    ratios, size = both.resample(rules.seed), len(names)
    gaps: list[Gap] = []
    for which, measure in enumerate(rules.measures):
        shares = [both.share(place, which) for place in range(2 * size)]
        for one, other in _pairs(shares[:size]):
            gaps.append(
                Gap(
                    kind="extremes" if other < size else "rest",
                    measure=measure,
                    group=names[one],
                    against=names[other] if other < size else None,
                    difference=shares[one].value - shares[other].value,
                    newcombe=newcombe(shares[one], shares[other]),
                    clustered=percentiles(ratios[:, one, which] - ratios[:, other, which]),
                )
            )
    return gaps


def _pairs(shares: Sequence[Share]) -> Iterator[tuple[int, int]]:
    """The best and the worst, then each group and its rest, whose number is past the groups'."""
    order = sorted(range(len(shares)), key=lambda place: shares[place].value)
    yield order[-1], order[0]
    if len(shares) > 2:  # of two groups, the rest is the other one
        yield from ((place, len(shares) + place) for place in range(len(shares)))
