"""What a correction does to each kind of record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.balance.cells import Ints
from curate.core.intervals import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What becomes of each kind of record.

    Args:
        kept: K, how many records stay.
        made: K, how many are made from those that stay.
        weights: K, the weight of each of them.
        why: K, the reason for what is removed or made; None where nothing is.
        gap: how much better, as a share, a solution could at most be; None where there is
            nothing to search for, 0 where none is better.
        notes: what a user should know, a line each.
    """

    kept: Ints
    made: Ints
    weights: Floats
    why: tuple[str | None, ...]
    gap: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def mass(self) -> Floats:
        """K, how much each kind counts for afterwards."""
        return (self.kept + self.made) * self.weights

    @property
    def effective(self) -> float:
        """Records of equal weight that would be worth as much (Kish, *Survey Sampling*, 1965).

        The squared sum of the weights over the sum of their squares.
        """
        times = self.kept + self.made
        squares = float((times * self.weights**2).sum())
        return float(self.mass.sum()) ** 2 / squares if squares else 0.0

    def effective_counts(self) -> Ints:
        """K, records of each kind in a sample of the effective size, to the nearest record."""
        mass = self.mass
        scale = self.effective / float(mass.sum()) if mass.sum() else 0.0
        return np.rint(mass * scale).astype(np.int64)
