"""How much is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_FEW = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        data: the folder of labeled photos.
        repeats: rounds of every timing.
        quick: a smoke run on a few photos, whose figures mean nothing.
        against: an earlier revision of this project that is measured beside the others.
    """

    data: Path
    repeats: int
    quick: bool
    against: str | None = None

    def few(self, values: Sequence[T]) -> list[T]:
        """All of them, or in a quick run the first few."""
        return list(values[:_FEW] if self.quick else values)
