from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from curate.core.errors import UsageError
from curate.core.geometry import Box, to_stored, to_upright, turn
from curate.core.protocols import Pixels
from curate.impact.explain.input_regions import Prepare, map_input

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def normalize(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return (image.transpose(2, 0, 1).astype(np.float32) / 255 - MEAN) / STD


def halve_and_crop(image: Pixels) -> npt.NDArray[np.float32]:
    """Half the size by means of 2×2, then the middle 16×16."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    cells = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    top, left = (cells.shape[0] - 16) // 2, (cells.shape[1] - 16) // 2
    return normalize(cells[top : top + 16, left : left + 16])


def letterbox(image: Pixels) -> npt.NDArray[np.float32]:
    side = max(image.shape[:2])
    padded = np.full((side, side, 3), 114, np.uint8)
    padded[: image.shape[0], : image.shape[1]] = image
    return normalize(padded)


def bicubic(image: Pixels) -> npt.NDArray[np.float32]:
    return normalize(np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BICUBIC)))


def gray(image: Pixels) -> npt.NDArray[np.float32]:
    return bicubic(image).mean(axis=0, keepdims=True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_follow_every_exif_orientation(
    orientation: int,
) -> None:
    """Whole cells of a synthetic image: the box and the pixels painted there must coincide."""
    width, height = 64, 48
    box = Box(20, 16, 30, 26)
    stored = np.zeros((height, width, 3), np.uint8)
    stored[box.slices] = 255
    upright = np.ascontiguousarray(turn(stored, orientation))
    there = to_upright(box, orientation, width, height)
    assert to_stored(there, orientation, width, height) == box
    inside = np.zeros(upright.shape[:2], dtype=bool)
    inside[there.slices] = True
    view = map_input(halve_and_crop, *upright.shape[:2])
    painted = view.show(halve_and_crop(upright))[..., 0] / 255
    coverage = view.map_regions(inside)
    np.testing.assert_array_equal(coverage, painted)
    assert coverage.sum() == 25


def test_resizing_and_cropping_are_exact() -> None:
    inside = np.zeros((48, 64), dtype=bool)
    inside[20:31, 30:40] = True  # half a cell at the lower end
    coverage = map_input(halve_and_crop, 48, 64).map_regions(inside)
    expected = np.zeros((16, 16))
    expected[6:11, 7:12] = 1.0
    expected[11, 7:12] = 0.5
    np.testing.assert_allclose(coverage, expected, atol=0.004)


def test_cropped_regions_have_no_coverage() -> None:
    inside = np.zeros((48, 64), dtype=bool)
    inside[:, :8] = True
    assert not map_input(halve_and_crop, 48, 64).map_regions(inside).any()


def test_padding_has_no_coverage() -> None:
    view = map_input(letterbox, 20, 32)
    coverage = view.map_regions(np.ones((20, 32), dtype=bool))
    assert (coverage[:20] == 1).all()
    assert not coverage[20:].any()
    image = np.random.default_rng(0).integers(0, 256, size=(20, 32, 3)).astype(np.uint8)
    np.testing.assert_array_equal(view.show(letterbox(image))[:20], image)


@pytest.mark.parametrize("prepare", [bicubic, gray])
def test_smooth_resize_keeps_area(prepare: Prepare) -> None:
    inside = np.zeros((100, 130), dtype=bool)
    inside[20:60, 30:95] = True
    coverage = map_input(prepare, 100, 130).map_regions(inside)
    assert coverage.mean() == pytest.approx(inside.mean(), rel=0.02)
    assert map_input(prepare, 100, 130).show(prepare(np.zeros((100, 130, 3), np.uint8))).shape


def test_nonlinear_preprocessing_is_refused() -> None:
    def gamma(image: Pixels) -> npt.NDArray[np.float32]:
        return normalize(image) ** 3

    def center(image: Pixels) -> npt.NDArray[np.float32]:
        prepared = normalize(image)
        return prepared - prepared.mean()

    for prepare in (gamma, center):
        with pytest.raises(UsageError, match="not linear in pixel values"):
            map_input(prepare, 8, 8)


def test_colors_are_recovered_for_rgb_and_bgr() -> None:
    def turned(image: Pixels) -> npt.NDArray[np.float32]:
        return normalize(image[..., ::-1])

    image = np.random.default_rng(0).integers(0, 256, size=(9, 7, 3)).astype(np.uint8)
    for prepare in (normalize, turned):
        np.testing.assert_array_equal(map_input(prepare, 9, 7).show(prepare(image)), image)
