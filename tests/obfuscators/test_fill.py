from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import UsageError
from curate.core.geometry import Box
from curate.obfuscators.fill import Fill, parse_color
from tests.obfuscators.pictures import inside, noise, regions_of


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_mean_is_that_of_a_ring_around_the_region(dtype: type) -> None:
    image = noise((100, 100, 3), dtype)
    regions = regions_of([Box(30, 40, 70, 60)], 100, 100, margin=0)
    output = Fill().apply(image, regions)
    ring = np.zeros((100, 100), dtype=bool)
    ring[35:65, 25:75] = True
    ring &= ~inside(regions, image.shape)
    expected = np.floor(image[ring].astype(float).mean(axis=0) + 0.5)
    assert np.array_equal(output[50, 50], expected)
    assert (output[40:60, 30:70] == output[50, 50]).all()


def test_touching_regions_share_a_color_and_read_none_of_each_other() -> None:
    image = np.full((60, 80), 50, dtype=np.uint8)
    image[20:40, 10:50] = 255
    regions = regions_of([Box(10, 20, 30, 40), Box(30, 20, 50, 40)], 80, 60, margin=0)
    assert (Fill().apply(image, regions) == 50).all()


@pytest.mark.parametrize(("dtype", "gray"), [(np.uint8, 128), (np.uint16, 32768)])
def test_a_face_that_fills_the_image_becomes_mid_gray(dtype: type, gray: int) -> None:
    image = noise((20, 30, 4), dtype)
    assert (Fill().apply(image, regions_of([Box(0, 0, 30, 20)], 30, 20)) == gray).all()


@pytest.mark.parametrize(
    ("color", "shape", "dtype", "expected"),
    [
        ("255,128,0", (40, 40, 3), np.uint8, [255, 128, 0]),
        ("#ff8000", (40, 40, 4), np.uint8, [255, 128, 0, 255]),
        ("#f80", (40, 40, 3), np.uint16, [65535, 0x88 * 257, 0]),
        ("77", (40, 40, 3), np.uint8, [77, 77, 77]),
        ("255,0,0", (40, 40), np.uint8, 76),
        ("0", (40, 40, 2), np.uint16, [0, 65535]),
        (" 1, 2 ,3 ", (40, 40, 3), np.uint8, [1, 2, 3]),
    ],
)
def test_a_given_color_fits_the_image(
    color: str, shape: tuple[int, ...], dtype: type, expected: object
) -> None:
    regions = regions_of([Box(10, 10, 20, 20)], 40, 40)
    output = Fill(color).apply(noise(shape, dtype), regions)
    assert (output[regions[0].hidden.slices] == expected).all()


@pytest.mark.parametrize("color", ["", "red", "#12", "#gggggg", "256", "1,2", "1,2,3,4", "-1", "١"])
def test_an_invalid_color_raises_with_the_valid_forms(color: str) -> None:
    assert parse_color(color) is None
    with pytest.raises(UsageError, match="#rrggbb"):
        Fill(color)
