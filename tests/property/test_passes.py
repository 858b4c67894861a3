"""The algebra of candidate boxes, and of the passes and crops in which they are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.geometry import Box, iou
from curate.detectors.candidates import (
    CLUSTER_IOU,
    Candidates,
    cluster,
    concatenate,
    nms,
    overlap,
)
from curate.detectors.passes import (
    OVERLAP,
    Crop,
    input_factor,
    plan_passes,
    square,
    to_image,
)
from curate.detectors.profiles import InputScale

numbers = st.floats(0, 100, allow_nan=False, width=32)
scores = st.sampled_from([0.1, 0.2, 0.5, 0.5, 0.9])


@st.composite
def candidates(draw: st.DrawFn, most: int = 12) -> Candidates:
    rows = draw(st.lists(st.tuples(numbers, numbers, numbers, numbers, scores), max_size=most))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    low, size = table[:, :2], table[:, 2:4]
    return Candidates(np.concatenate([low, low + size], axis=1), table[:, 4])


def rows(some: Candidates) -> list[tuple[float, ...]]:
    return [(*box, score) for box, score in zip(some.boxes.tolist(), some.scores, strict=True)]


@given(candidates(), candidates())
def test_overlap_is_the_core_geometrys(some: Candidates, others: Candidates) -> None:
    for box in some.boxes:
        expected = [iou(Box(*box.tolist()), Box(*other)) for other in others.boxes.tolist()]
        assert overlap(box, others.boxes) == pytest.approx(expected)


@given(candidates(), st.floats(0.05, 0.95))
def test_suppression_keeps_candidates_that_are_far_apart(some: Candidates, limit: float) -> None:
    kept = nms(some, limit)
    assert set(rows(kept)) <= set(rows(some))
    for index, box in enumerate(kept.boxes):
        assert (overlap(box, kept.boxes[index + 1 :]) <= limit).all()


@given(candidates(), st.floats(0.05, 0.95))
def test_what_is_suppressed_overlaps_one_kept_and_no_weaker(some: Candidates, limit: float) -> None:
    kept = nms(some, limit)
    for box, score in zip(some.boxes, some.scores, strict=True):
        if (*box, score) not in rows(kept):
            stronger = kept.take(kept.scores >= score)
            assert (overlap(box, stronger.boxes) > limit).any()


@given(candidates(), st.floats(0.05, 0.95), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(
    some: Candidates, limit: float, random: object
) -> None:
    order = list(range(len(some)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = some.take(np.array(order, dtype=np.intp))
    assert rows(nms(shuffled, limit)) == rows(nms(some, limit))


@given(st.lists(candidates(4), max_size=3))
def test_concatenation_keeps_every_candidate(parts: list[Candidates]) -> None:
    assert rows(concatenate(parts)) == [row for part in parts for row in rows(part)]


@given(candidates(), candidates(), candidates())
def test_a_cluster_has_the_best_score_of_every_pass(
    one: Candidates, two: Candidates, three: Candidates
) -> None:
    parts = [one, two, three]
    boxes, table = cluster(parts)
    assert table.shape == (len(boxes), 3)
    for column, part in enumerate(parts):
        assert table[:, column].max(initial=0) == part.scores.max(initial=0)
    for index, box in enumerate(boxes[:-1]):
        if box[2] > box[0] and box[3] > box[1]:
            assert (overlap(box, boxes[index + 1 :]) < CLUSTER_IOU).all()


@given(candidates(), st.integers(1, 90), st.integers(1, 90))
def test_clipped_candidates_are_inside_and_not_empty(
    some: Candidates, width: int, height: int
) -> None:
    for box in some.clipped(width, height).boxes:
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height


SCALES = (
    InputScale(),
    InputScale(0.5, full_side=320, max_side=1024),
    InputScale(0.5, full_side=224, snapped=True),
    InputScale(2.0, max_pixels=2_000_000),
    InputScale(1.5, mirrored=True),
    InputScale(tile=320),
)


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from(SCALES))
def test_passes_cover_the_image_in_tiles_of_bounded_size(
    width: int, height: int, scale: InputScale
) -> None:
    crops = plan_passes(width, height, scale)
    seen_x, seen_y = np.zeros(width, bool), np.zeros(height, bool)
    for crop in crops:
        assert 0 <= crop.x0 < crop.x1 <= width
        assert 0 <= crop.y0 < crop.y1 <= height
        assert max(crop.width, crop.height) <= scale.tile + 2
        assert crop.mirrored == scale.mirrored
        seen_x[crop.x0 : crop.x1] = True
        seen_y[crop.y0 : crop.y1] = True
    assert seen_x.all()
    assert seen_y.all()
    if scale.max_side is not None:
        assert max(width, height) * input_factor(width, height, scale) <= scale.max_side + 1e-6


@given(st.integers(2000, 9000), st.integers(0, 8800), st.integers(8, OVERLAP - 8))
def test_a_face_smaller_than_the_overlap_is_whole_in_a_tile(side: int, x: int, size: int) -> None:
    x = min(x, side - size)
    tiles = [
        crop for crop in plan_passes(side, 500, InputScale()) if crop.width == crop.x1 - crop.x0
    ]
    assert any(crop.x0 <= x and x + size <= crop.x1 for crop in tiles)


def test_a_tiled_pass_has_coarser_ones_down_to_the_whole_image() -> None:
    crops = plan_passes(7000, 5000, InputScale())
    assert crops[-1].x1 - crops[-1].x0 == 7000
    assert {round((c.x1 - c.x0) / c.width) for c in crops} == {1, 4, 16}


@given(st.integers(1, 60), st.integers(1, 60), st.booleans(), st.integers(1, 200))
def test_boxes_in_a_crop_are_mapped_to_the_image(w: int, h: int, mirrored: bool, size: int) -> None:
    crop = Crop(3, 5, 3 + w, 5 + h, size, size, mirrored)
    everything = Candidates(np.array([[0.0, 0.0, size, size]]), np.array([1.0]))
    assert to_image(everything, crop).boxes[0].tolist() == pytest.approx([3, 5, 3 + w, 5 + h])
    left_half = Candidates(np.array([[0.0, 0.0, size / 2, size]]), np.array([1.0]))
    middle = 3 + w / 2
    expected = [middle, 5, 3 + w, 5 + h] if mirrored else [3, 5, middle, 5 + h]
    assert to_image(left_half, crop).boxes[0].tolist() == pytest.approx(expected)


@given(
    st.integers(1, 300), st.integers(1, 300),
    st.floats(0, 299), st.floats(0, 299), st.floats(1, 900), st.floats(1, 900),
)  # fmt: skip
def test_a_square_is_always_full_size(
    width: int, height: int, x: float, y: float, w: float, h: float
) -> None:
    image = np.full((height, width, 3), 77, np.uint8)
    found = square(image, (x, y, x + w, y + h), 2.0, 96)
    assert found.pixels.shape == (96, 96, 3)
    assert (found.pixels == 77).all()


def test_a_square_shows_what_is_around_the_box_and_where_that_is() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[152:248, 152:248] = 255
    found = square(image, (152, 152, 248, 248), 2.0, 96)
    assert found.pixels[26:-26, 26:-26].min() == 255
    assert found.pixels[:22].max() == 0
    assert (found.x0, found.y0, found.ratio) == (104, 104, 2.0)


def test_a_square_repeats_the_border() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, 48:] = 200
    found = square(image, (0, 0, 96, 96), 2.0, 96)
    assert (found.pixels[:, -10:] == 200).all()
    assert (found.pixels[:, :10] == 0).all()
