from __future__ import annotations

import math

import numpy as np
import pytest

from curate.impact.arms import Hits
from curate.impact.predictions.paired import find_power, mcnemar
from tests.impact.predictions.experiments import draw_hits


def test_of_many_images_it_is_connors_formula() -> None:
    # Connor, Biometrics 43 (1987) 207-211: d √n = z(1-α/2) √ψ + z(power) √(ψ - d²).
    hits = draw_hits(np.random.default_rng(0), 50_000, 0.06, 0.04)
    power = find_power(hits)
    d, share = power.detectable, power.discordant
    assert d is not None
    formula = 1.959964 * math.sqrt(share) + 0.841621 * math.sqrt(share - d * d)
    assert d * math.sqrt(50_000) == pytest.approx(formula, rel=0.02)


@pytest.mark.parametrize(("n", "share"), [(2000, 0.1), (1000, 0.02), (500, 0.004)])
def test_a_drop_of_that_size_is_found_about_as_often_as_it_says(n: int, share: float) -> None:
    random = np.random.default_rng(1)
    kinds = draw_hits(random, n, share / 2, share / 2)
    power = find_power(kinds)
    d = power.detectable
    assert d is not None
    share = max(power.discordant, d)
    found = [
        mcnemar(draw_hits(random, n, (share + d) / 2, (share - d) / 2)).p <= 0.05
        for _ in range(500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_a_few_images_can_show_nothing() -> None:
    some = np.ones((5, 1), dtype=bool)
    assert find_power(Hits(some, some)).detectable is None


def test_several_models_of_one_kind_could_show_what_one_could() -> None:
    one = draw_hits(np.random.default_rng(3), 500, 0.06, 0.04)
    three = Hits(np.repeat(one.original, 3, axis=1), np.repeat(one.obfuscated, 3, axis=1))
    assert find_power(three) == find_power(one)


def test_where_nothing_changed_the_drop_is_of_about_eight_images() -> None:
    same = np.ones((1000, 1), dtype=bool)
    assert find_power(Hits(same, same)).detectable == pytest.approx(0.008, abs=0.0005)
