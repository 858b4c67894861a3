"""Every figure of an audit of labels, from what people said of them and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.balance.contingency import Ints
from curate.balance.labels.rules import QUESTIONS, Decision, LabelRules, Tally, Verdict, decide
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


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """What becomes of a vocabulary.

    Args:
        rules: what its labels were held against.
        tallies: the judgements of each label, in the vocabulary's order.
        verdicts: what becomes of each.
        agreement: how far annotators agree: on ``safety``, on ``unsafe``, which is the
            same with sensitive and offensive as one answer, and on ``imageability``.
    """

    rules: LabelRules
    tallies: Mapping[str, Tally]
    verdicts: Mapping[str, Verdict]
    agreement: Mapping[str, Agreement]

    def count(self, decision: Decision) -> int:
        """How many labels are decided so."""
        return sum(verdict.decision is decision for verdict in self.verdicts.values())

    def removed(self, label: str) -> bool | None:
        """Whether a label's images go; None if nobody has said what undecided means."""
        return self.verdicts[label].removed(self.rules)


def audit_tallies(tallies: Mapping[str, Tally], rules: LabelRules, seed: int = 0) -> LabelAudit:
    """Decide every label, and measure the agreement behind it.

    Safety is nominal for α: sensitive is no half of offensive. Imageability is ordinal: its
    ratings have an order, and no equal distances.

    Args:
        tallies: the judgements of each label; none for a label that nobody judged.
        rules: what to hold them against.
        seed: of the bootstrap.
    """
    return LabelAudit(
        rules=rules,
        tallies=tallies,
        verdicts={label: decide(tally, rules) for label, tally in tallies.items()},
        agreement=dict(_iter_agreement(tallies, rules, seed)),
    )


def _iter_agreement(
    tallies: Mapping[str, Tally], rules: LabelRules, seed: int
) -> Iterator[tuple[str, Agreement]]:
    if "safety" in rules.questions:
        counts = [tally.safety for tally in tallies.values()]
        yield "safety", agree(counts, "nominal", seed)
        either = [(tally.safety[0], tally.unsafe) for tally in tallies.values()]
        yield "unsafe", agree(either, "nominal", seed)
    if "imageability" in rules.questions:
        ratings = [tally.imageability for tally in tallies.values()]
        yield "imageability", agree(ratings, "ordinal", seed)


def asked(tallies: Mapping[str, Tally]) -> frozenset[str]:
    """The questions that anybody has answered."""
    return frozenset(
        question
        for question in QUESTIONS
        if any(sum(getattr(tally, question)) for tally in tallies.values())
    )
