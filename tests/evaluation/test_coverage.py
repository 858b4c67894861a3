"""Coverage of the intervals of an evaluation on simulated data of known truth.

Faces of a photo are correlated: every photo has its own chance of detection. The scenarios have
few photos, many faces per photo, and rare misses, alone and together.
"""

from __future__ import annotations

import numpy as np
import pytest

from curate.core.calibration import measure_calibration
from curate.core.intervals import Floats
from curate.evaluation.matching import FaceTable, Rules
from curate.evaluation.scores import compare, estimate_share
from curate.evaluation.sweep import (
    CountedDetections,
    draw_curve,
    estimate_average_precision,
    sweep_groups,
)

DATASETS = 500
QUICK = Rules(ious=(0.5,), draws=200)


def draw_chances(random: np.random.Generator, n: int, mean: float, correlation: float) -> Floats:
    """A chance for each photo; faces of a photo have the given correlation."""
    if not correlation:
        return np.full(n, mean)
    total = 1 / correlation - 1
    return random.beta(mean * total, (1 - mean) * total, n)


@pytest.mark.parametrize(
    ("photos", "faces", "recall", "correlation"),
    [
        (15, 4, 0.8, 0.3),
        (30, 4, 0.95, 0.5),
        (40, 10, 0.9, 0.3),
        (40, 1, 0.9, 0.0),
        (12, 3, 0.6, 0.4),
        (120, 8, 0.65, 0.15),
    ],
)
def test_intervals_of_recall_and_precision_cover_the_truth(
    photos: int, faces: int, recall: float, correlation: float
) -> None:
    covered = 0
    for seed in range(DATASETS):
        random = np.random.default_rng([seed, photos])
        totals = random.integers(1, 2 * faces, photos)
        hits = random.binomial(totals, draw_chances(random, photos, recall, correlation))
        found = estimate_share(hits.astype(float), totals.astype(float), QUICK).interval
        covered += found.low <= recall <= found.high
    assert covered >= 0.93 * DATASETS


def draw_detections(random: np.random.Generator, photos: int, false: float) -> CountedDetections:
    """Photos of differing difficulty, which decides over misses, scores and false boxes."""
    ease = random.normal(size=photos)
    faces = random.integers(1, 8, photos)
    image = np.repeat(np.arange(photos), faces)
    score = ease[image] + random.normal(size=len(image)) + 1.8
    found = score > 0
    noise = random.normal(0, 0.7, len(image))
    boxes = np.repeat(np.arange(photos), random.poisson(false * random.gamma(1, 1, photos)))
    scores = np.concatenate(
        [(score + noise)[found], random.normal(-0.3, 1, len(boxes)) + 0.5 * ease[boxes]]
    )
    return CountedDetections(
        confidence=1 / (1 + np.exp(-scores)),
        right=np.arange(len(scores)) < found.sum(),
        image=np.concatenate([image[found], boxes]),
        faces=faces,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("photos", "false"), [(20, 1.0), (30, 0.05), (40, 1.0), (120, 1.0)])
def test_intervals_of_average_precision_cover_the_truth(photos: int, false: float) -> None:
    many = draw_detections(np.random.default_rng(1), 100_000, false)
    truth = many.draw_curve().average_precision
    covered = 0
    for seed in range(DATASETS):
        counted = draw_detections(np.random.default_rng([seed, photos]), photos, false)
        low, high = estimate_average_precision(counted, QUICK).interval
        covered += low <= truth <= high
    assert covered >= 0.93 * DATASETS


@pytest.mark.parametrize(("photos", "shift"), [(40, 0.0), (200, 0.0), (40, 0.15), (200, 0.15)])
def test_calibration_error_of_correlated_detections(photos: int, shift: float) -> None:
    """Accuracy is ``shift`` below the confidence in every bin, and whole photos deviate alike."""
    covered, found = 0, []
    for seed in range(DATASETS):
        random = np.random.default_rng([seed, photos])
        image = np.repeat(np.arange(photos), random.integers(1, 8, photos))
        confidence = random.uniform(0.3, 1, len(image))
        # Two of three detections of a photo share one draw.
        joint = random.random(photos)[image]
        draws = np.where(random.random(len(image)) < 2 / 3, joint, random.random(len(image)))
        one = measure_calibration([(confidence, draws < confidence - shift)], image)
        covered += one.interval.low <= shift <= one.interval.high
        found.append((one.ece, one.debiased, one.calibrated))
    assert covered >= 0.93 * DATASETS
    error, debiased, calibrated = np.mean(found, axis=0)
    assert abs(debiased - shift) < max(error - shift, 0.005)
    if not shift:
        assert error == pytest.approx(calibrated, rel=0.15)


