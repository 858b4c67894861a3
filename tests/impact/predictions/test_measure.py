from __future__ import annotations

import json
import math

import numpy as np
import pytest

from curate.impact.experiment import Faces, Hits
from curate.impact.paired import make_bootstrap
from curate.impact.predictions.measure import (
    by_face_count,
    by_hidden_share,
    fit_slope,
    measure,
    measure_faces,
)
from curate.impact.predictions.report import list_impact
from tests.impact.predictions.experiments import draw_logits, make_experiment

QUICK = make_bootstrap(1, draws=300)


def draw(random: np.random.Generator, n: int, slope: float) -> tuple[Hits, Faces]:
    """Images of which 40 % have faces; each is lost with a chance of slope × share."""
    shares = np.where(random.random(n) < 0.4, random.beta(1, 6, n), 0.0)
    before = random.random(n) < 0.9
    after = before & ~(random.random(n) < slope * shares / 0.9)
    counts = np.where(shares > 0, random.integers(1, 14, n), 0)
    return Hits(before[:, None], after[:, None]), Faces(shares, counts)


def test_every_image_is_in_one_bin() -> None:
    hits, faces = draw(np.random.default_rng(0), 500, 0.5)
    for strata in (by_hidden_share(hits, faces, QUICK), by_face_count(hits, faces, QUICK)):
        assert sum(stratum.top1.n for stratum in strata) == 500
    found = measure_faces(hits, faces, QUICK)
    present, absent = found.present, found.absent
    assert present.n + absent.n == 500
    assert absent.difference == 0 > present.difference


def test_bins_are_closed_at_the_upper_end() -> None:
    faces = Faces(np.array([0.0, 0.01, 0.0101, 1.0]), np.array([0, 1, 4, 11]))
    hits = Hits(np.ones((4, 1), dtype=bool), np.ones((4, 1), dtype=bool))
    by_share = by_hidden_share(hits, faces, QUICK)
    assert [stratum.top1.n for stratum in by_share] == [1, 1, 1, 0, 0, 0, 1]
    by_count = by_face_count(hits, faces, QUICK)
    assert [(each.low, each.high, each.top1.n) for each in by_count] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 2, 0),
        (3, 4, 1),
        (5, 9, 0),
        (10, None, 1),
    ]


def test_the_slope_is_least_squares() -> None:
    hits, faces = draw(np.random.default_rng(1), 300, 0.5)
    found = fit_slope(hits, faces, QUICK)
    assert found is not None
    expected = np.polyfit(faces.shares, hits.differences[:, 0], 1)[0]
    assert found.value == pytest.approx(expected)


@pytest.mark.parametrize("n", [60, 100, 300, 1000])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_the_interval_of_the_slope_covers_the_truth(n: int, slope: float) -> None:
    held = 0
    for seed in range(500):
        random = np.random.default_rng([seed, n])
        shares = np.where(random.random(n) < 0.4, random.beta(1, 6, n), 0.0)
        before, draws = random.random(n) < 0.8, random.random(n)
        after = np.where(before, draws >= 0.02 + slope * shares, draws < 0.02)
        hits = Hits(before[:, None], after[:, None])
        found = fit_slope(hits, Faces(shares, (shares > 0).astype(np.int64)), QUICK)
        assert found is not None
        assert found.rough == (n < 1000)
        held += found.interval.low <= -0.8 * slope <= found.interval.high
    assert held >= 0.93 * 500


def test_constant_share_has_no_slope() -> None:
    hits, faces = draw(np.random.default_rng(3), 50, 0.5)
    assert fit_slope(hits, Faces(np.zeros(50), faces.counts), QUICK) is None


def test_identical_predictions_have_no_effect() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, size=300)
    logits = draw_logits(random, labels, 6, 2.0)
    faces = Faces(random.random(300), random.integers(0, 4, 300))
    groups = {"tone": [str(value) for value in random.integers(0, 2, 300)]}
    experiment = make_experiment([(logits, logits)], labels)
    found = list_impact(measure(experiment, faces, groups))
    assert found["top1"]["difference"] == found["top5"]["difference"] == 0
    assert found["mcnemar"] == {"b": 0, "c": 0, "p": 1.0}
    assert {row["kind"] for row in found["per_class"]} == {"none"}
    assert {row["difference"] for row in found["by_blurred_share"]} <= {0, None}
    assert found["by_group"]["tone"]["gap"]["growth"]["value"] == 0
    assert found["calibration"]["original"] == found["calibration"]["obfuscated"]
    assert found["average_precision"]["difference"] == 0
    json.dumps(found, allow_nan=False)


def test_interval_of_top1_has_nominal_coverage_under_the_null() -> None:
    wrong = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(4), 60)
        truth = draw_logits(random, labels, 4, 1.5)
        pair = [truth + random.normal(0, 0.5, truth.shape) for _ in range(2)]
        found = measure(make_experiment([(pair[0], pair[1])], labels), seed=seed)
        interval = found.top1.interval
        wrong += not interval.low <= 0 <= interval.high
    assert wrong / 200 <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 200)


def test_what_does_not_depend_on_faces_is_the_same_without_them() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 5, size=200)
    logits = draw_logits(random, labels, 5, 1.0)
    experiment = make_experiment([(logits, logits + random.normal(size=logits.shape))], labels)
    faces = Faces(random.random(200), random.integers(0, 4, 200))
    with_faces, without = (
        list_impact(measure(experiment, faces)),
        list_impact(measure(experiment)),
    )
    assert without["by_blurred_share"] == without["by_faces"] == []
    assert without["blurred_share_slope"] is without["by_presence"] is None
    for key in ("top1", "top5", "per_class", "calibration", "selective", "power"):
        assert without[key] == with_faces[key]


def test_several_models_are_averaged() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 5, size=150)
    pairs = [
        (draw_logits(random, labels, 5, 1.0), draw_logits(random, labels, 5, 0.5)) for _ in range(3)
    ]
    single = [measure(make_experiment([pair], labels)) for pair in pairs]
    joint = measure(make_experiment(pairs, labels))
    for name in ("original", "obfuscated"):
        expected = np.mean([getattr(each.top1, name) for each in single])
        assert getattr(joint.top1, name) == pytest.approx(expected)
    assert joint.calibration is not None
    assert joint.calibration[0].ece == pytest.approx(
        np.mean([each.calibration[0].ece for each in single if each.calibration])
    )
    assert joint.precision[0] == pytest.approx(np.mean([each.precision[0] for each in single]))
    assert sum(each.n for each in joint.calibration[0].bins) == 450
