from __future__ import annotations

import json
import math

import numpy as np
import pytest

from curate.impact.predictions.measure import measure
from curate.impact.predictions.report import to_dict
from curate.impact.predictions.strata import Faces
from tests.impact.predictions.experiments import draw_logits, make_experiment


def test_identical_predictions_show_no_effect_anywhere() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, size=300)
    logits = draw_logits(random, labels, 6, 2.0)
    faces = Faces(random.random(300), random.integers(0, 4, 300))
    groups = {"tone": [str(value) for value in random.integers(0, 2, 300)]}
    found = to_dict(measure(make_experiment([(logits, logits)], labels), faces, groups))
    assert found["top1"]["difference"] == found["top5"]["difference"] == 0
    assert found["mcnemar"] == {"b": 0, "c": 0, "p": 1.0}
    assert {row["kind"] for row in found["per_class"]} == {"none"}
    assert {row["difference"] for row in found["by_blurred_share"]} <= {0, None}
    assert found["by_group"]["tone"]["gap"]["difference"] == 0
    assert found["calibration"]["original"] == found["calibration"]["obfuscated"]
    assert found["average_precision"]["difference"] == 0
    json.dumps(found, allow_nan=False)


def test_of_no_effect_the_interval_of_top1_leaves_zero_out_as_seldom_as_it_says() -> None:
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
    with_faces, without = to_dict(measure(experiment, faces)), to_dict(measure(experiment))
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