def draw_faces(
    random: np.random.Generator, photos: int, recall: Floats, correlation: float
) -> FaceTable:
    """Photos with one to six faces, each of one of the groups."""
    image = np.repeat(np.arange(photos), random.integers(1, 7, photos))
    group = random.integers(len(recall), size=len(image))
    strength = draw_chances(random, photos, 0.5, correlation)[image] - 0.5 if correlation else 0.0
    chance = np.clip(recall[group] + 2 * strength * np.minimum(recall, 1 - recall)[group], 0, 1)
    good = random.random(len(image)) < chance
    return FaceTable(
        image=image,
        height=np.full(len(image), 30.0),
        found=np.where(good, 0.9, np.nan)[:, None],
        good=np.stack([good, good], axis=1),
        attributes={"tone": [f"{each:02}" for each in group]},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "photos", "correlation", "worst"),
    [(2, 40, 0.3, 0.85), (7, 150, 0.0, 0.85), (7, 150, 0.3, 0.85), (12, 250, 0.3, 0.85),
     (7, 150, 0.3, 0.6)],
)  # fmt: skip
def test_gaps_of_the_best_and_the_worst_group_cover_the_truth(
    groups: int, photos: int, correlation: float, worst: float
) -> None:
    recall = np.full(groups, 0.85)
    recall[0] = worst
    covered = from_rest = compared = 0
    for seed in range(DATASETS):
        table = draw_faces(np.random.default_rng([seed, groups]), photos, recall, correlation)
        for gap in compare(table, "tone", QUICK).gaps:
            if gap.measure != "recall_50":
                continue
            own = int(gap.group)
            if gap.against is not None:
                truth = recall[own] - recall[int(gap.against)]
                covered += gap.interval.low <= truth <= gap.interval.high
            else:
                truth = recall[own] - np.delete(recall, own).mean()
                from_rest += gap.interval.low <= truth <= gap.interval.high
                compared += 1
    assert covered >= 0.93 * DATASETS
    assert from_rest >= 0.93 * compared


def score_faces(
    random: np.random.Generator, photos: int, shifts: Floats
) -> tuple[FaceTable, FaceTable]:
    """Faces whose scores are logistic around their group's shift, matched from .5 and from .02."""
    image = np.repeat(np.arange(photos), random.integers(1, 7, photos))
    group = random.integers(len(shifts), size=len(image))
    joint = random.normal(0, 0.7, photos)[image]
    score = shifts[group] + joint + random.normal(0, 1, len(image))
    confidence = 1 / (1 + np.exp(-score))
    tables = []
    for low in (0.5, 0.02):
        found = np.where(confidence >= low, confidence, np.nan)[:, None]
        good = np.isfinite(found).repeat(2, axis=1)
        values = [f"{each}" for each in group]
        tables.append(FaceTable(image, np.full(len(image), 30.0), found, good, {"tone": values}))
    return tables[0], tables[1]


@pytest.mark.slow
@pytest.mark.parametrize("photos", [60, 300])
@pytest.mark.parametrize("worst", [0.0, -3.2, -4.5])
def test_thresholds_of_equal_recall_cover_the_truth(photos: int, worst: float) -> None:
    """The worst group needs a lower threshold; with -4.5 none of the sweep is low enough."""
    shifts = np.array([1.0, worst])
    truth = 1 / (1 + np.exp(-(worst - 1.0)))
    covered, unreached = 0, []
    for seed in range(DATASETS):
        tables = score_faces(np.random.default_rng([seed, photos]), photos, shifts)
        scores = compare(tables[0], "tone", Rules(ious=(0.5,), draws=2)).groups
        curve = draw_curve([0.02, 0.9], [True, True], 2)
        sweep = sweep_groups("tone", scores, tables, curve, QUICK)
        assert sweep is not None
        if sweep.best != "0":
            continue
        found = sweep.group_thresholds[1]
        low, high = (-np.inf if end is None else end for end in found.interval)
        covered += low <= (truth if truth >= 0.02 else -np.inf) <= high
        unreached.append(found.unreached)
    assert len(unreached) > 0.95 * DATASETS
    assert covered >= 0.93 * len(unreached)
    if worst == -4.5:
        assert np.mean(unreached) > 0.9
