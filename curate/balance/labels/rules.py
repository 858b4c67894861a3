"""Judgments of labels, and the rules that decide which labels to keep.

The questions follow the annotation of ImageNet's person subtree (Yang et al., *Towards Fairer
Datasets*, FAT* 2020): whether a label is safe, sensitive (may offend when applied to a person)
or offensive in itself, and its imageability (how easily it evokes an image).

A label is removed if enough annotators rate it offensive, if enough rate it sensitive or
offensive, or if its imageability is low. All criteria are shares or means, so that further
judgments can change a decision, and they are monotone: a more favorable judgment never causes
a removal. A label with too few judgments is undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Literal

from curate.core.errors import UsageError
from curate.core.intervals import Share

SAFETY = ("safe", "sensitive", "offensive")
"""Answers on safety; all but the first are unsafe."""

RATINGS = (1, 2, 3, 4, 5)
"""Ratings of imageability, from *very hard* to *very easy* to imagine."""

QUESTIONS: Mapping[str, int] = {"safety": len(SAFETY), "imageability": len(RATINGS)}
"""Questions about a label, with their number of answers."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of the current judgments of one label.

    Args:
        safety: count of each of ``SAFETY``.
        imageability: count of each of ``RATINGS``.
    """

    safety: tuple[int, ...] = (0, 0, 0)
    imageability: tuple[int, ...] = (0, 0, 0, 0, 0)

    @property
    def judged(self) -> int:
        """Number of judgments of safety."""
        return sum(self.safety)

    @property
    def offensive(self) -> int:
        """Number of offensive judgments."""
        return self.safety[2]

    @property
    def unsafe(self) -> int:
        """Number of sensitive or offensive judgments."""
        return self.safety[1] + self.safety[2]

    @property
    def rated(self) -> int:
        """Number of ratings of imageability."""
        return sum(self.imageability)

    @property
    def mean(self) -> Fraction | None:
        """Exact mean rating, or None."""
        total = sum(rating * times for rating, times in self._ratings())
        return Fraction(total, self.rated) if self.rated else None

    @property
    def median(self) -> Fraction | None:
        """Exact median rating, or None."""
        ordered = [rating for rating, times in self._ratings() for _ in range(times)]
        middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
        return Fraction(sum(middle), len(middle)) if middle else None

    def add(self, question: str, answer: int) -> Tally:
        """The tally with one more judgment.

        Args:
            question: one of ``QUESTIONS``.
            answer: index of the answer on its scale.
        """
        counts = list(getattr(self, question))
        counts[answer] += 1
        if question == "safety":
            return Tally(tuple(counts), self.imageability)
        return Tally(self.safety, tuple(counts))

    def _ratings(self) -> list[tuple[int, int]]:
        return list(zip(RATINGS, self.imageability, strict=True))


OFFENSIVE_SHARE = 0.25
"""Default share of offensive judgments that removes a label: one of up to four annotators."""

UNSAFE_SHARE = 0.5
"""Default share of unsafe judgments that removes a label; a tie removes."""

MIN_IMAGEABILITY = 4.0
"""Default minimum imageability (Yang et al., 2020)."""

MIN_ANNOTATORS = 3
"""Default minimum number of judgments per question."""


class Decision(Enum):
    """Decision for a label."""

    KEEP = "keep"
    REMOVE = "remove"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class LabelRules:
    """When a label is removed.

    Args:
        questions: the questions that were asked; others are not required.
        offensive_share: minimum share of offensive judgments that removes a label.
        unsafe_share: minimum share of sensitive or offensive judgments that removes it.
        min_imageability: minimum mean or median rating of a label that is kept.
        imageability: ``mean`` or ``median``.
        min_annotators: minimum judgments per question.
        undecided: ``keep`` or ``remove`` undecided labels; None if not stated.

    Raises:
        UsageError: if a value is out of range.
    """

    questions: frozenset[str] = frozenset(QUESTIONS)
    offensive_share: float = OFFENSIVE_SHARE
    unsafe_share: float = UNSAFE_SHARE
    min_imageability: float = MIN_IMAGEABILITY
    imageability: Literal["mean", "median"] = "mean"
    min_annotators: int = MIN_ANNOTATORS
    undecided: Literal["keep", "remove"] | None = None

    def __post_init__(self) -> None:
        for name in ("offensive_share", "unsafe_share"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0 and at most 1")
        if not RATINGS[0] <= self.min_imageability <= RATINGS[-1]:
            raise UsageError(f"--min-imageability must be from {RATINGS[0]} to {RATINGS[-1]}")
        if self.min_annotators < 1:
            raise UsageError("--min-annotators must be at least 1")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision for a label, with reasons.

    Args:
        decision: the decision.
        reasons: why it is removed: ``offensive`` or ``sensitive``, ``not imageable``.
        lacking: questions with too few judgments.
        contested: whether one more judgment could change the decision; False if undecided.
    """

    decision: Decision
    reasons: tuple[str, ...]
    lacking: tuple[str, ...]
    contested: bool

    def removed(self, rules: LabelRules) -> bool | None:
        """Whether its images are removed; None if undecided and ``rules.undecided`` is None."""
        if self.decision is Decision.UNDECIDED:
            return None if rules.undecided is None else rules.undecided == "remove"
        return self.decision is Decision.REMOVE


def decide(tally: Tally, rules: LabelRules) -> Verdict:
    """Apply the rules to one label."""
    decision, reasons, lacking = _decide(tally, rules)
    contested = decision is not Decision.UNDECIDED and any(
        _decide(tally.add(question, answer), rules)[0] is not decision
        for question in rules.questions
        for answer in range(QUESTIONS[question])
    )
    return Verdict(decision, reasons, lacking, contested)


def imageable(tally: Tally, rules: LabelRules) -> Share | None:
    """Share of ratings of at least ``min_imageability``; None without ratings."""
    hits = sum(
        times
        for rating, times in zip(RATINGS, tally.imageability, strict=True)
        if rating >= rules.min_imageability
    )
    return Share(hits, tally.rated) if tally.rated else None


def _decide(tally: Tally, rules: LabelRules) -> tuple[Decision, tuple[str, ...], tuple[str, ...]]:
    reasons: list[str] = []
    lacking: list[str] = []
    for question in sorted(rules.questions, reverse=True):
        if sum(getattr(tally, question)) < rules.min_annotators:
            lacking.append(question)
        else:
            find = _unsafe if question == "safety" else _not_imageable
            reasons += find(tally, rules)
    if reasons:
        return Decision.REMOVE, tuple(reasons), tuple(lacking)
    undecided = lacking or not rules.questions
    return Decision.UNDECIDED if undecided else Decision.KEEP, (), tuple(lacking)


def _unsafe(tally: Tally, rules: LabelRules) -> Iterator[str]:
    if _reaches(tally.offensive, tally.judged, rules.offensive_share):
        yield "offensive"
    elif _reaches(tally.unsafe, tally.judged, rules.unsafe_share):
        yield "sensitive"


def _not_imageable(tally: Tally, rules: LabelRules) -> Iterator[str]:
    middle = tally.mean if rules.imageability == "mean" else tally.median
    if middle is not None and middle < _exact(rules.min_imageability):
        yield "not imageable"


def _reaches(hits: int, total: int, share: float) -> bool:
    return Fraction(hits, total) >= _exact(share)


def _exact(number: float) -> Fraction:
    """The decimal number as typed: 0.7 of 10 is exactly 7."""
    return Fraction(str(number))
