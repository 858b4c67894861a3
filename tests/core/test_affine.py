from __future__ import annotations

import numpy as np
import pytest

from curate.core.affine import Affine, corners_of, from_corners, from_stored, identity, polygon_area
from curate.core.geometry import Box, to_upright


def mirror(width: int, height: int) -> Affine:
    return Affine(((-1.0, 0.0, float(width)), (0.0, 1.0, 0.0)), width, height)


def turn(degrees: float, width: int, height: int) -> Affine:
    """A turn about the image's center."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y = width / 2, height / 2
    return Affine(
        ((cosine, -sine, x - cosine * x + sine * y), (sine, cosine, y - sine * x - cosine * y)),
        width,
        height,
    )


def test_identity_changes_nothing() -> None:
    same = identity(30, 20)
    assert same.is_identity(30, 20)
    assert not same.is_identity(31, 20)
    assert same.box(Box(1, 2.5, 3, 4)) == Box(1, 2.5, 3, 4)
    assert same.keeps_axes
    assert not same.flips
    mask = np.arange(600, dtype=np.uint8).reshape(20, 30)
    np.testing.assert_array_equal(same.mask(mask), mask)


def test_a_reflection_flips() -> None:
    flip = mirror(30, 20)
    assert flip.flips
    assert flip.box(Box(1, 2, 3, 5)) == Box(27, 2, 29, 5)
    assert flip.after(flip).is_identity(30, 20)
    mask = np.arange(600, dtype=np.int32).reshape(20, 30)
    np.testing.assert_array_equal(flip.mask(mask), mask[:, ::-1])


def test_a_half_turn_is_not_a_reflection() -> None:
    half = turn(180, 30, 20)
    assert not half.flips
    assert half.keeps_axes
    seen = half.box(Box(0, 0, 10, 5))
    assert seen is not None
    np.testing.assert_allclose(seen.xyxy, (20, 15, 30, 20), atol=1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_agree_with_the_boxes_of_the_main_job(orientation: int) -> None:
    box = Box(2, 3, 11, 7)
    upright = from_stored(orientation, 30, 20)
    assert (upright.width, upright.height) == ((20, 30) if orientation >= 5 else (30, 20))
    assert upright.box(box) == to_upright(box, orientation, 30, 20)
    assert upright.flips == (orientation in (2, 4, 5, 7))


def test_boxes_are_clipped_and_invisible_ones_none() -> None:
    moved = Affine(((1.0, 0.0, 25.0), (0.0, 1.0, 0.0)), 30, 20)
    assert moved.box(Box(1, 1, 9, 9)) == Box(26, 1, 30, 9)
    assert moved.box(Box(5, 1, 9, 9)) is None
    assert moved.polygon(corners_of(Box(5, 1, 9, 9))).shape == (0, 2)
    clipped = moved.polygon(corners_of(Box(1, 1, 9, 9)))
    assert polygon_area(clipped) == 4 * 8
    mask = np.ones((20, 30), np.uint8)
    assert moved.mask(mask, fill=9)[:, :25].max() == 9
    assert moved.mask(mask, fill=9)[:, :25].min() == 9
    assert moved.mask(mask).sum() == 5 * 20


def test_a_clipped_polygon_keeps_its_area() -> None:
    fork = [[2, 2], [10, 2], [10, 4], [4, 4], [4, 8], [10, 8], [10, 10], [2, 10]]
    moved = Affine(((1.0, 0.0, -4.0), (0.0, 1.0, 0.0)), 30, 20)
    assert polygon_area(moved.polygon(fork)) == pytest.approx(6 * 2 + 6 * 2)


def test_areas_grow_by_the_determinant() -> None:
    scaled = turn(10, 300, 200).after(Affine(((0.5, 0, 0), (0, 0.8, 0)), 300, 200))
    box = corners_of(Box(200, 150, 280, 180))
    assert scaled.determinant == pytest.approx(0.4)
    assert polygon_area(scaled.polygon(box)) == pytest.approx(0.4 * 80 * 30)
    assert not scaled.keeps_axes


def test_a_transform_is_fitted_to_corners() -> None:
    true = turn(12, 300, 200)
    seen = true.points([[0, 0], [300, 0], [0, 200], [300, 200]])
    matrix, miss = from_corners(seen, 300, 200)
    np.testing.assert_allclose(matrix, true.matrix, atol=1e-12)
    assert miss < 1e-9
    seen[3] += 2
    assert from_corners(seen, 300, 200)[1] == pytest.approx(2)


def test_a_transformed_mask_agrees_with_the_polygon() -> None:
    cv2 = pytest.importorskip("cv2")
    turned = turn(23, 300, 200)
    mask = np.zeros((200, 300), np.uint8)
    mask[60:140, 80:220] = 1
    drawn = np.zeros_like(mask)
    outline = turned.polygon(corners_of(Box(80, 60, 220, 140)))
    cv2.fillPoly(drawn, [np.round((outline - 0.5) * 16).astype(np.int32)], 1, shift=4)
    made = turned.mask(mask)
    assert abs(int(made.sum()) - 80 * 140) < 40
    assert np.count_nonzero(made != drawn) < 2 * (80 + 140) * 1.5


def test_large_masks_are_transformed_in_bands() -> None:
    flip = mirror(1500, 1500)
    mask = np.arange(1500 * 1500, dtype=np.int32).reshape(1500, 1500)
    np.testing.assert_array_equal(flip.mask(mask), mask[:, ::-1])
