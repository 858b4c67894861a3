from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from curate.impact.experiment import OBFUSCATED, ORIGINAL
from curate.impact.train.cells import Cell, TrainingResults, list_cells, list_gaps
from curate.impact.train.measure import Transfer, measure
from curate.impact.train.report import list_transfer
from tests.impact.predictions.experiments import draw_logits, make_arm

REFERENCE, DEPLOYED = Cell(ORIGINAL, ORIGINAL), Cell(OBFUSCATED, ORIGINAL)


def make_trial(
    labels: np.ndarray, logits: Mapping[Cell, list[np.ndarray]], classes: int = 10
) -> TrainingResults:
    first = next(iter(logits.values()))
    return TrainingResults(
        labels=labels,
        classes=tuple(f"class {place}" for place in range(classes)),
        trained=np.full(classes, 7),
        seeds=tuple(range(len(first))),
        arms={cell: tuple(make_arm(each, labels) for each in own) for cell, own in logits.items()},
    )


def draw_trial(
    random: np.random.Generator,
    labels: np.ndarray,
    signals: Mapping[Cell, float] | None = None,
    leaning: float = 0.0,
    weighted: bool = False,
) -> TrainingResults:
    """Three networks for each cell; every network leans to some classes by chance."""
    cells = list_cells() + (list_cells(weighted=True) if weighted else ())
    logits = {
        cell: [
            draw_logits(random, labels, 10, (signals or {}).get(cell, 2.0))
            + random.normal(0, leaning, size=10)
            for _ in range(3)
        ]
        for cell in cells
    }
    return make_trial(labels, logits)


def test_the_same_networks_everywhere_have_equal_cells_and_no_gaps() -> None:
    labels = np.arange(200) % 10
    own = [draw_logits(np.random.default_rng(seed), labels, 10, 2.0) for seed in range(3)]
    found = measure(make_trial(labels, dict.fromkeys(list_cells(), own)), labels < 5)
    assert len({each.top1.value for each in found.accuracy.values()}) == 1
    assert {both.top1.value for both in found.gaps.values()} == {0.0}
    assert {both.top1.p for both in found.gaps.values()} == {1.0}
    assert all(move.kind == "none" for each in found.classes for move in each.gaps.values())


def test_a_planted_gap_is_found_in_its_own_cell_and_in_no_other() -> None:
    labels = np.arange(600) % 10
    trial = draw_trial(np.random.default_rng(1), labels, {DEPLOYED: 1.0})
    found = measure(trial)
    deployment = found.gaps["deployment"].top1
    assert deployment.interval.high < -0.1
    assert deployment.p < 0.01
    assert deployment.value == pytest.approx(
        found.accuracy[DEPLOYED].top1.value - found.accuracy[REFERENCE].top1.value
    )
    for name in ("diagonal", "unadapted"):
        low, high = found.gaps[name].top1.interval
        assert low < 0 < high


def test_a_class_that_is_lost_is_found_and_no_other() -> None:
    random, labels = np.random.default_rng(2), np.arange(800) % 10
    logits = {
        cell: [draw_logits(random, labels, 10, 3.0) for _ in range(3)] for cell in list_cells()
    }
    for each in logits[DEPLOYED]:
        each[labels == 4, 4] -= 3.0
    found = measure(make_trial(labels, logits))
    kinds = [each.gaps["deployment"].kind for each in found.classes]
    assert kinds == ["loss" if place == 4 else "none" for place in range(10)]
    assert found.classes[4].gaps["deployment"].q < 0.01
    assert (found.classes[4].trained, found.classes[4].tested) == (7, 80)


def test_chance_differences_of_networks_are_not_significant() -> None:
    """McNemar's test over images alone takes what differs between networks for an effect."""
    random, labels = np.random.default_rng(3), np.arange(500) % 10
    wrong = []
    for _ in range(40):
        found = measure(draw_trial(random, labels, leaning=0.7))
        wrong.append(any(each.gaps["deployment"].kind != "none" for each in found.classes))
    assert np.mean(wrong) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 40)


def test_groups_across_cells_and_effect_of_weights() -> None:
    random, labels = np.random.default_rng(4), np.arange(800) % 10
    group = np.where(np.arange(800) % 20 < 10, "many", "few")
    logits = {}
    for cell in list_cells() + list_cells(weighted=True):
        logits[cell] = [draw_logits(random, labels, 10, 2.5) for _ in range(3)]
        for each in logits[cell]:
            lost = 0.5 if cell.weighted else 1.5
            each[group == "few", labels[group == "few"]] -= lost
    found = measure(make_trial(labels, logits), None, {"size": [*group[:-1], None]})
    grouping = found.groupings[0]
    assert (grouping.name, grouping.unlabeled) == ("size", 1)
    gap = grouping.gap
    assert gap is not None
    assert (gap.best, gap.worst) == ("many", "few")
    assert gap.cells[REFERENCE].interval.low > 0.1
    assert gap.corrections[REFERENCE].estimate.interval.high < 0  # the weights narrow the gap
    few = next(part for part in grouping.groups if part.name == "few")
    assert few.corrections[REFERENCE].interval.low > 0
    low, high = found.corrections[REFERENCE].top1.interval
    assert low < found.corrections[REFERENCE].top1.value < high
    assert set(found.weighted_gaps) == {gap.name for gap in list_gaps()}


def test_small_groups_are_not_compared() -> None:
    labels = np.arange(100) % 10
    values = ["rare"] * 20 + ["common"] * 80
    found = measure(draw_trial(np.random.default_rng(5), labels), None, {"kind": values})
    grouping = found.groupings[0]
    assert [(part.name, part.n, part.compared) for part in grouping.groups] == [
        ("common", 80, True),
        ("rare", 20, False),
    ]
    assert grouping.gap is None


def test_there_is_no_top5_of_five_classes() -> None:
    labels = np.arange(60) % 5
    logits = {
        cell: [draw_logits(np.random.default_rng(6), labels, 5, 2.0)] for cell in list_cells()
    }
    found: Transfer = measure(make_trial(labels, logits, 5))
    assert found.accuracy[REFERENCE].top5 is None
    report = list_transfer(found)
    assert report["gaps"]["deployment"]["top5"] is None
    assert report["weighted"] is report["by_presence"] is None
    assert report["cells"][OBFUSCATED][ORIGINAL]["top1"]["per_seed"] == [
        pytest.approx(found.accuracy[DEPLOYED].top1.value)
    ]
