"""The algebra of claims, and of the views in which they are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.geometry import Box, iou
from curate.detectors.claims import Claims, join
from curate.detectors.merge import overlap, strongest
from curate.detectors.options import Sight
from curate.detectors.second_look import OWN, SHARED, close_view
from curate.detectors.sights import plan_views
from curate.detectors.views import View, back, padded, shown

numbers = st.floats(0, 100, allow_nan=False, width=32)
scores = st.sampled_from([0.1, 0.2, 0.5, 0.5, 0.9])


@st.composite
def claims(draw: st.DrawFn, most: int = 12) -> Claims:
    rows = draw(st.lists(st.tuples(numbers, numbers, numbers, numbers, scores), max_size=most))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    low, size = table[:, :2], table[:, 2:4]
    return Claims(np.concatenate([low, low + size], axis=1), table[:, 4])


def rows(some: Claims) -> list[tuple[float, ...]]:
    return [(*box, score) for box, score in zip(some.boxes.tolist(), some.scores, strict=True)]


@given(claims(), claims())
def test_overlap_is_the_core_geometrys(some: Claims, others: Claims) -> None:
    for box in some.boxes:
        expected = [iou(Box(*box.tolist()), Box(*other)) for other in others.boxes.tolist()]
        assert overlap(box, others.boxes) == pytest.approx(expected)


@given(claims(), st.floats(0.05, 0.95))
def test_what_is_kept_was_claimed_and_is_far_apart(some: Claims, limit: float) -> None:
    kept = strongest(some, limit)
    assert set(rows(kept)) <= set(rows(some))
    for index, box in enumerate(kept.boxes):
        assert (overlap(box, kept.boxes[index + 1 :]) <= limit).all()


@given(claims(), st.floats(0.05, 0.95))
def test_what_is_dropped_overlaps_something_kept_and_no_weaker(some: Claims, limit: float) -> None:
    kept = strongest(some, limit)
    for box, score in zip(some.boxes, some.scores, strict=True):
        if (*box, score) not in rows(kept):
            stronger = kept.take(kept.scores >= score)
            assert (overlap(box, stronger.boxes) > limit).any()


@given(claims(), st.floats(0.05, 0.95), st.randoms(use_true_random=False))
def test_the_order_of_claims_does_not_matter(some: Claims, limit: float, random: object) -> None:
    order = list(range(len(some)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = some.take(np.array(order, dtype=np.intp))
    assert rows(strongest(shuffled, limit)) == rows(strongest(some, limit))


@given(claims(), st.floats(0.05, 0.95))
def test_suppressing_twice_changes_nothing(some: Claims, limit: float) -> None:
    once = strongest(some, limit)
    assert rows(strongest(once, limit)) == rows(once)


@given(st.lists(claims(4), max_size=3))
def test_joining_keeps_every_claim(parts: list[Claims]) -> None:
    assert rows(join(parts)) == [row for part in parts for row in rows(part)]


@given(claims(), st.integers(1, 90), st.integers(1, 90))
def test_clipped_claims_are_inside_and_not_empty(some: Claims, width: int, height: int) -> None:
    for box in some.clipped(width, height).boxes:
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height


sides = st.integers(1, 5000)


@given(
    sides,
    sides,
    st.sampled_from(
        [Sight(), Sight(0.5, 320, 1024), Sight(0.7, 416), Sight(mirrored=True, zooms=(2.0,))]
    ),
)
def test_the_views_cover_the_image_within_the_cap(width: int, height: int, sight: Sight) -> None:
    views = plan_views(width, height, sight)
    seen_x, seen_y = np.zeros(width, bool), np.zeros(height, bool)
    for view in views:
        seen_x[view.x0 : view.x1] = True
        seen_y[view.y0 : view.y1] = True
        assert 0 <= view.x0 < view.x1 <= width
        assert 0 <= view.y0 < view.y1 <= height
        assert max(view.width, view.height) <= sight.max_side * max((1.0, *sight.zooms))
    assert seen_x.all()
    assert seen_y.all()


@given(st.integers(1, 60), st.integers(1, 60), st.booleans(), st.integers(1, 200))
def test_what_a_view_shows_is_mapped_back(w: int, h: int, mirrored: bool, size: int) -> None:
    view = View(3, 5, 3 + w, 5 + h, size, size, mirrored)
    everything = Claims(np.array([[0.0, 0.0, size, size]]), np.array([1.0]))
    assert back(everything, view).boxes[0].tolist() == pytest.approx([3, 5, 3 + w, 5 + h])
    left_edge = Claims(np.array([[0.0, 0.0, size / 2, size]]), np.array([1.0]))
    middle = 3 + w / 2
    expected = [middle, 5, 3 + w, 5 + h] if mirrored else [3, 5, middle, 5 + h]
    assert back(left_edge, view).boxes[0].tolist() == pytest.approx(expected)


@given(claims(1), st.integers(1, 90), st.integers(1, 90))
def test_what_surrounds_any_claim_can_be_shown(some: Claims, width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    for box in some.clipped(width, height).boxes:
        for size in (OWN, SHARED):
            view = close_view(box, (width, height), size)
            assert view.x0 <= box[0]
            assert box[2] <= view.x1
            assert view.y0 <= box[1]
            assert box[3] <= view.y1
            assert padded(shown(image, view), size[::-1]).shape == (*size[::-1], 3)
