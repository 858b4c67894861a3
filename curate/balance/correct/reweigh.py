"""Weights that make groups and labels independent, or bring groups to a target.

Kamiran and Calders, *Data preprocessing techniques for classification without
discrimination* (KAIS 33, 2012): a record of group g and label l weighs
P(g)·P(l) / P(g, l). With a target, its share of g takes the place of P(g). Several
groupings at once are raked (Deming and Stephan, Annals of Mathematical Statistics 11,
1940): the same step for each in turn until all fit; for one, the first step is the formula.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.balance.audit.representation import spell
from curate.balance.contingency import Ints
from curate.balance.correct.goal import Correction, Goal
from curate.balance.correct.strata import Kinds, Members, find_members
from curate.core.errors import DataError, UsageError
from curate.core.intervals import Floats

_ROUNDS = 2_000
_CLOSE = 1e-10  # relative error of a group's mass at which raking has arrived
_SHOWN = 3


def reweigh(kinds: Kinds, goal: Goal) -> Correction:
    """Weigh every record; labels keep their sums of weights.

    Labels of a record with several count as one label, the set of them. Who has no value
    of an attribute is left as it is by that attribute's target, and so is who has no label
    where targets are within labels.

    Args:
        kinds: the records, each counting once.
        goal: the target.

    Raises:
        UsageError: if people are counted, and not records.
        DataError: if several targets contradict each other.
    """
    if not kinds.are_single:
        raise UsageError("a weight is of a record: count --per record for reweigh")
    weights = np.ones(len(kinds))
    empty: list[str] = []
    members = [
        find_members(kinds, columns, list(target)) for columns, target in goal.targets.items()
    ]
    wanted = [np.array(list(target.values())) for target in goal.targets.values()]
    for label, places in _parts(kinds, goal):
        some = [Members(each.columns, each.groups, each.people[places]) for each in members]
        empty += [
            f"{spell(group)}{label}"
            for each, shares in zip(some, wanted, strict=True)
            for group, there, share in zip(
                each.groups, kinds.counts[places] @ each.people, shares, strict=True
            )
            if share > 0 and not there
        ]
        weights[places] = _rake(kinds.counts[places], some, wanted, label)
    return Correction(
        kept=kinds.counts,
        made=np.zeros_like(kinds.counts),
        weights=weights,
        why=(None,) * len(kinds),
        notes=tuple(_note_empty(empty)),
    )


def _parts(kinds: Kinds, goal: Goal) -> Iterator[tuple[str, Ints]]:
    """The kinds of each label, with what messages call it."""
    if not goal.within:
        yield "", np.arange(len(kinds))
        return
    by_label: dict[tuple[str, ...], list[int]] = {}
    known = set(kinds.names())
    for place, labels in enumerate(kinds.labels):
        if known.issuperset(labels):
            by_label.setdefault(labels, []).append(place)
    for labels, places in by_label.items():
        yield f" of {'+'.join(labels)}", np.array(places, dtype=np.int64)


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
        f"no weights meet all targets{label} at once; cross fewer attributes, or give the targets "
        "of the crossed attributes"
    )


def _present(members: Members, counts: Ints, shares: Floats) -> Floats:
    """The target among the groups that are there, adding up to 1."""
    there = np.where(counts @ members.people > 0, shares, 0.0)
    return there / there.sum() if there.sum() else there


def _note_empty(cells: list[str]) -> Iterator[str]:
    if cells:
        shown = "; ".join(cells[:_SHOWN])
        yield (
            f"{len(cells):,} cells that the target wants are empty, and no weight fills them: "
            f"{shown}{' and others' if len(cells) > _SHOWN else ''}. The groups that are there "
            "share what was theirs, and the target is not met there."
        )
