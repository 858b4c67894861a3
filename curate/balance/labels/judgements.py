"""What people said of labels: one value per annotator, label and question.

The questions are those that were asked about ImageNet's people subtree (Yang et al.,
*Towards Fairer Datasets*, FAT* 2020): whether a label is safe, sensitive (it may hurt when
it is applied to somebody) or offensive by itself, and how easily it calls up an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

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
