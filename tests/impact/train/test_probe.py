from __future__ import annotations

import numpy as np
import pytest

from curate.impact.train.probe import STRENGTHS, Features, Probe, _Task, fit_probe, hold_out


def draw_features(
    n: int, classes: int, width: int, signal: float, seed: int = 0
) -> tuple[Features, np.ndarray]:
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, width))
    labels = random.integers(0, classes, n)
    values = random.normal(size=(n, width)) + signal * centers[labels]
    # On scales of their own, as features are.
    values = values * np.linspace(0.1, 30, width) + np.linspace(-5, 5, width)
    return Features(values.astype(np.float32), np.arange(n)), labels


def accuracy(probe: Probe, features: Features, labels: np.ndarray) -> float:
    return float((probe.predict(features).argmax(axis=1) == labels).mean())


def test_probe_separates_classes_deterministically() -> None:
    features, labels = draw_features(300, 4, 8, 1.0)
    probe = fit_probe(features, labels, 4, seed=0)
    again = fit_probe(features, labels, 4, seed=0)
    assert np.array_equal(probe.weights, again.weights)
    others, other_labels = draw_features(300, 4, 8, 1.0, seed=1)
    assert accuracy(probe, others, other_labels) > 0.8
    assert probe.strength in STRENGTHS
    assert len(probe.held_out) == len(STRENGTHS)


def test_features_without_signal_get_the_strongest_penalties() -> None:
    features, labels = draw_features(200, 3, 60, 0.0)
    assert fit_probe(features, labels, 3, seed=0).strength >= 0.1


def test_the_gradient_is_that_of_the_objective() -> None:
    features, labels = draw_features(50, 3, 4, 0.5)
    counts = np.random.default_rng(3).random(50)
    task = _Task(features, labels, counts, np.zeros(4), np.ones(4), 0.3)
    at = np.random.default_rng(4).normal(size=15) / 10
    _, slope = task.value(at, 3)
    for place in range(15):
        step = np.eye(15)[place] * 1e-6
        numeric = (task.value(at + step, 3)[0] - task.value(at - step, 3)[0]) / 2e-6
        assert slope[place] == pytest.approx(numeric, abs=1e-4)


def test_it_is_the_optimum_that_scikit_learn_finds() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    features, labels = draw_features(150, 3, 5, 0.7)
    weights = np.random.default_rng(5).random(150) * 2
    weights /= weights.mean()
    probe = fit_probe(features, labels, 3, seed=0, weights=weights)
    x = (features.values.astype(np.float64) - probe.mean) / probe.scale
    # Its penalty is half of |w|² against C times the sum of losses.
    oracle = linear.LogisticRegression(C=1 / (probe.strength * 150), tol=1e-8, max_iter=5000)
    oracle.fit(x, labels, sample_weight=weights)
    expected = oracle.predict_log_proba(x)
    assert np.abs(probe.predict(features) - expected).max() < 0.02


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = draw_features(100, 3, 5, 1.0)
    whole = fit_probe(features, labels, 3, seed=0)
    monkeypatch.setattr("curate.impact.train.probe._ROWS", 7)
    pieces = fit_probe(features, labels, 3, seed=0)
    assert np.allclose(whole.predict(features), pieces.predict(features), atol=1e-3)


def test_weights_count() -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(200, 2)).astype(np.float32)
    labels = random.integers(0, 2, 200)
    weights = np.where(labels == 1, 1.9, 0.1)
    probe = fit_probe(Features(values, np.arange(200)), labels, 2, seed=0, weights=weights)
    assert (probe.predict(Features(values, np.arange(200))).argmax(axis=1) == 1).mean() > 0.95


def test_a_part_of_every_class_is_held_out_but_never_all_of_it() -> None:
    labels = np.array([0] * 10 + [1] * 3 + [2])
    kept, held = hold_out(labels, 0.2, seed=0)
    assert sorted([*kept, *held]) == list(range(14))
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 1, 0]
    assert not np.array_equal(held, hold_out(labels, 0.2, seed=1)[1])


def test_constant_features_are_harmless() -> None:
    features, labels = draw_features(60, 2, 3, 2.0)
    values = np.concatenate([features.values, np.ones((60, 1), np.float32)], axis=1)
    probe = fit_probe(Features(values, np.arange(60)), labels, 2, seed=0)
    assert np.isfinite(probe.weights).all()
    assert accuracy(probe, Features(values, np.arange(60)), labels) > 0.9
