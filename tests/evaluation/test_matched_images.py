from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.faces import TruthFace, TruthImage
from curate.core.geometry import Box, shift
from curate.evaluation.matching import Rules, hidden_regions, match_image, share_inside, tabulate
from curate.obfuscators.masks import region
from tests.evaluation.scenes import FACE, RULES, detection


def test_small_and_ignored_faces_are_not_counted() -> None:
    small, ignored = Box(0, 0, 7, 7), shift(FACE, 100, 0)
    truth = TruthImage("a", (TruthFace(FACE), TruthFace(small), TruthFace(ignored, ignore=True)))
    matched = match_image(truth, [detection(FACE), detection(small), detection(ignored)], RULES)
    assert (len(matched.faces), matched.ignored, matched.too_small) == (1, 1, 1)
    rights = [each.right for each in matched.detections]
    assert rights.count((True, True)) == 1
    assert rights.count((None, None)) == 2
    assert not matched.is_face_free


def test_an_unmatched_detection_below_the_minimum_height_is_ignored() -> None:
    low, right = Box(60, 60, 70, 67), Box(10, 10, 17, 17.5)
    truth = TruthImage("a", (TruthFace(Box(10, 10, 18, 18)),))
    rights = {
        each.right[0]
        for each in match_image(truth, [detection(low), detection(right)], RULES).detections
    }
    assert rights == {True, None}


def test_an_image_is_face_free_only_if_nothing_is_labeled() -> None:
    assert match_image(TruthImage("a"), [], RULES).is_face_free
    ignored = TruthImage("a", (TruthFace(FACE, ignore=True),))
    assert not match_image(ignored, [], RULES).is_face_free


def test_a_face_can_be_hidden_by_boxes_that_do_not_match_it() -> None:
    halves = [detection(Box(10, 10, 20, 30)), detection(Box(20, 10, 30, 30))]
    [face] = match_image(TruthImage("a", (TruthFace(FACE),)), halves, Rules(ious=(0.6,))).faces
    assert np.isnan(face.found[0])
    assert face.hidden == pytest.approx(1.0)


def test_the_part_of_a_face_outside_the_image_need_not_be_hidden() -> None:
    truth = TruthImage("a", (TruthFace(Box(-30, 10, 10, 50)),))
    inside = [detection(Box(0, 10, 10, 50))]
    assert match_image(truth, inside, RULES, (100, 100)).faces[0].hidden == pytest.approx(1.0)
    assert match_image(truth, inside, RULES).faces[0].hidden < 0.5


@given(
    st.floats(0, 80), st.floats(0, 80), st.floats(0.5, 60), st.floats(0.5, 60), st.floats(0, 0.5)
)
def test_regions_equal_those_of_the_obfuscators(
    x: float, y: float, w: float, h: float, margin: float
) -> None:
    box = Box(x, y, x + w, y + h)
    [hidden] = hidden_regions([detection(box)], margin, (100, 90))
    assert hidden == region(box, margin, 100, 90).hidden


@given(
    st.tuples(*[st.integers(0, 12)] * 4),
    st.lists(st.tuples(*[st.integers(0, 12)] * 4), max_size=4),
)
def test_the_share_inside_a_union_is_a_count_of_pixels(
    face: tuple[int, ...], others: list[tuple[int, ...]]
) -> None:
    def box(x: int, y: int, w: int, h: int) -> Box:
        return Box(x, y, x + w + 1, y + h + 1)

    mask = np.zeros((30, 30), dtype=bool)
    for each in others:
        mask[box(*each).slices] = True
    share = share_inside(box(*face), [box(*each) for each in others])
    assert share == pytest.approx(mask[box(*face).slices].mean())


def test_the_table_has_a_row_for_each_face_that_counts() -> None:
    images = [
        match_image(
            TruthImage("a", (TruthFace(FACE, {"tone": "I"}),)), [detection(FACE, 0.4)], RULES
        ),
        match_image(TruthImage("b", (TruthFace(FACE, {"age": "old"}),)), [], RULES),
    ]
    table = tabulate(images, RULES)
    assert table.image.tolist() == [0, 1]
    assert table.good.tolist() == [[True, True, True], [False, False, False]]
    assert table.found[0].tolist() == [0.4, 0.4]
    assert table.attributes == {"age": [None, "old"], "tone": ["I", None]}
    assert len(tabulate([], RULES)) == 0
