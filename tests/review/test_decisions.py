from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.core.faces import Face
from curate.core.geometry import Box, to_upright
from curate.review.decisions import (
    Decision,
    ReviewedFace,
    View,
    accept_all,
    final_faces,
    finds_removed,
    parse_faces,
    shows_face,
)

VIEW = View(width=100, height=60, orientation=1, frames=1, sha256="0" * 64)
PROPOSED = (
    Face(Box(10, 10, 30, 30), 0.9, ("centerface",)),
    Face(Box(50, 20, 60, 35), 0.4, ("centerface",)),
)
KEPT = [{"state": "kept", "origin": 0}, {"state": "kept", "origin": 1}]


def decide(*faces: ReviewedFace, **more: object) -> Decision:
    known = {"id": "a.jpg", "sha256": "0" * 64, "size": (100, 60), "reviewer": "ada"}
    return Decision(**{**known, "time": "2026-01-01T00:00:00Z", "faces": faces, **more})  # type: ignore[arg-type]


def added(*xyxy: float) -> ReviewedFace:
    return ReviewedFace(box=Box(*xyxy), state="added")


def test_what_the_page_sends_becomes_boxes_of_the_stored_image() -> None:
    said = [
        {"state": "rejected", "origin": 0},
        {"state": "changed", "origin": 1, "xyxy": [49, 19, 61, 36]},
        {"state": "added", "origin": None, "xyxy": [-0.4, 0, 8, 9]},
    ]
    rejected, changed, new = parse_faces(said, PROPOSED, VIEW)
    assert (rejected.state, rejected.box) == ("rejected", PROPOSED[0].box)
    assert changed.box == Box(49, 19, 61, 36)
    assert new.box == Box(0, 0, 8, 9), "a box that sticks out by less than a pixel is clipped"


@given(orientation=st.integers(1, 8), x=st.integers(0, 40), y=st.integers(0, 40))
def test_boxes_follow_the_orientation(orientation: int, x: int, y: int) -> None:
    view = replace(VIEW, width=90, height=70, orientation=orientation)
    xyxy = [x, y, x + 12, y + 20]
    [face] = parse_faces([{"state": "added", "origin": None, "xyxy": xyxy}], (), view)
    assert to_upright(face.box, orientation, 90, 70) == Box(*xyxy)
    assert 0 <= face.box.x0 < face.box.x1 <= 90
    assert 0 <= face.box.y0 < face.box.y1 <= 70


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("x", "must be a list"),
        ([1], "not an object"),
        ([{"state": "gone", "origin": 0}], "has the state"),
        ([{"state": "added", "origin": None, "xyxy": [90, 50, 120, 58]}], "outside the image"),
        ([{"state": "added", "origin": None, "xyxy": [-50, -50, -10, -10]}], "outside the image"),
        ([{"state": "added", "origin": None, "xyxy": [5, 5, 4, 9]}], "is not a box"),
        ([{"state": "added", "origin": None, "xyxy": [5, 5, 5.5, 9]}], "smaller than one pixel"),
        ([{"state": "added", "origin": None, "xyxy": [5, 5, float("nan"), 9]}], "is not a box"),
        ([{"state": "added", "origin": None, "xyxy": "abcd"}], "is not a box"),
        ([{"state": "added", "origin": 0, "xyxy": [1, 1, 9, 9]}], "has no origin"),
        ([{"state": "kept", "origin": True}], "not a proposed box"),
        ([{"state": "kept", "origin": 7}], "not a proposed box"),
        (
            [*KEPT, {"state": "added", "origin": None, "xyxy": [1, 1, 9, 9], "frames": [3]}],
            "frames",
        ),
        ([KEPT[0]], "does not cover every proposed box"),
        ([KEPT[0], KEPT[0]], "does not cover every proposed box"),
    ],
)
def test_answers_that_do_not_fit_are_one_clear_line(said: object, line: str) -> None:
    with pytest.raises(DataError, match=line) as caught:
        parse_faces(said, PROPOSED, VIEW)
    assert "\n" not in str(caught.value)


