from __future__ import annotations

import json

import pytest

from curate.core.errors import UsageError
from curate.core.faces import TruthFace, TruthImage
from curate.core.geometry import shift
from curate.core.intervals import Interval
from curate.evaluation.matching import Rules, match_image
from curate.evaluation.measure import measure
from curate.evaluation.report import to_dict
from curate.evaluation.scores import count_false_boxes
from tests.evaluation.scenes import FACE, RULES, cut, detection, simulate


def test_measures_of_a_case_computed_by_hand() -> None:
    """Two faces, one of them found; one false box there, and two on a face-free photo."""
    away = shift(FACE, 200, 0)
    images = [
        match_image(
            TruthImage("a", (TruthFace(FACE), TruthFace(shift(FACE, 90, 0)))),
            [detection(FACE, 0.9), detection(away, 0.8)],
            RULES,
        ),
        match_image(TruthImage("b"), [detection(FACE, 0.3), detection(away, 0.2)], RULES),
        match_image(TruthImage("c"), [], RULES),
    ]
    found = measure(images, RULES)
    assert found.overall.measures["recall_30"].share.value == 0.5
    assert found.overall.measures["hidden"].share.value == 0.5
    assert found.precision[0.5].share.value == 0.25
    assert found.average_precision[0.5].value == 0.5
    assert found.average_precision[0.5].coco == pytest.approx(51 / 101)  # recalls 0 to 0.5
    assert (found.face_free.boxes, found.face_free.per_image) == (2, 1.0)
    assert (found.face_free.with_box.hits, found.face_free.with_box.total) == (1, 2)
    assert found.detections == 4


def test_measures_without_any_face_are_null() -> None:
    found = measure([match_image(TruthImage("a"), [detection(FACE)], RULES)], RULES, swept=[])
    plain = to_dict(found)
    assert plain["overall"]["hidden"]["value"] is None
    assert plain["average_precision"] == {}
    assert plain["sweep"] is None
    json.dumps(plain, allow_nan=False)
    json.dumps(to_dict(measure([], RULES)), allow_nan=False)


def test_attributes_are_chosen_by_number_of_values_or_requested() -> None:
    values = [{"tone": "I", "name": f"{n}", "set": "one"} for n in range(20)]
    values[0]["tone"] = "VI"
    images = [
        match_image(TruthImage(f"{n}", (TruthFace(FACE, each),)), [], RULES)
        for n, each in enumerate(values)
    ]
    assert [each.name for each in measure(images, RULES).groupings] == ["tone"]
    asked = measure(images, RULES, by=["name", "set", "name"])
    assert [each.name for each in asked.groupings] == ["name", "set"]
    for unknown in ("age", "tone,age"):
        with pytest.raises(UsageError, match="'age'; choose one of: name, set, tone"):
            measure(images, RULES, by=[unknown])


def test_attributes_can_be_crossed() -> None:
    values = [{"tone": "I", "age": "old"}] * 12 + [{"tone": "VI", "age": "Unknown"}] * 11
    values += [{"tone": "VI", "age": "young"}] * 10 + [{"tone": "VI"}] * 3
    images = [
        match_image(TruthImage(f"{n}", (TruthFace(FACE, each),)), [detection(FACE)], RULES)
        for n, each in enumerate(values)
    ]
    found = measure(images, RULES, by=["tone, age", "tone,age"], swept=images)
    [grouping] = found.groupings
    assert grouping.name == "tone,age"
    assert grouping.unlabeled == 3
    assert {group.name: (group.faces, group.compared) for group in grouping.groups} == {
        "I & old": (12, True),
        "VI & Unknown": (11, False),
        "VI & young": (10, True),
    }
    assert {gap.measure for gap in grouping.gaps} == set(RULES.measures)
    assert found.sweep is not None
    assert [each.name for each in found.sweep.groups] == ["tone,age"]


def test_calibration_needs_probabilities() -> None:
    truth = TruthImage("a", (TruthFace(FACE),))
    sure = measure([match_image(truth, [detection(FACE, 0.75)], RULES)], RULES)
    assert sure.calibration[0.5].ece == 0.25
    assert measure([match_image(truth, [detection(FACE, 7.5)], RULES)], RULES).calibration == {}


def test_the_measures_are_repeatable() -> None:
    swept = simulate({"I": 0.9, "VI": 0.5}, photos=50)
    images = cut(swept, 0.5)
    first = json.dumps(to_dict(measure(images, RULES, swept=swept)), allow_nan=False)
    assert json.dumps(to_dict(measure(images, RULES, swept=swept))) == first
    assert json.dumps(to_dict(measure(images, Rules(seed=1), swept=swept))) != first


def test_false_boxes_on_face_free_images() -> None:
    none = count_false_boxes([], 0)
    assert (none.per_image, none.interval) == (None, None)
    clean = count_false_boxes([0] * 100, 0)
    assert clean.per_image == 0
    assert clean.interval == Interval(0.0, pytest.approx(0.0369, abs=1e-4))  # type: ignore[arg-type]
    some = count_false_boxes([0] * 80 + [1] * 15 + [6] * 5, 0)
    assert some.per_image == 0.45
    assert some.interval is not None
    assert some.interval.low < 0.25 < 0.45 < 0.65 < some.interval.high  # Poisson: 0.33 to 0.60
