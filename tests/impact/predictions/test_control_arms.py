from __future__ import annotations

import numpy as np
import pytest

from curate.impact.experiment import Arm, Experiment, Faces, Model
from curate.impact.predictions.control_arms import (
    RANDOM_REGION,
    REENCODED,
    Controls,
    compare_arms,
    describe_controls,
    excludes_zero,
)

CLASSES = 6


def arm(right: np.ndarray) -> Arm:
    """An arm in which some images are right and the others rank third."""
    rank = np.where(right, 0, 2)
    return Arm(rank.copy(), rank, np.full(len(rank), 0.5), np.full(CLASSES, 0.5))


def lose(
    random: np.random.Generator, right: np.ndarray, chance: float, among: np.ndarray
) -> np.ndarray:
    return right & ~(among & (random.random(len(right)) < chance))


def draw(
    seed: int, n: int, encoding: float, hiding: float, faces: float
) -> tuple[Experiment, dict[str, Arm], Faces]:
    """Images of which half have faces, and arms that lose a share of these at every step."""
    random = np.random.default_rng(seed)
    present = np.arange(n) % 2 == 0
    original = random.random(n) < 0.8
    reencoded = lose(random, original, encoding, present)
    elsewhere = lose(random, reencoded, hiding, present)
    obfuscated = lose(random, elsewhere, faces, present)
    experiment = Experiment(
        np.zeros(n, dtype=np.int64),
        tuple("abcdef"),
        (Model(arm(original), arm(obfuscated)),),
        CLASSES,
    )
    controls = {REENCODED: arm(reencoded), RANDOM_REGION: arm(elsewhere)}
    return experiment, controls, Faces(present * 0.1, present.astype(np.int64))


def step(controls: Controls, before: str, after: str) -> float:
    [found] = [each for each in controls.steps if (each.before, each.after) == (before, after)]
    return found.top1.difference


def test_steps_add_up_to_the_total() -> None:
    controls = compare_arms(*draw(0, 4000, 0.02, 0.05, 0.2), seed=0)
    parts = [
        step(controls, "original", REENCODED),
        step(controls, REENCODED, RANDOM_REGION),
        step(controls, RANDOM_REGION, "obfuscated"),
    ]
    assert sum(parts) == pytest.approx(step(controls, "original", "obfuscated"))
    assert step(controls, REENCODED, "obfuscated") == pytest.approx(parts[1] + parts[2])


def test_intervals_of_steps_have_nominal_coverage() -> None:
    # Half of the images have faces, and four fifths of these can be lost.
    truth = {
        ("original", REENCODED): -0.02 * 0.4,
        (REENCODED, RANDOM_REGION): -0.05 * 0.4 * 0.98,
        (RANDOM_REGION, "obfuscated"): -0.2 * 0.4 * 0.98 * 0.95,
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(60):
        experiment, controls, faces = draw(seed, 1000, 0.02, 0.05, 0.2)
        for each in compare_arms(experiment, controls, faces, seed).steps:
            if (each.before, each.after) in truth:
                low, high = each.top1.interval
                held[each.before, each.after] += low <= truth[each.before, each.after] <= high
    for share in held.values():
        assert share / 60 >= 0.95 - 3 * (0.95 * 0.05 / 60) ** 0.5


def test_encoding_effect_is_not_attributed_to_faces() -> None:
    controls = compare_arms(*draw(1, 4000, 0.1, 0, 0), seed=0)
    by_name = {(each.before, each.after): each for each in controls.steps}
    assert excludes_zero(by_name["original", "obfuscated"].top1)
    assert excludes_zero(by_name["original", REENCODED].top1)
    assert not excludes_zero(by_name[REENCODED, "obfuscated"].top1)
    assert by_name[REENCODED, "obfuscated"].test.p == 1


def test_images_without_faces_are_not_among_those_with() -> None:
    experiment, controls, faces = draw(2, 1000, 0, 0, 0.3)
    found = {
        (each.before, each.after): each
        for each in compare_arms(experiment, controls, faces, 0).steps
    }["original", "obfuscated"]
    assert found.present is not None
    assert found.present.n == 500
    assert found.present.difference == pytest.approx(2 * found.top1.difference)
    unknown = compare_arms(experiment, controls, None, 0)
    assert all(each.present is None for each in unknown.steps)


def test_top5_is_left_out_where_fewer_are_ranked() -> None:
    experiment, controls, faces = draw(3, 100, 0, 0, 0.3)
    few = Experiment(experiment.labels, experiment.classes, experiment.models, depth=3)
    found = compare_arms(few, controls, faces, 0)
    assert {each.top5 for each in found.accuracies} == {None}
    assert {each.top5 for each in found.steps} == {None}
    assert [each.top5 for each in compare_arms(experiment, controls, faces, 0).accuracies] == [
        1.0, 1.0, 1.0, 1.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arms", "lines"),
    [
        ((), 0),
        ((REENCODED,), 3),
        ((RANDOM_REGION,), 3),
        ((REENCODED, RANDOM_REGION), 4),
    ],
)
def test_every_selection_of_arms_is_described(arms: tuple[str, ...], lines: int) -> None:
    experiment, controls, faces = draw(4, 2000, 0.1, 0, 0.3)
    chosen = {name: controls[name] for name in arms}
    told = list(describe_controls(compare_arms(experiment, chosen, faces, 0)))
    assert len(told) == lines
    if told:
        assert told[0].startswith("In total, obfuscation changes top-1 accuracy by −")
        assert "includes 0" not in told[-1]
    if len(arms) == 2:
        assert told[2].startswith("Hiding as much")
        assert "accounts for +0.00 points" in told[2]
        assert "includes 0" in told[2]
