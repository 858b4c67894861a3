"""Exact search for hashes within a distance of each other, in bounded memory.

A hash is cut into 16 chunks of 16 bits. If two hashes differ in at most 31 bits, some chunk
differs in at most one: so all pairs within that distance are among those that share a chunk
up to one bit, and nothing is missed (multi-index hashing: Norouzi, Punjani and Fleet, IEEE
TPAMI 36, 2014). A pair is found in its first such chunk only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from curate.duplicates.hashing import WORDS, Hashes, distance

CHUNKS = 16
_CHUNK_BITS = 16
MAX_DISTANCE = 2 * CHUNKS - 1
"""Distance up to which the search is exact."""

_BATCH = 2_000_000  # candidate pairs compared at once: about 100 MB
_MASKS = (0, *(1 << bit for bit in range(_CHUNK_BITS)))

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Indices of the first and second of each pair, and their distance in bits."""


def iter_pairs(hashes: Hashes, threshold: int) -> Iterator[Pairs]:
    """Every pair of hashes within a distance, each once, the lower index first.

    Args:
        hashes: N×4 uint64; without repetition the work is about N² / 3,500 comparisons.
        threshold: most bits that differ, 0 to `MAX_DISTANCE`.

    Yields:
        Some pairs at a time.
    """
    yield from _search(hashes, hashes, threshold, within=True)


def iter_matches(queries: Hashes, hashes: Hashes, threshold: int) -> Iterator[Pairs]:
    """Every pair of a query and a hash within a distance, each once.

    Args:
        queries: M×4 uint64; the first index of a pair is one of these.
        hashes: N×4 uint64.
        threshold: most bits that differ, 0 to `MAX_DISTANCE`.
    """
    yield from _search(queries, hashes, threshold, within=False)


def _search(queries: Hashes, hashes: Hashes, threshold: int, within: bool) -> Iterator[Pairs]:
    if not 0 <= threshold <= MAX_DISTANCE:
        raise ValueError(f"the search is exact up to {MAX_DISTANCE} bits, not {threshold}")
    for chunk in range(CHUNKS):
        right = _Sorted(hashes, chunk)
        left = right if within else _Sorted(queries, chunk)
        for mask in _MASKS:
            # Within one set a pair is seen once: from the side that has the bit unset.
            chosen = np.flatnonzero((left.keys & mask) == 0) if within and mask else left.all
            for first, second in _iter_candidates(left.keys[chosen] ^ mask, right.starts):
                a, b = _compare(chosen[first], second, (left, right), threshold)
                if within and not mask:
                    a, b = a[a < b], b[a < b]
                yield from _report(left.order[a], right.order[b], (queries, hashes), chunk, within)


class _Sorted:
    """Hashes in the order of one chunk, so that buckets stand together in memory."""

    def __init__(self, hashes: Hashes, chunk: int) -> None:
        keys = hashes.view(np.uint16).reshape(len(hashes), CHUNKS)[:, chunk].astype(np.int64)
        self.order = np.argsort(keys, kind="stable").astype(np.int64)
        self.keys = keys[self.order]
        self.starts = np.searchsorted(self.keys, np.arange(2**_CHUNK_BITS + 1)).astype(np.int64)
        self.all = np.arange(len(hashes))
        # The word of the chunk comes last: it distinguishes hashes that share the chunk least.
        words = [word for word in range(WORDS) if word != chunk // 4] + [chunk // 4]
        self.words = [np.ascontiguousarray(hashes[self.order, word]) for word in words]


def _iter_candidates(
    keys: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Every query with every hash of its bucket, a bounded number at a time."""
    begin = starts[keys]
    counts = starts[keys + 1] - begin
    ends = np.cumsum(counts)
    done = 0
    while done < len(keys):
        base = ends[done - 1] if done else 0
        stop = max(int(np.searchsorted(ends, base + _BATCH, side="right")), done + 1)
        some = counts[done:stop]
        total = int(some.sum())
        for part in range(0, total, 4 * _BATCH):  # one bucket can be larger than a batch
            first = np.repeat(np.arange(done, stop), some)[part : part + 4 * _BATCH]
            position = np.repeat(begin[done:stop] - (ends[done:stop] - some - base), some)
            numbers = np.arange(part, min(part + 4 * _BATCH, total))
            yield first, position[part : part + 4 * _BATCH] + numbers
        done = stop


def _compare(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    sides: tuple[_Sorted, _Sorted],
    threshold: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The candidates within the distance; two words exclude nearly all others."""
    left, right = sides
    bits = np.zeros(len(first), dtype=np.uint8)
    for number, (a, b) in enumerate(zip(left.words, right.words, strict=True)):
        bits += np.bitwise_count(a[first] ^ b[second])
        if number:
            near = np.flatnonzero(bits <= threshold)
            first, second, bits = first[near], second[near], bits[near]
    return first, second


def _report(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    sets: tuple[Hashes, Hashes],
    chunk: int,
    within: bool,
) -> Iterator[Pairs]:
    """Found pairs, but for those that an earlier chunk has found."""
    if not len(first):
        return
    a, b = sets[0][first], sets[1][second]
    new = ~_share_earlier(a, b, chunk)
    if new.any():
        first, second, bits = first[new], second[new], distance(a[new], b[new])
        if within:
            first, second = np.minimum(first, second), np.maximum(first, second)
        yield first, second, bits


def _share_earlier(a: Hashes, b: Hashes, chunk: int) -> npt.NDArray[np.bool_]:
    """Whether an earlier chunk differs in at most one bit: the pair was found there."""
    different = (a ^ b).view(np.uint16).reshape(len(a), CHUNKS)[:, :chunk]
    return np.asarray((np.bitwise_count(different) <= 1).any(axis=1))


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
