from __future__ import annotations

import pytest

from curate.core.faces import Face
from curate.core.geometry import Box
from curate.review import priority
from curate.review.priority import Prospect


def face(height: float, confidence: float = 0.9, detectors: tuple[str, ...] = ("a", "b")) -> Face:
    return Face(Box(0, 0, height, height), confidence, detectors)


def test_small_uncertain_and_disputed_faces_promise_more() -> None:
    def expect(*faces: Face) -> float:
        return priority.expected_missed(Prospect(faces=faces, detectors=2))

    assert expect(face(12)) > expect(face(20)) > expect(face(100)) > expect()
    assert expect(face(50, 0.3)) > expect(face(50, 0.9))
    assert expect(face(50, 0.9, ("a",))) > expect(face(50, 0.9, ("a", "b")))


def test_work_is_counted_too() -> None:
    many = Prospect(faces=[face(200)] * 30)
    few = Prospect(faces=[face(12)] * 2)
    assert priority.expected_missed(many) > priority.expected_missed(Prospect(faces=[face(200)]))
    assert priority.rank(few) > priority.rank(many)
    assert priority.rank(Prospect(faces=(), pixels=40_000_000)) < priority.rank(Prospect(faces=()))


def test_a_contradicted_copy_comes_before_everything() -> None:
    crowd = Prospect(faces=[face(10, 0.2, ("a",))] * 50, detectors=2)
    assert priority.rank(Prospect(faces=(), contradicted=True)) > priority.rank(crowd)


def test_groups_with_more_missed_faces_than_expected_come_first() -> None:
    seen = [("g=a", 0.1, 1)] * 40 + [("g=b", 0.1, 0)] * 40
    factors = priority.group_factors(seen)
    assert factors["g=a"] > 1 > factors["g=b"]
    few = priority.group_factors([("g=a", 0.1, 1)])
    assert few["g=a"] == pytest.approx(1.0, abs=0.2), "one image says little"


def test_only_certain_images_stand_on_the_contact_sheet() -> None:
    assert priority.is_confident([])
    assert priority.is_confident([face(50, 0.95)])
    assert not priority.is_confident([face(50, 0.95), face(50, 0.5)])
