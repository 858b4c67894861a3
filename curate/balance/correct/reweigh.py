"""Reweighing: weights that make groups and labels independent, or meet a target.

Kamiran and Calders, *Data preprocessing techniques for classification without
discrimination* (KAIS 33, 2012): a record of group g and label l weighs
P(g)·P(l) / P(g, l). With a target, its share of g replaces P(g). Several
groupings at once are raked (Deming and Stephan, Annals of Mathematical Statistics 11,
1940): the same step for each in turn until all fit; for one, the first step is the formula.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.balance.audit.representation import format_group
from curate.balance.contingency import Ints
from curate.balance.correct.goal import Allocation, Goal
from curate.balance.correct.strata import Members, Strata, find_members
from curate.core.errors import DataError, UsageError
from curate.core.intervals import Floats

_ROUNDS = 2_000
_CLOSE = 1e-10  # convergence tolerance, relative error of a group's weight
_SHOWN = 3


def reweigh(strata: Strata, goal: Goal) -> Allocation:
    """Compute a weight for every record; the total weight of each label is unchanged.

    A set of several labels counts as one label. Records with a missing value are not
    changed by that attribute's target, nor are records without a label by targets within labels.

    Args:
        strata: the records, each with one group.
        goal: the target.

    Raises:
        UsageError: if people are counted instead of records.
        DataError: if several targets contradict each other.
    """
    if not strata.are_single:
        raise UsageError("reweigh computes weights of records; use --per record")
    weights = np.ones(len(strata))
    empty: list[str] = []
    members = [
        find_members(strata, columns, list(target)) for columns, target in goal.targets.items()
    ]
    wanted = [np.array(list(target.values())) for target in goal.targets.values()]
    for label, positions in _parts(strata, goal):
        some = [Members(each.columns, each.groups, each.people[positions]) for each in members]
        empty += [
            f"{format_group(group)}{label}"
            for each, shares in zip(some, wanted, strict=True)
            for group, there, share in zip(
                each.groups, strata.counts[positions] @ each.people, shares, strict=True
            )
            if share > 0 and not there
        ]
        weights[positions] = _rake(strata.counts[positions], some, wanted, label)
    return Allocation(
        kept=strata.counts,
        added=np.zeros_like(strata.counts),
        weights=weights,
        why=(None,) * len(strata),
        notes=tuple(_note_empty(empty)),
    )


def _parts(strata: Strata, goal: Goal) -> Iterator[tuple[str, Ints]]:
    """The strata of each set of labels, with its name for messages."""
    if not goal.within:
        yield "", np.arange(len(strata))
        return
    by_label: dict[tuple[str, ...], list[int]] = {}
    known = set(strata.names())
    for position, labels in enumerate(strata.labels):
        if known.issuperset(labels):
            by_label.setdefault(labels, []).append(position)
    for labels, positions in by_label.items():
        yield f" of {'+'.join(labels)}", np.array(positions, dtype=np.int64)


def _rake(counts: Ints, members: list[Members], wanted: list[Floats], label: str) -> Floats:
    weights = np.ones(len(counts))
    targets = [_present(each, counts, shares) for each, shares in zip(members, wanted, strict=True)]
    for _ in range(_ROUNDS):
        worst = 0.0
        for each, shares in zip(members, targets, strict=True):
            of_group = (counts * weights) @ each.people
            if not of_group.sum():
                continue
            should = shares * of_group.sum()
            factors = np.divide(should, of_group, out=np.ones_like(should), where=of_group > 0)
            worst = max(worst, float(np.abs(of_group - should).max() / of_group.sum()))
            in_any = each.known > 0
            weights[in_any] *= (each.people @ factors)[in_any]
        if worst < _CLOSE or len(members) == 1:
            return weights
    raise DataError(
        f"no weights meet all targets{label} together; cross fewer attributes, or give targets "
        "for the crossed attributes"
    )


def _present(members: Members, counts: Ints, shares: Floats) -> Floats:
    """The target over the groups that exist, normalized to 1."""
    there = np.where(counts @ members.people > 0, shares, 0.0)
    return there / there.sum() if there.sum() else there


def _note_empty(cells: list[str]) -> Iterator[str]:
    if cells:
        shown = "; ".join(cells[:_SHOWN])
        yield (
            f"{len(cells):,} cells with a target share are empty, which no weight can fill: "
            f"{shown}{' and others' if len(cells) > _SHOWN else ''}. Their share is distributed "
            "over the existing groups, and the target is not met there."
        )
