from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.core.geometry import (
    Box,
    clip,
    covered,
    grow,
    intersection,
    iou,
    round_out,
    to_stored,
    to_upright,
)

coordinates = st.floats(-500, 1500, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted((draw(coordinates), draw(coordinates)))
    y0, y1 = sorted((draw(coordinates), draw(coordinates)))
    return Box(x0, y0, x1, y1)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_between_zero_and_one(a: Box, b: Box) -> None:
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert intersection(a, b) <= min(a.area, b.area) + 1e-6


@given(boxes().filter(lambda box: box.area > 1e-6))
def test_a_box_is_itself(box: Box) -> None:
    assert math.isclose(iou(box, box), 1)
    assert math.isclose(covered(box, box), 1)


@given(boxes(), st.integers(1, 1000), st.integers(1, 1000))
def test_clipping_stays_inside_and_changes_nothing_twice(box: Box, width: int, height: int) -> None:
    once = clip(box, width, height)
    assert 0 <= once.x0 <= once.x1 <= width
    assert 0 <= once.y0 <= once.y1 <= height
    assert clip(once, width, height) == once
    assert math.isclose(once.area, intersection(box, Box(0, 0, width, height)), abs_tol=1e-6)


@given(boxes(), st.floats(0, 2))
def test_growing_and_rounding_never_uncover(box: Box, margin: float) -> None:
    grown = grow(box, margin)
    assert grown.x0 <= box.x0 <= box.x1 <= grown.x1
    out = round_out(box)
    assert out.x0 <= box.x0
    assert out.y1 >= box.y1
    assert all(value == int(value) for value in out.xyxy)


def test_imagenets_margin_is_a_tenth_of_the_longer_side() -> None:
    assert grow(Box(10, 10, 30, 50), 0.1) == Box(6, 6, 34, 54)


def apply_orientation(image: np.ndarray, orientation: int) -> np.ndarray:
    """CIPA DC-008's table of where the stored 0th row and column belong."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, 1),
    }[orientation](image)


@pytest.mark.parametrize("orientation", range(1, 9))
@given(data=st.data())
def test_boxes_of_the_upright_image_map_to_the_same_stored_pixels(
    orientation: int, data: st.DataObject
) -> None:
    width, height = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    stored = np.arange(width * height).reshape(height, width)
    upright = apply_orientation(stored, orientation)
    assert upright.shape == ((width, height) if orientation >= 5 else (height, width))
    x0, x1 = sorted(data.draw(st.integers(0, upright.shape[1])) for _ in range(2))
    y0, y1 = sorted(data.draw(st.integers(0, upright.shape[0])) for _ in range(2))
    back = to_stored(Box(x0, y0, x1, y1), orientation, width, height)
    assert set(stored[back.slices].ravel()) == set(upright[y0:y1, x0:x1].ravel())
    assert to_upright(back, orientation, width, height) == Box(x0, y0, x1, y1)


@pytest.mark.parametrize(
    "xyxy", [(0, 0, math.nan, 1), (0, 0, math.inf, 1), (2, 0, 1, 1), (0, 2, 1, 1)]
)
def test_invalid_boxes_raise(xyxy: tuple[float, float, float, float]) -> None:
    with pytest.raises(DataError, match="box"):
        Box(*xyxy)
