"""Coverage of conformal prediction sets on simulated data of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from curate.impact.experiment import Arm, Experiment, Model
from curate.impact.predictions.conformal import (
    COVERAGE,
    find_threshold,
    list_subsets,
    measure_reliability,
)


def draw(seed: int, n: int, shift: float) -> tuple[Experiment, np.ndarray]:
    """Images of which half have faces; obfuscation lowers the likelihood of these."""
    random = np.random.default_rng([seed, n])
    present = random.random(n) < 0.5
    likelihood = random.beta(np.where(present, 4, 6), 1.5)
    after = np.where(present, likelihood ** (1 + shift), likelihood)

    def arm(values: np.ndarray) -> Arm:
        rank = np.where(random.random(n) < values, 0, 1)
        return Arm(np.zeros(n, int), rank, values, np.zeros(1), values)

    model = Model(arm(likelihood), arm(after))
    return Experiment(np.zeros(n, int), ("a", "b"), (model,), 2), present


@pytest.mark.parametrize("n", [100, 400])
def test_sets_cover_originals_and_each_subset_where_it_is_calibrated(n: int) -> None:
    values = []
    for seed in range(500):
        experiment, present = draw(seed, n, 0.0)
        found = measure_reliability(experiment, list_subsets(n, present, {}, 30), seed)
        values.append([found[0].coverage[0].value, *(each.own_coverage[0].value for each in found)])
    # The expected coverage lies between the nominal one and that plus 1 / (calibration + 1).
    mean, error = np.mean(values, axis=0), np.std(values, axis=0) / len(values) ** 0.5
    assert (mean >= COVERAGE - 3 * error).all()
    assert (mean <= COVERAGE + 1 / (n / 4) + 3 * error).all()


def test_a_shift_of_photos_with_faces_shows_in_their_subset_alone() -> None:
    experiment, present = draw(0, 4000, 1.0)
    groups = {"tone": ["x" if number % 2 else None for number in range(4000)]}
    subsets = list_subsets(4000, present, groups, 30)
    found = {each.name: each for each in measure_reliability(experiment, subsets, 0)}
    assert list(found) == ["all images", "with faces", "without faces", "tone: x"]
    assert found["with faces"].coverage[1].interval.high < found["with faces"].coverage[0].value
    assert found["without faces"].coverage[1] == found["without faces"].coverage[0]
    assert found["with faces"].own_coverage[0].value == pytest.approx(COVERAGE, abs=0.02)
    assert found["with faces"].answered[1].value < found["with faces"].answered[0].value
    assert found["all images"].answered[0].value == pytest.approx(0.8, abs=0.01)


def test_the_threshold_is_the_conformal_quantile() -> None:
    scores = np.arange(1, 20) / 20
    assert find_threshold(scores) == 18 / 20  # the 18th of 19: ⌈20 · 0.9⌉
    assert find_threshold(scores[:8]) == np.inf
