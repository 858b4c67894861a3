"""Decisions for all labels, and inter-annotator agreement (Krippendorff's α)."""

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
"""Bootstrap resamples."""

RELIABLE, TENTATIVE = 0.8, 0.667
"""Minimum α for conclusions, and for tentative conclusions (Krippendorff, *Content Analysis*,
2004, chapter 11)."""

Level = Literal["nominal", "ordinal"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Inter-annotator agreement on a question.

    Args:
        level: level of measurement, ``nominal`` or ``ordinal``.
        labels: number of labels with at least two judgments.
        judgements: number of judgments of those labels.
        alpha: Krippendorff's α: 1 for full agreement, 0 for chance; None if undefined.
        interval: 95 % bootstrap interval over labels, or None.
        unknown: why ``alpha`` is undefined; empty otherwise.
    """

    level: Level
    labels: int
    judgements: int
    alpha: float | None
    interval: Interval | None
    unknown: str = ""


def agree(counts: npt.ArrayLike, level: Level, seed: int = 0, draws: int = DRAWS) -> Agreement:
    """Compute Krippendorff's α.

    The bootstrap resamples labels with all their judgments; the interval is for other labels
    and the same annotators.

    Args:
        counts: number of annotators per label and answer, shape (L, V), in the scale's order.
        level: level of measurement.
        seed: random seed.
        draws: number of resamples.
    """
    table = np.asarray(counts, dtype=np.int64)
    table = table[table.sum(axis=1) > 1] if table.size else table.reshape(0, 2)
    labels, judgements = len(table), int(table.sum())
    if not labels:
        return Agreement(level, 0, 0, None, None, "no label has two judgments")
    if (table.sum(axis=0) > 0).sum() < 2:
        unknown = "all judgments are the same"
        return Agreement(level, labels, judgements, None, None, unknown)
    random = np.random.default_rng(seed)
    samples: Floats = np.array(
        [_alpha(table[random.integers(0, labels, size=labels)], level) for _ in range(draws)]
    )
    return Agreement(level, labels, judgements, _alpha(table, level), percentiles(samples))


def _alpha(table: Ints, level: Level) -> float:
    """NaN if all judgments are the same."""
    try:
        import krippendorff  # GPL, therefore an extra
    except ImportError:
        raise MissingExtraError("agreement of annotators", "krippendorff", "labels") from None

    with np.errstate(divide="ignore", invalid="ignore"):
        return float(krippendorff.alpha(value_counts=table, level_of_measurement=level))


@dataclass(frozen=True, slots=True)
class LabelDecisions:
    """Decisions for a vocabulary.

    Args:
        rules: the rules.
        tallies: the judgments of each label, in the vocabulary's order.
        verdicts: the decision for each label.
        agreement: agreement on ``safety``, on ``unsafe`` (sensitive and offensive merged)
            and on ``imageability``.
    """

    rules: LabelRules
    tallies: Mapping[str, Tally]
    verdicts: Mapping[str, Verdict]
    agreement: Mapping[str, Agreement]

    def count(self, decision: Decision) -> int:
        """Number of labels with this decision."""
        return sum(verdict.decision is decision for verdict in self.verdicts.values())

    def removed(self, label: str) -> bool | None:
        """Whether a label's images are removed; see `Verdict.removed`."""
        return self.verdicts[label].removed(self.rules)


def audit_tallies(tallies: Mapping[str, Tally], rules: LabelRules, seed: int = 0) -> LabelDecisions:
    """Decide every label, and measure agreement.

    α is nominal for safety and ordinal for imageability.

    Args:
        tallies: the judgments of each label.
        rules: the rules.
        seed: random seed of the bootstrap.
    """
    return LabelDecisions(
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


def list_questions(tallies: Mapping[str, Tally]) -> frozenset[str]:
    """The questions with at least one judgment."""
    return frozenset(
        question
        for question in QUESTIONS
        if any(sum(getattr(tally, question)) for tally in tallies.values())
    )