def test_a_box_without_frames_is_in_every_frame() -> None:
    view = replace(VIEW, frames=3)
    face = {"state": "added", "origin": None, "xyxy": [1, 1, 9, 9]}
    assert parse_faces([face], (), view)[0].frames == (0, 1, 2)
    assert parse_faces([{**face, "frames": [2, 0]}], (), view)[0].frames == (0, 2)
    [kept] = accept_all([Face(Box(1, 1, 9, 9), frames=())], 3)
    assert kept.frames == (0, 1, 2)


def test_decisions_survive_the_journal() -> None:
    decision = decide(
        added(1, 2, 3.25, 4), *accept_all(PROPOSED, 1), role="check", removed=1, found=True
    )
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


@pytest.mark.parametrize("key", ["id", "sha256", "size", "faces", "role", "found"])
def test_a_decision_without_a_key_is_refused(key: str) -> None:
    values = decide().to_dict()
    del values[key]
    with pytest.raises(DataError, match=key):
        Decision.from_dict(values)


def test_a_face_is_visible_unless_one_hidden_region_covers_it() -> None:
    assert not shows_face(decide(*accept_all(PROPOSED, 1)), PROPOSED, margin=0.1)
    assert not shows_face(decide(added(12, 12, 29, 29)), PROPOSED, margin=0.1), "inside another"
    assert shows_face(decide(added(70, 5, 80, 15)), PROPOSED, margin=0.1)
    grown = ReviewedFace(box=Box(5, 5, 45, 50), state="changed", origin=0)
    assert shows_face(decide(grown), PROPOSED, margin=0.1), "most of it was not hidden"
    moved = ReviewedFace(box=Box(11, 10, 31, 30), state="changed", origin=0)
    assert not shows_face(decide(moved), PROPOSED, margin=0.1)
    other = ReviewedFace(box=Box(12, 12, 29, 29), state="added", frames=(0, 1))
    assert shows_face(decide(other), PROPOSED, margin=0.1), "hidden in the first frame only"


def test_a_check_is_passed_by_a_box_around_the_removed_face() -> None:
    assert finds_removed(decide(added(11, 9, 31, 31), role="check", removed=0), PROPOSED)
    assert not finds_removed(decide(added(70, 5, 80, 15), role="check", removed=0), PROPOSED)
    assert not finds_removed(decide(role="check", removed=0), PROPOSED)


def test_faces_after_review_say_who_decided() -> None:
    first, second = accept_all(PROPOSED, 1)
    faces, state = final_faces([decide(first, replace(second, state="rejected"))], PROPOSED)
    assert (state, [face.decided_by for face in faces]) == ("reviewed", ["person"])
    assert (faces[0].confidence, faces[0].detectors) == (0.9, ("centerface",))
    faces, state = final_faces([], PROPOSED)
    assert (state, [face.decided_by for face in faces]) == ("not looked at", ["detector"] * 2)
    assert final_faces([decide(first, second, role="sample")], PROPOSED)[1] == "sampled"


def test_blind_reviewers_boxes_are_united() -> None:
    first, second = accept_all(PROPOSED, 1)
    a = decide(first, replace(second, state="rejected"))
    b = decide(
        replace(first, state="rejected"), replace(second, state="rejected"), added(1, 1, 9, 9)
    )
    faces, _ = final_faces([a, b], PROPOSED)
    assert {face.box for face in faces} == {PROPOSED[0].box, Box(1, 1, 9, 9)}


def test_a_check_adds_boxes_and_never_takes_one_away() -> None:
    check = decide(
        ReviewedFace(box=PROPOSED[0].box, state="rejected", origin=0),
        added(51, 20, 61, 34), added(80, 5, 90, 15), role="check", removed=1,
    )  # fmt: skip
    faces, state = final_faces([check], PROPOSED)
    assert state == "not looked at"
    assert [face.box for face in faces] == [*(f.box for f in PROPOSED), Box(80, 5, 90, 15)]


@pytest.mark.parametrize("origin", [2, 2**30])
def test_a_decision_about_a_box_that_was_not_proposed_is_one_line(origin: int) -> None:
    face = replace(accept_all(PROPOSED, 1)[0], origin=origin)
    with pytest.raises(DataError, match="has a box that was not proposed"):
        final_faces([decide(face)], PROPOSED)
