from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from curate.balance.audit.association import (
    Pair,
    compute_associations,
    control,
    fisher_p,
    normalized_pmi,
)
from curate.core.p_values import benjamini_hochberg


def pair(both: list[list[int]], of_group: list[int]) -> Pair:
    labels = [f"l{place}" for place in range(len(both))]
    groups = [f"g{place}" for place in range(len(of_group))]
    return Pair("kind", labels, groups, np.array(both), np.array(of_group))


def simulate(random: np.random.Generator, joint: np.ndarray, size: int) -> Pair:
    """Labels and groups drawn from a law."""
    both = random.multinomial(size, joint.ravel()).reshape(joint.shape)
    return pair(both.tolist(), both.sum(axis=0).tolist())


def test_npmi_is_that_of_its_definition() -> None:
    pmi, npmi = normalized_pmi(np.array([30, 0, 20]), np.int64(50), np.array([40, 40, 20]), 100)
    assert pmi[0] == pytest.approx(math.log2(0.3 / (0.5 * 0.4)))
    assert npmi[0] == pytest.approx(math.log2(0.3 / (0.5 * 0.4)) / -math.log2(0.3))
    assert npmi[1] == -1
    assert normalized_pmi(np.array([20]), np.int64(20), np.array([20]), 100)[1][0] == 1
    assert normalized_pmi(np.array([100]), np.int64(100), np.array([100]), 100)[1][0] == 0


def test_p_is_that_of_a_permutation_test() -> None:
    random = np.random.default_rng(0)
    label, group = np.arange(60) < 15, np.arange(60) % 3 == 0
    observed = 9
    dealt = np.array([(label & random.permutation(group)).sum() for _ in range(20_000)])
    tails = min((dealt >= observed).mean(), (dealt <= observed).mean())
    found = fisher_p(np.array([observed]), 15, np.array([20]), 60)[0]
    assert found == pytest.approx(2 * tails, abs=0.005)


def test_adjusted_p_values_are_those_of_the_literature() -> None:
    # Benjamini and Hochberg, JRSS B 57 (1995), section 3.2: four of fifteen are rejected.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
         0.4262, 0.5719, 0.6528, 0.7590, 1.0000]  # fmt: skip
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p).tolist())
    assert sum(q <= 0.05 for q in benjamini_hochberg(p)) == 4
    assert benjamini_hochberg([]).tolist() == []


def test_noise_is_flagged_no_more_often_than_stated() -> None:
    random = np.random.default_rng(7)
    joint = np.outer(random.dirichlet(np.ones(8)), random.dirichlet(np.ones(6)))
    reports = 0
    for _ in range(200):
        drawn = simulate(random, joint, 3000)
        of_label = drawn.both.sum(axis=1)
        p = [
            value
            for both, size in zip(drawn.both, of_label, strict=True)
            if size
            for value in fisher_p(both, int(size), drawn.of_group, 3000)
        ]
        reports += min(benjamini_hochberg(p)) <= 0.05
    # Where all is noise, every flag is false: at most one report in twenty may have any.
    assert reports <= stats.binom.ppf(0.999, 200, 0.05)


def test_of_what_is_flagged_no_more_is_noise_than_stated() -> None:
    random = np.random.default_rng(8)
    joint = np.full((10, 4), 1 / 40)
    joint[0, :2] += [0.012, -0.012]  # two labels go with two groups; all else is chance
    joint[1, :2] += [-0.012, 0.012]
    planted = {(label, group) for label in ("l0", "l1") for group in ("g0", "g1")}
    shares, found = [], 0
    for _ in range(80):
        flags = {
            (each.label, each.group)
            for each in control(compute_associations(simulate(random, joint, 4000)))
            if each.flagged
        }
        shares.append(len(flags - planted) / max(1, len(flags)))
        found += len(flags & planted)
    assert found > 0.9 * 80 * 4
    assert np.mean(shares) < 0.05


def test_a_planted_association_is_found_with_its_sign() -> None:
    random = np.random.default_rng(9)
    joint = np.full((4, 2), 1 / 8)
    joint[2] = [0.18, 0.07]
    found = {(each.label, each.group): each for each in
             control(compute_associations(simulate(random, joint, 2000)))}  # fmt: skip
    assert found["l2", "g0"].flagged
    assert found["l2", "g0"].npmi > 0
    assert found["l2", "g1"].npmi < 0
    assert found["l2", "g1"].flagged


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(10)
    joint = np.array([[0.20, 0.10, 0.05], [0.15, 0.25, 0.25]])
    truth = normalized_pmi(
        (joint[0] * 10**6).astype(int),
        np.int64(350_000),
        (joint.sum(axis=0) * 10**6).astype(int),
        10**6,
    )[1]
    held = []
    for _ in range(150):
        for each in compute_associations(simulate(random, joint, 1500), seed=1)[:3]:
            assert each.interval is not None
            held.append(each.interval.low <= truth[int(each.group[1])] <= each.interval.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_a_label_of_one_record_says_nothing_and_breaks_nothing() -> None:
    found = control(compute_associations(pair([[1, 0], [50, 49], [0, 0]], [51, 49])))
    assert [each.label for each in found] == ["l0", "l0", "l1", "l1"]
    assert not any(each.flagged for each in found)
    assert found[1].npmi == -1
    assert found[1].pmi is None


def test_intervals_do_not_depend_on_the_order_of_labels() -> None:
    straight = compute_associations(pair([[10, 20], [30, 40]], [40, 60]), seed=3)
    turned = Pair("kind", ["l1", "l0"], ["g0", "g1"], np.array([[30, 40], [10, 20]]),
                  np.array([40, 60]))  # fmt: skip
    assert compute_associations(turned, seed=3)[2:] == straight[:2]
