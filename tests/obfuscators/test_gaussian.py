from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curate.core.errors import UsageError
from curate.core.geometry import Box
from curate.obfuscators.fixedpoint import to_fixed
from curate.obfuscators.gaussian import Gaussian, blur
from tests.obfuscators.pictures import noise, pattern, regions_of


def true_gaussian(image: Any, sigma: float) -> Any:
    """Direct convolution in float64, mirrored at the borders."""
    radius = int(6 * sigma) + 1
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    bell /= bell.sum()
    result = image.astype(float)
    for axis in (0, 1):
        pad = [(radius, radius) if each == axis else (0, 0) for each in range(result.ndim)]
        padded = np.pad(result, pad, mode="reflect")
        result = np.apply_along_axis(lambda line: np.convolve(line, bell, "valid"), axis, padded)
    return result


@pytest.mark.parametrize("sigma", [2.0, 3.9, 4.0, 7.0, 13.0, 33.0])
def test_blur_is_the_gaussian_of_that_width(sigma: float) -> None:
    image = pattern(240, 250, 1, np.uint8)[..., 0]
    result = blur(to_fixed(image), sigma) / 256
    # A pyramid mirrors by coarse pixels, so it differs a little right at the image's border.
    margin = int(2 * sigma) if sigma >= 4 else 0
    away = np.s_[margin : 240 - margin, margin : 250 - margin]
    assert np.abs(result - true_gaussian(image, sigma))[away].max() <= 1.5


def test_sigma_follows_each_face() -> None:
    image = noise((300, 500))
    large, small = Box(40, 40, 240, 240), Box(400, 150, 420, 170)
    output = Gaussian().apply(image, regions_of([large, small], 500, 300))
    alone = Gaussian().apply(image, regions_of([small], 500, 300))
    assert np.array_equal(output[150:170, 400:420], alone[150:170, 400:420])
    expected = true_gaussian(image, 6.0)[150:170, 400:420]
    assert np.abs(alone[150:170, 400:420] - expected).max() <= 2


def test_where_faces_overlap_the_stronger_blur_is_on_top() -> None:
    image = noise((120, 120))
    large, small = Box(10, 10, 80, 80), Box(60, 60, 90, 90)
    both = Gaussian().apply(image, regions_of([large, small], 120, 120, 0))
    alone = Gaussian().apply(image, regions_of([large], 120, 120, 0))
    assert np.array_equal(both[10:80, 10:80], alone[10:80, 10:80])


def test_the_smallest_face_is_blurred_by_at_least_two_pixels() -> None:
    image = np.zeros((20, 20), dtype=np.uint8)
    image[10, 10] = 255
    region = regions_of([Box(9, 9, 12, 12)], 20, 20)
    assert Gaussian(sigma=0.1).apply(image, region)[10, 10] <= 255 / (2 * np.pi * 4) + 1


def test_one_color_stays_that_color() -> None:
    image = np.full((150, 150, 3), (255, 0, 131), dtype=np.uint8)
    for feather in (0.0, 0.3):
        output = Gaussian(feather=feather).apply(
            image, regions_of([Box(20, 20, 99, 120)], 150, 150)
        )
        assert np.array_equal(output, image)


@pytest.mark.parametrize("sigma", [0.0, 0.05, 2.5, -1])
def test_a_too_small_sigma_is_refused(sigma: float) -> None:
    with pytest.raises(UsageError, match=r"from 0\.1 to 2"):
        Gaussian(sigma=sigma)
