from __future__ import annotations

import numpy as np
import pytest

from curate.core.geometry import Box
from curate.obfuscators.diffuse import Diffuse
from tests.obfuscators.pictures import inside, noise, regions_of


@pytest.mark.parametrize(("dtype", "gray"), [(np.uint8, 128), (np.uint16, 32768)])
def test_a_face_that_fills_the_image_becomes_mid_gray(dtype: type, gray: int) -> None:
    image = noise((20, 30, 3), dtype)
    assert (Diffuse().apply(image, regions_of([Box(0, 0, 30, 20)], 30, 20)) == gray).all()


@pytest.mark.parametrize("level", [0, 37, 255])
def test_one_color_around_gives_that_color(level: int) -> None:
    image = noise((100, 100, 3))
    regions = regions_of([Box(20, 30, 70, 80), Box(60, 10, 90, 50)], 100, 100)
    image[~inside(regions, image.shape)] = level
    assert (Diffuse().apply(image, regions) == level).all()


def test_a_gradient_continues_through_the_region() -> None:
    image = np.broadcast_to(np.arange(40, 240, dtype=np.uint8), (200, 200)).copy()
    region = regions_of([Box(60, 60, 140, 140)], 200, 200)
    output = Diffuse().apply(image, region).astype(int)
    rows, columns = region[0].hidden.slices
    assert (np.diff(output[100, columns]) >= 0).all()
    # A harmonic surface continues the slope; the pyramid's is a little flatter.
    assert abs(output - image)[rows, columns].max() <= 20
    assert np.abs(np.diff(output, axis=1)).max() <= 4


def test_values_stay_within_those_around() -> None:
    image = noise((120, 120, 3)) // 3 + 60
    regions = regions_of([Box(30, 30, 90, 90)], 120, 120)
    around = image[~inside(regions, image.shape)]
    output = Diffuse().apply(image, regions)
    assert output.min() >= around.min()
    assert output.max() <= around.max()


def test_there_is_no_seam_and_no_step_inside() -> None:
    y, x = np.mgrid[:200, :200]
    image = (128 + 60 * np.sin(x / 40) + 50 * np.cos(y / 50)).astype(np.uint8)
    output = Diffuse().apply(image, regions_of([Box(60, 50, 140, 150)], 200, 200)).astype(int)
    assert np.abs(np.diff(output, axis=0)).max() <= 6
    assert np.abs(np.diff(output, axis=1)).max() <= 6


def test_one_bright_pixel_at_the_border_does_not_smear() -> None:
    region = regions_of([Box(40, 40, 100, 100)], 140, 140)
    hidden = region[0].hidden
    image = np.full((140, 140), 100, dtype=np.uint8)
    calm = Diffuse().apply(image, region)
    image[70, int(hidden.x1)] = 255
    change = np.abs(Diffuse().apply(image, region).astype(int) - calm)[hidden.slices]
    assert change[:, :-8].max() <= 4
    assert change.max() <= 60


def test_noise_around_does_not_show_inside() -> None:
    image = np.full((160, 160), 128, dtype=np.uint8) + noise((160, 160)) // 8 - 16
    output = Diffuse().apply(image, regions_of([Box(40, 40, 120, 120)], 160, 160)).astype(float)
    core = output[50:110, 50:110]
    assert core.std() < image.std() / 4
    assert np.abs(np.diff(core)).max() <= 2


def test_adjacent_regions_do_not_feed_each_other() -> None:
    image = np.full((60, 80, 3), 90, dtype=np.uint8)
    left, right = Box(10, 20, 30, 40), Box(30, 20, 50, 40)
    image[20:40, 30:50] = (255, 0, 255)
    output = Diffuse().apply(image, regions_of([left, right], 80, 60, margin=0))
    assert (output == 90).all()


def test_a_region_with_a_narrow_gap_to_the_next_reads_only_what_is_between() -> None:
    image = np.full((60, 80), 90, dtype=np.uint8)
    image[20:40, 31:50] = 255
    regions = regions_of([Box(10, 20, 30, 40), Box(31, 20, 50, 40)], 80, 60, margin=0)
    assert (Diffuse().apply(image, regions) == 90).all()


def test_only_the_surroundings_matter() -> None:
    image = noise((300, 300, 3))
    regions = regions_of([Box(100, 100, 140, 140)], 300, 300)
    output = Diffuse().apply(image, regions)
    far = image.copy()
    far[:80], far[160:], far[:, :80], far[:, 160:] = 0, 0, 0, 0
    at = regions[0].hidden.slices
    assert np.array_equal(Diffuse().apply(far, regions)[at], output[at])


def test_a_large_region_is_as_smooth_as_a_small_one() -> None:
    y, x = np.mgrid[:1500, :1500]
    image = (128 + 60 * np.sin(x / 300) + 50 * np.cos(y / 400)).astype(np.uint8)
    regions = regions_of([Box(200, 200, 1300, 1300)], 1500, 1500, margin=0)
    output = Diffuse().apply(image, regions).astype(int)
    assert np.abs(np.diff(output, axis=0)).max() <= 2
    assert np.abs(np.diff(output, axis=1)).max() <= 2
