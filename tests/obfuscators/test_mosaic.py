from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import UsageError
from curate.core.geometry import Box
from curate.obfuscators.mosaic import Mosaic
from tests.obfuscators.pictures import noise, regions_of


@pytest.mark.parametrize("side", [16, 41, 203])
@pytest.mark.parametrize("cells", [1, 3, 4])
def test_the_number_of_means_does_not_grow_with_the_face(side: int, cells: int) -> None:
    image = noise((220, 220))
    regions = regions_of([Box(5, 5, 5 + side, 5 + side)], 220, 220, margin=0)
    output = Mosaic(cells=cells).apply(image, regions)[5 : 5 + side, 5 : 5 + side]
    changes = np.count_nonzero(np.any(np.diff(output.astype(int), axis=0), axis=1))
    assert changes <= cells - 1
    assert len(np.unique(output)) <= cells**2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_cell_is_the_mean_of_its_pixels(dtype: type) -> None:
    image = noise((64, 64, 3), dtype)
    regions = regions_of([Box(8, 8, 48, 48)], 64, 64, margin=0)
    output = Mosaic(cells=4).apply(image, regions)
    cell = image[18:28, 28:38].astype(float).mean(axis=(0, 1))
    assert np.abs(output[20, 30] - cell).max() <= 0.51
    assert (output[18:28, 28:38] == output[20, 30]).all()


def test_a_small_face_has_fewer_cells_rather_than_its_own_pixels() -> None:
    image = noise((40, 40))
    regions = regions_of([Box(10, 10, 19, 19)], 40, 40, margin=0)
    assert len(np.unique(Mosaic(cells=16).apply(image, regions)[10:19, 10:19])) <= 4


def test_a_face_of_one_pixel_shares_a_cell_with_its_surroundings() -> None:
    image = np.zeros((20, 20), dtype=np.uint8)
    image[10, 10] = 255
    regions = regions_of([Box(10, 10, 11, 11)], 20, 20, margin=0)
    assert Mosaic().apply(image, regions)[10, 10] <= 255 / 16


def test_where_faces_overlap_the_larger_ones_cells_are_on_top() -> None:
    image = noise((100, 100))
    large, small = Box(10, 10, 70, 70), Box(50, 50, 80, 80)
    both = Mosaic().apply(image, regions_of([large, small], 100, 100, 0))
    alone = Mosaic().apply(image, regions_of([large], 100, 100, 0))
    assert np.array_equal(both[10:70, 10:70], alone[10:70, 10:70])


def test_smooth_cells_have_no_steps_and_stay_within_the_means() -> None:
    image = noise((240, 240)) // 2
    image[:, 120:] += 100
    regions = regions_of([Box(20, 20, 220, 220)], 240, 240, margin=0)
    hard = Mosaic().apply(image, regions)[20:220, 20:220].astype(int)
    smooth = Mosaic(smooth=True).apply(image, regions)[20:220, 20:220].astype(int)
    assert np.abs(np.diff(hard, axis=1)).max() > 50
    assert np.abs(np.diff(smooth, axis=1)).max() <= 3
    assert smooth.min() >= hard.min()
    assert smooth.max() <= hard.max()


def test_one_color_stays_that_color() -> None:
    image = np.full((50, 50, 3), (255, 0, 131), dtype=np.uint8)
    regions = regions_of([Box(11, 13, 37, 42)], 50, 50)
    for method in (Mosaic(), Mosaic(smooth=True, feather=0.3)):
        assert np.array_equal(method.apply(image, regions), image)


@pytest.mark.parametrize("cells", [0, 17])
def test_invalid_cells_are_refused(cells: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 16"):
        Mosaic(cells=cells)
