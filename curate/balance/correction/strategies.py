"""The ways to correct a dataset, each a function of its kinds of records and a goal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curate.balance.cells import Bools
from curate.balance.correction.goal import Goal
from curate.balance.correction.kinds import Kinds
from curate.balance.correction.outcome import Correction
from curate.balance.correction.programme import Limits, solve


def subset(kinds: Kinds, goal: Goal) -> Correction:
    """The largest subset that meets a target.

    Args:
        kinds: the records.
        goal: the target, the tolerance, and what each label must keep.

    Raises:
        DataError: if none meets it; names the cells that make it so.
    """
    found = solve(kinds, goal, Limits(np.zeros_like(kinds.counts), kinds.counts, largest=True))
    return Correction(
        kept=found.counts,
        made=np.zeros_like(kinds.counts),
        weights=np.ones(len(kinds)),
        why=_reasons(kinds.counts > found.counts, "there are more of its group than the target"),
        gap=found.gap,
    )


def oversample(kinds: Kinds, goal: Goal) -> Correction:
    """The fewest records to make from those that there are, none too often, to meet a target.

    Args:
        kinds: the records.
        goal: the target, the tolerance, and how often a record may come.

    Raises:
        DataError: if it cannot be met so; names the cells that make it so.
    """
    most = kinds.counts * goal.most_copies
    found = solve(kinds, goal, Limits(kinds.counts, most, largest=False, times=goal.most_copies))
    return Correction(
        kept=kinds.counts,
        made=found.counts - kinds.counts,
        weights=np.ones(len(kinds)),
        why=_reasons(found.counts > kinds.counts, "there are fewer of its group than the target"),
        gap=found.gap,
    )


def remove_labels(kinds: Kinds, unwanted: Mapping[str, str]) -> Correction:
    """Remove every record that has a label which people decided against.

    Args:
        kinds: the records.
        unwanted: why each such label goes.
    """
    why = tuple(
        next((f"{name}: {unwanted[name]}" for name in labels if name in unwanted), None)
        for labels in kinds.labels
    )
    stays = np.array([reason is None for reason in why], dtype=np.bool_)
    return Correction(
        kept=np.where(stays, kinds.counts, 0),
        made=np.zeros_like(kinds.counts),
        weights=np.ones(len(kinds)),
        why=why,
    )


def _reasons(changed: Bools, reason: str) -> tuple[str | None, ...]:
    return tuple(reason if each else None for each in changed)
