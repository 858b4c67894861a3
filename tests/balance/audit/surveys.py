"""Made-up people to count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.balance.census import Census, Plan, count
from curate.balance.groups import Reading, Unit


def survey(
    rows: Sequence[tuple[str, ...]],
    attributes: tuple[str, ...],
    by: tuple[tuple[str, ...], ...],
    label: str | None = None,
) -> Census:
    """Count rows whose last value is the label, where there is one."""
    labels = (label,) if label else ()
    size = len(attributes)
    units = (Unit(row[:size], tuple((name,) for name in row[size:])) for row in rows)
    plan = Plan(by, label, crossed=attributes)
    return count(units, Reading(attributes=attributes, labels=labels), plan, {})


def draw(seed: int, size: int, kinds: Sequence[int]) -> list[tuple[str, ...]]:
    """Rows of independent values, the early values of each column the more frequent."""
    random = np.random.default_rng(seed)
    columns = []
    for number, kind in enumerate(kinds):
        chances = 1 / np.arange(1, kind + 1)
        drawn = random.choice(kind, size=size, p=chances / chances.sum())
        columns.append([f"{'abcdefgh'[number]}{value}" for value in drawn])
    return list(zip(*columns, strict=True))
