"""Coverage of the comparisons of groups on simulated data of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from curate.impact.experiment import Hits, Ints
from curate.impact.group_gaps import (
    compare_with_rest,
    cross_fit_growth,
    estimate_selected_gap,
    select_pair,
)

DATASETS = 500


def draw(
    seed: int, groups: int, n: int, models: int, extra: float
) -> tuple[Hits, dict[str, Ints], np.ndarray]:
    """Groups of equal accuracy; the first one loses more. Returns the true changes too."""
    random = np.random.default_rng([seed, groups, n])
    loss = np.full(groups, 0.1)
    loss[0] += extra
    latent = random.random(groups * n) < 0.75
    noise = 0.0 if models == 1 else 0.05
    before = np.stack([latent ^ (random.random(groups * n) < noise) for _ in range(models)], axis=1)
    lost = random.random(before.shape) < np.repeat(loss, n)[:, None]
    after = np.where(before, ~lost, random.random(before.shape) < 0.05)
    right = 0.75 * (1 - noise) + 0.25 * noise
    rows = {str(group): np.arange(group * n, (group + 1) * n) for group in range(groups)}
    return Hits(before, after), rows, (1 - right) * 0.05 - right * loss


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "n", "models", "extra"),
    [(2, 100, 1, 0.0), (7, 60, 1, 0.0), (12, 40, 1, 0.0), (7, 60, 1, 0.15), (7, 40, 3, 0.0)],
)
def test_intervals_cover_the_truth_although_the_groups_are_selected(
    groups: int, n: int, models: int, extra: float
) -> None:
    gaps = growths = relatives = 0
    errors = []
    for seed in range(DATASETS):
        hits, rows, change = draw(seed, groups, n, models, extra)
        pair = select_pair(hits.original, rows)
        low, high = estimate_selected_gap(hits.original, rows, pair).interval
        gaps += low <= 0 <= high
        growth = cross_fit_growth(hits.original, hits, rows, seed)
        truth = float(np.mean([change[int(a)] - change[int(b)] for a, b in growth.pairs]))
        low, high = growth.estimate.interval
        growths += low <= truth <= high
        errors.append(growth.estimate.value - truth)
        relatives += all(
            found.interval.low
            <= change[int(name)] - np.delete(change, int(name)).mean()
            <= found.interval.high
            for name, found in compare_with_rest(hits, rows).items()
        )
    assert min(gaps, growths, relatives) >= 0.93 * DATASETS
    # The growth of the pair that is selected on all images is biased by 2 to 4 points.
    assert abs(np.mean(errors)) < 4 * np.std(errors) / DATASETS**0.5


def test_a_planted_effect_on_one_group_is_found() -> None:
    hits, rows, change = draw(0, 5, 400, 1, 0.3)
    found = compare_with_rest(hits, rows)
    assert found["0"].p < 0.001
    assert found["0"].interval.high < 0
    assert found["0"].value == pytest.approx(change[0] - change[1], abs=0.07)


def test_ties_are_broken_by_name_and_the_same_seed_gives_the_same_halves() -> None:
    hits = Hits(np.ones((80, 1), bool), np.ones((80, 1), bool))
    rows = {"b": np.arange(40), "a": np.arange(40, 80)}
    assert select_pair(hits.original, rows) == ("a", "b")
    first, second = (cross_fit_growth(hits.original, hits, rows, 3) for _ in range(2))
    assert first == second
    assert first.estimate.value == 0
