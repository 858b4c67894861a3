"""How far annotators agree: Krippendorff's α, with an interval over labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.balance.cells import Ints
from curate.core.errors import MissingExtraError
from curate.core.intervals import Floats, Interval, percentiles

DRAWS = 1000
"""Resamples for an interval."""

RELIABLE, TENTATIVE = 0.8, 0.667
"""From where on α allows conclusions, and tentative ones (Krippendorff, *Content Analysis*, 2004,
chapter 11)."""

Level = Literal["nominal", "ordinal"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far annotators agree on a question.

    Args:
        level: how answers differ: ``nominal``, by being different, or ``ordinal``, by how
            many answers lie between them.
        labels: labels with two judgements or more; the others say nothing of agreement.
        judgements: of those labels.
        alpha: 1 for full agreement, 0 for what chance would bring, below for less; None
            where it cannot be said.
        interval: the bootstrap's over labels, 95 %; None where it can say nothing.
        unknown: why ``alpha`` cannot be said; empty where it can.
    """

    level: Level
    labels: int
    judgements: int
    alpha: float | None
    interval: Interval | None
    unknown: str = ""


def agree(counts: npt.ArrayLike, level: Level, seed: int = 0, draws: int = DRAWS) -> Agreement:
    """Krippendorff's α of the judgements of some labels.

    Labels are drawn anew with replacement, each with all of its judgements. That
    measures what other labels of this kind would bring; the annotators stay the same.

    Args:
        counts: L×V, how many annotators gave each label each answer, in the scale's order.
        level: how answers differ.
        seed: the same seed gives the same interval.
        draws: how many resamples.
    """
    table = np.asarray(counts, dtype=np.int64)
    table = table[table.sum(axis=1) > 1] if table.size else table.reshape(0, 2)
    labels, judgements = len(table), int(table.sum())
    if not labels:
        return Agreement(level, 0, 0, None, None, "no label has two judgements")
    if (table.sum(axis=0) > 0).sum() < 2:
        unknown = "all judgements are the same, so that chance would agree as well"
        return Agreement(level, labels, judgements, None, None, unknown)
    random = np.random.default_rng(seed)
    samples: Floats = np.array(
        [_alpha(table[random.integers(0, labels, size=labels)], level) for _ in range(draws)]
    )
    return Agreement(level, labels, judgements, _alpha(table, level), percentiles(samples))


def _alpha(table: Ints, level: Level) -> float:
    """NaN where all judgements are the same."""
    try:
        import krippendorff  # GPL: an extra, never needed for anything else
    except ImportError:
        raise MissingExtraError("agreement of annotators", "krippendorff", "labels") from None

    with np.errstate(divide="ignore", invalid="ignore"):
        return float(krippendorff.alpha(value_counts=table, level_of_measurement=level))
