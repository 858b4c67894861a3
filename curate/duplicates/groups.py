"""Join pairs into groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt


class UnionFind:
    """Groups of numbers below ``size``, joined pair by pair.

    Args:
        size: how many numbers there are.
    """

    def __init__(self, size: int) -> None:
        self._parent = np.arange(size, dtype=np.int64)

    def find(self, number: int) -> int:
        """The smallest number of the group."""
        parent = self._parent
        root = number
        while parent[root] != root:
            root = int(parent[root])
        while parent[number] != root:  # shorter next time
            parent[number], number = root, int(parent[number])
        return root

    def join(self, a: int, b: int) -> None:
        """Make one group of two."""
        a, b = self.find(a), self.find(b)
        self._parent[max(a, b)] = min(a, b)

    def join_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Join many pairs."""
        for a, b in pairs:
            self.join(a, b)

    def iter_groups(self) -> Iterator[npt.NDArray[np.int64]]:
        """Every group of two or more, sorted, in the order of their smallest numbers."""
        roots = np.array([self.find(number) for number in range(len(self._parent))])
        order = np.argsort(roots, kind="stable")
        _, starts, counts = np.unique(roots[order], return_index=True, return_counts=True)
        for start, count in zip(starts, counts, strict=True):
            if count > 1:
                yield order[start : start + count]
