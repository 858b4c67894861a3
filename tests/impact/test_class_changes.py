from __future__ import annotations

import numpy as np

from curate.impact.class_changes import ClassChange, compare_classes
from curate.impact.paired import make_bootstrap
from tests.impact.predictions.experiments import draw_logits, make_experiment

CLASSES, EACH = 20, 60
LABELS = np.repeat(np.arange(CLASSES), EACH)
QUICK = make_bootstrap(1, draws=200)


def compare(before: np.ndarray, after: np.ndarray) -> list[ClassChange]:
    return compare_classes(make_experiment([(before, after)], LABELS), QUICK)


def look_alikes(random: np.random.Generator) -> np.ndarray:
    """Classes 0 and 1 are told from the others with ease, from each other hardly."""
    logits = draw_logits(random, LABELS, CLASSES, signal=4.0)
    both = LABELS < 2
    logits[both, :2] += 4.0
    own = LABELS[both]
    logits[np.flatnonzero(both), own] -= 3.6
    return logits


def test_planted_swaps_are_found_and_nothing_else() -> None:
    found = 0
    for seed in range(20):
        before = look_alikes(np.random.default_rng(seed))
        after = before.copy()
        after[:, 0] -= 0.8  # the line between both is drawn elsewhere
        after[:, 1] += 0.8
        changes = compare(before, after)
        kinds = [change.kind for change in changes]
        found += kinds[:2] == ["swap", "swap"]
        assert "swap" not in kinds[2:]
        first = changes[0].confusion
        assert first is not None
        assert first.index == 1
        assert changes[0].top1.difference < 0 < changes[1].top1.difference
    assert found >= 18


def test_losses_and_gains_of_evidence() -> None:
    random = np.random.default_rng(2)
    before = draw_logits(random, LABELS, CLASSES, signal=3.0)
    after = before.copy()
    after[LABELS == 4, 4] -= 3.0
    after[LABELS == 7, 7] += 3.0
    kinds = [change.kind for change in compare(before, after)]
    assert (kinds[4], kinds[7]) == ("loss", "gain")
    assert set(kinds) - {"loss", "gain"} == {"none"}


def test_loss_of_precision_is_not_a_swap() -> None:
    random = np.random.default_rng(3)
    before = draw_logits(random, LABELS, CLASSES, signal=5.0)
    after = before.copy()
    after[LABELS == 4, 4] -= 5.0
    after[LABELS == 4, 5] += 5.0
    changes = compare(before, after)
    assert changes[4].confusion is not None
    assert changes[4].confusion.index == 5
    assert changes[4].kind == "loss"


def test_false_discoveries_under_the_null() -> None:
    wrong = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth = draw_logits(random, LABELS, CLASSES, signal=2.0)
        before = truth + random.normal(0, 0.5, truth.shape)
        after = truth + random.normal(0, 0.5, truth.shape)
        wrong += any(change.kind != "none" for change in compare(before, after))
    assert wrong / 60 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 60)


def test_identical_predictions_change_nothing_and_empty_classes_are_left_out() -> None:
    labels = np.array([0, 0, 2])
    logits = np.eye(3)[labels]
    changes = compare_classes(make_experiment([(logits, logits)], labels), QUICK)
    assert [change.index for change in changes] == [0, 2]
    assert {change.kind for change in changes} == {"none"}
    assert {change.confusion for change in changes} == {None}


def test_models_are_averaged_per_class() -> None:
    random = np.random.default_rng(4)
    before = look_alikes(random)
    after = before.copy()
    after[:, 0] -= 0.8
    after[:, 1] += 0.8
    experiment = make_experiment([(before, after)] * 3, LABELS)
    changes = compare_classes(experiment, make_bootstrap(3, draws=200))
    single = compare(before, after)
    assert [change.q for change in changes] == [change.q for change in single]
    assert changes[0].confusion == single[0].confusion
    assert changes[0].kind == "swap"


def test_loss_to_a_class_without_images_is_not_a_swap() -> None:
    swaps = losses = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(1, CLASSES), EACH)  # none of class 0
        before = draw_logits(random, labels, CLASSES, signal=4.0)
        after = before.copy()
        after[labels == 1, 0] += 5.0
        found = compare_classes(make_experiment([(before, after)], labels), QUICK)[0]
        assert found.confusion is not None
        assert (found.confusion.index, found.confusion.images) == (0, 0)
        swaps += found.kind == "swap"
        losses += found.kind == "loss"
    assert (swaps, losses) == (0, 20)
