from __future__ import annotations

import numpy as np
import pytest

from curate.duplicates import search
from curate.duplicates.hashing import THRESHOLD, distance


def plant(random: np.random.Generator, count: int, copies: int) -> np.ndarray:
    """Random hashes, and copies of some with 0 to 40 bits changed."""
    hashes = random.integers(0, 2**64, (count, 4), dtype=np.uint64)
    rows = []
    for index in random.integers(0, count, copies):
        bits = np.unpackbits(hashes[index].view(np.uint8))
        bits[random.choice(256, random.integers(0, 41), replace=False)] ^= 1
        rows.append(np.packbits(bits).view(np.uint64))
    return np.concatenate([hashes, np.array(rows)])


def brute(a: np.ndarray, b: np.ndarray, threshold: int) -> dict[tuple[int, int], int]:
    far = np.array([distance(row, b) for row in a])
    return {(int(i), int(j)): int(far[i, j]) for i, j in np.argwhere(far <= threshold)}


def collect(found: object) -> dict[tuple[int, int], int]:
    pairs: dict[tuple[int, int], int] = {}
    for first, second, bits in found:  # type: ignore[attr-defined]
        for i, j, far in zip(first, second, bits, strict=True):
            assert (int(i), int(j)) not in pairs, "each pair comes once"
            pairs[int(i), int(j)] = int(far)
    return pairs


@pytest.mark.parametrize("threshold", [0, 10, THRESHOLD])
def test_the_search_finds_exactly_what_brute_force_finds(threshold: int) -> None:
    hashes = plant(np.random.default_rng(0), 1500, 1500)
    expected = {(i, j): far for (i, j), far in brute(hashes, hashes, threshold).items() if i < j}
    assert len(expected) > (0 if threshold == 0 else 200)
    assert collect(search.iter_pairs(hashes, threshold)) == expected


def test_matches_between_two_sets_are_exact_too() -> None:
    hashes = plant(np.random.default_rng(1), 900, 600)
    queries, others = hashes[::2].copy(), hashes[1::2].copy()
    expected = brute(queries, others, THRESHOLD)
    assert len(expected) > 100
    assert collect(search.iter_matches(queries, others, THRESHOLD)) == expected


def test_differences_that_are_spread_over_every_chunk_are_found() -> None:
    """The hardest case: 31 bits, two in every chunk but one."""
    random = np.random.default_rng(2)
    base = random.integers(0, 2**64, 4, dtype=np.uint64)
    rows = [base]
    for lone in range(16):
        bits = np.unpackbits(base.view(np.uint16)[:, None].view(np.uint8), axis=1)
        for chunk in range(16):
            bits[chunk, random.choice(16, 1 if chunk == lone else 2, replace=False)] ^= 1
        rows.append(np.packbits(bits, axis=1).view(np.uint16).ravel().view(np.uint64))
    hashes = np.array(rows)
    found = collect(search.iter_pairs(hashes, 31))
    assert {pair: far for pair, far in found.items() if pair[0] == 0} == {
        (0, index): 31 for index in range(1, 17)
    }


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = plant(np.random.default_rng(3), 300, 300)
    before = collect(search.iter_pairs(hashes, 31))
    monkeypatch.setattr(search, "_BATCH", 7)
    assert collect(search.iter_pairs(hashes, 31)) == before


def test_a_threshold_beyond_the_exact_range_is_refused() -> None:
    with pytest.raises(ValueError, match="exact up to 31"):
        next(search.iter_pairs(np.zeros((2, 4), np.uint64), 32))
