from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.faces import Detection, TruthFace
from curate.core.geometry import Box, covered, iou, shift
from curate.evaluation.matching import by_confidence, match, overlaps
from tests.evaluation.scenes import FACE, detection


def test_the_most_confident_takes_the_face_and_the_second_is_false() -> None:
    detections = by_confidence([detection(FACE, 0.3), detection(shift(FACE, 1, 0), 0.9)])
    matching = match(detections, [TruthFace(FACE)], [True], 0.5)
    assert matching.faces == (0,)
    assert matching.neutral == (False, False)


def test_a_detection_matches_the_face_of_the_highest_overlap() -> None:
    faces = [TruthFace(FACE), TruthFace(shift(FACE, 4, 0))]
    detections = by_confidence(
        [detection(shift(FACE, 3, 0), 0.9), detection(shift(FACE, 2, 0), 0.8)]
    )
    assert match(detections, faces, [True, True], 0.3).faces == (1, 0)


@pytest.mark.parametrize(("least", "faces"), [(0.3, (0,)), (0.5, (None,))])
def test_the_iou_decides(least: float, faces: tuple[int | None]) -> None:
    assert match([detection(shift(FACE, 8, 0))], [TruthFace(FACE)], [True], least).faces == faces


def test_a_detection_on_an_ignored_face_is_ignored() -> None:
    ignored = TruthFace(FACE, ignore=True)
    matching = match([detection(FACE), detection(shift(FACE, 90, 0))], [ignored], [False], 0.5)
    assert matching.faces == (None,)
    assert matching.neutral == (True, False)


def test_a_counted_face_is_matched_before_an_ignored_one() -> None:
    faces = [TruthFace(FACE, ignore=True), TruthFace(shift(FACE, 3, 0))]
    matching = match([detection(FACE)], faces, [False, True], 0.5)
    assert matching.faces == (None, 0)
    assert matching.neutral == (False,)


def test_detections_inside_a_crowd_region_are_ignored() -> None:
    crowd = TruthFace(Box(0, 0, 500, 500), ignore=True, crowd=True)
    detections = [detection(shift(FACE, 50 * n, 0)) for n in range(5)]
    assert match(detections, [crowd], [False], 0.5).neutral == (True,) * 5
    plain = TruthFace(Box(0, 0, 500, 500), ignore=True)
    assert match(detections, [plain], [False], 0.5).neutral == (False,) * 5


def test_nothing_matches_nothing() -> None:
    assert match([], [TruthFace(FACE)], [True], 0.5).faces == (None,)
    assert match([detection(FACE)], [], [], 0.5).neutral == (False,)


POINTS, SIDES = st.integers(0, 20), st.integers(1, 12)
BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    POINTS,
    POINTS,
    st.integers(1, 12),
    st.integers(1, 12),
)
SCORES = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
CLAIMS = st.lists(st.builds(lambda b, c: Detection(b, c, "t"), BOXES, SCORES), max_size=8)


@given(CLAIMS, st.lists(BOXES, max_size=6), SCORES)
def test_a_higher_threshold_keeps_the_matches_that_remain(
    detections: list[Detection], boxes: list[Box], threshold: float
) -> None:
    faces, ordered = [TruthFace(box) for box in boxes], by_confidence(detections)
    kept = [each for each in ordered if each.confidence >= threshold]
    whole = match(ordered, faces, [True] * len(faces), 0.3).faces
    part = match(kept, faces, [True] * len(faces), 0.3).faces
    assert part == tuple(n if n is not None and n < len(kept) else None for n in whole)


@given(st.lists(BOXES, max_size=4), st.lists(BOXES, max_size=4))
def test_overlaps_equal_those_of_single_boxes(some: list[Box], others: list[Box]) -> None:
    ious, inside = overlaps(some, others)
    for i, one in enumerate(some):
        for j, other in enumerate(others):
            assert ious[i, j] == pytest.approx(iou(one, other))
            assert inside[i, j] == pytest.approx(covered(one, other))
