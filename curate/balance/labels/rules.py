"""Which labels go and which stay, from what people said of them: a rule that can be appealed.

A label is removed if enough of its annotators call it offensive, if enough call it sensitive
or offensive, or if it is hard to picture. All three are shares or means of its judgements, so
that further judgements can turn a decision either way, and one that helps a label never hurts
it. A label with too few judgements is undecided: silence does not make it safe.
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
"""The answers on safety, from harmless up; anything but the first is unsafe."""

RATINGS = (1, 2, 3, 4, 5)
"""The answers on imageability, from *very hard* to *very easy* to picture."""

QUESTIONS: Mapping[str, int] = {"safety": len(SAFETY), "imageability": len(RATINGS)}
"""What is asked about a label, each with the number of its answers."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The judgements of one label that are in force.

    Args:
        safety: how many said each of ``SAFETY``.
        imageability: how many gave each of ``RATINGS``.
    """

    safety: tuple[int, ...] = (0, 0, 0)
    imageability: tuple[int, ...] = (0, 0, 0, 0, 0)

    @property
    def judged(self) -> int:
        """How many judged its safety."""
        return sum(self.safety)

    @property
    def offensive(self) -> int:
        """How many called it offensive."""
        return self.safety[2]

    @property
    def unsafe(self) -> int:
        """How many called it sensitive or offensive."""
        return self.safety[1] + self.safety[2]

    @property
    def rated(self) -> int:
        """How many rated its imageability."""
        return sum(self.imageability)

    @property
    def mean(self) -> Fraction | None:
        """The mean rating, exactly; None where there is none."""
        total = sum(rating * times for rating, times in self._ratings())
        return Fraction(total, self.rated) if self.rated else None

    @property
    def median(self) -> Fraction | None:
        """The middle rating, or the mean of the two in the middle; None where there is none."""
        ordered = [rating for rating, times in self._ratings() for _ in range(times)]
        middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
        return Fraction(sum(middle), len(middle)) if middle else None

    def add(self, question: str, answer: int) -> Tally:
        """The tally with one more judgement.

        Args:
            question: one of ``QUESTIONS``.
            answer: the place of the answer on its scale, from 0.
        """
        counts = list(getattr(self, question))
        counts[answer] += 1
        if question == "safety":
            return Tally(tuple(counts), self.imageability)
        return Tally(self.safety, tuple(counts))

    def _ratings(self) -> list[tuple[int, int]]:
        return list(zip(RATINGS, self.imageability, strict=True))


OFFENSIVE_SHARE = 0.25
"""One of up to four annotators is enough; a larger group has to be of one mind a little more."""

UNSAFE_SHARE = 0.5
"""Half: a tie removes."""

LEAST_IMAGEABILITY = 4.0
"""What Yang et al. (2020) asked of a label that is to keep its images."""

LEAST_ANNOTATORS = 3
"""The fewest of which a majority can differ from a single voice."""


class Decision(Enum):
    """What becomes of a label."""

    KEEP = "keep"
    REMOVE = "remove"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class LabelRules:
    """When a label is removed.

    Args:
        questions: those that were asked at all; a label that lacks the others' answers
            does not lack anything.
        offensive_share: the share of annotators saying offensive from which it is removed.
        unsafe_share: the share saying sensitive or offensive from which it is removed.
        least_imageability: the least mean or median rating of a label that is kept.
        imageability: which of the two.
        least_annotators: judgements that each question needs.
        undecided: what is done with undecided labels; None for nobody has said.

    Raises:
        UsageError: if a value is out of range.
    """

    questions: frozenset[str] = frozenset(QUESTIONS)
    offensive_share: float = OFFENSIVE_SHARE
    unsafe_share: float = UNSAFE_SHARE
    least_imageability: float = LEAST_IMAGEABILITY
    imageability: Literal["mean", "median"] = "mean"
    least_annotators: int = LEAST_ANNOTATORS
    undecided: Literal["keep", "remove"] | None = None

    def __post_init__(self) -> None:
        for name in ("offensive_share", "unsafe_share"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0 and at most 1")
        if not RATINGS[0] <= self.least_imageability <= RATINGS[-1]:
            raise UsageError(f"--least-imageability must be from {RATINGS[0]} to {RATINGS[-1]}")
        if self.least_annotators < 1:
            raise UsageError("--least-annotators must be at least 1")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a label, and why.

    Args:
        decision: the decision.
        reasons: why it is removed: ``offensive`` or ``sensitive``, ``not imageable``.
        lacking: questions with too few answers.
        contested: whether one more judgement could keep what is removed, or remove what is
            kept; never of an undecided label.
    """

    decision: Decision
    reasons: tuple[str, ...]
    lacking: tuple[str, ...]
    contested: bool

    def removed(self, rules: LabelRules) -> bool | None:
        """Whether its images go; None if it is undecided and nobody has said what then."""
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
    """How many rate a label as easy to picture as the rules ask; None where nobody rates it."""
    hits = sum(
        times
        for rating, times in zip(RATINGS, tally.imageability, strict=True)
        if rating >= rules.least_imageability
    )
    return Share(hits, tally.rated) if tally.rated else None


def _decide(tally: Tally, rules: LabelRules) -> tuple[Decision, tuple[str, ...], tuple[str, ...]]:
    reasons: list[str] = []
    lacking: list[str] = []
    for question in sorted(rules.questions, reverse=True):
        if sum(getattr(tally, question)) < rules.least_annotators:
            lacking.append(question)
        else:
            find = _unsafe if question == "safety" else _hard_to_picture
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


def _hard_to_picture(tally: Tally, rules: LabelRules) -> Iterator[str]:
    middle = tally.mean if rules.imageability == "mean" else tally.median
    if middle is not None and middle < _exact(rules.least_imageability):
        yield "not imageable"


def _reaches(hits: int, total: int, share: float) -> bool:
    return Fraction(hits, total) >= _exact(share)


def _exact(number: float) -> Fraction:
    """The number that was typed: 0.7 of 10 is 7, whatever the machine makes of 0.7."""
    return Fraction(str(number))
