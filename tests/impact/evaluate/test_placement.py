from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.geometry import Box, intersection
from curate.impact.evaluate.control_arms import draws_for, place_elsewhere

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int, int, list[Box]]:
    width, height = draw(SIZES)
    hidden = []
    for _ in range(draw(st.integers(1, 5))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        hidden.append(Box(x0, y0, x1, y1))
    return width, height, hidden


@given(scenes())
def test_sizes_stay_and_what_meets_a_face_is_said(scene: tuple[int, int, list[Box]]) -> None:
    width, height, hidden = scene
    placed = place_elsewhere(hidden, width, height, draws_for("recipe", "a.jpg"))
    assert len(placed) == len(hidden)
    for before, after in zip(hidden, placed, strict=True):
        box = after.box
        assert (box.width, box.height) == (before.width, before.height)
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
        assert after.overlaps == any(intersection(box, other) > 0 for other in hidden)
        if after.overlaps:  # then there was no place without
            faces = np.zeros((height, width), dtype=bool)
            for other in hidden:
                faces[other.slices] = True
            w, h = int(box.width), int(box.height)
            assert all(
                faces[y : y + h, x : x + w].any()
                for y in range(height - h + 1)
                for x in range(width - w + 1)
            )


def test_regions_do_not_lie_on_each_other_where_there_is_room() -> None:
    hidden = [Box(0, 0, 20, 20), Box(10, 10, 30, 30), Box(40, 0, 50, 10)]
    for number in range(50):
        placed = place_elsewhere(hidden, 200, 120, draws_for("recipe", str(number)))
        boxes = [each.box for each in placed]
        assert not any(each.overlaps for each in placed)
        assert not any(intersection(a, b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_every_free_place_is_as_likely() -> None:
    # A row of five pixels whose middle is hidden: four places are left.
    counts = dict.fromkeys((0, 1, 3, 4), 0)
    for number in range(2000):
        [placed] = place_elsewhere([Box(2, 0, 3, 1)], 5, 1, draws_for("recipe", str(number)))
        counts[int(placed.box.x0)] += 1
    assert all(
        count == pytest.approx(500, abs=4 * (2000 * 0.25 * 0.75) ** 0.5)
        for count in counts.values()
    )


def test_places_follow_from_the_recipe_and_the_image_alone() -> None:
    hidden = [Box(10, 10, 30, 30)]

    def place(recipe: str, record: str) -> Box:
        return place_elsewhere(hidden, 300, 200, draws_for(recipe, record))[0].box

    assert place("r", "a.jpg") == place("r", "a.jpg")
    assert len({place("r", "a.jpg"), place("r", "b.jpg"), place("s", "a.jpg")}) == 3


def test_a_face_that_fills_the_image_is_met_again_and_said() -> None:
    [placed] = place_elsewhere([Box(0, 0, 30, 20)], 30, 20, draws_for("r", "a"))
    assert placed.overlaps
    assert placed.box == Box(0, 0, 30, 20)
