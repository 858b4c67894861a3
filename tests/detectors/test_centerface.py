from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import WithheldError
from curate.core.protocols import Pixels
from curate.detectors import DetectorOptions
from curate.detectors.candidates import Candidates
from curate.detectors.centerface import (
    CELL,
    CHIN,
    FEATURES,
    OUTPUTS,
    WEIGHTS,
    CenterFace,
    build,
    decode,
    load,
    with_chin,
)
from curate.detectors.centerface_torch import TorchNetwork
from curate.detectors.network import Maps, checked, rgb_batch
from curate.detectors.profiles import InputScale
from curate.detectors.weights import Weights, find_weights
from tests.detectors.pictures import astronaut, crowd


def maps(height: int = 8, width: int = 12) -> list[Maps]:
    return [np.zeros((1, channels, height, width), np.float32) for channels in (1, 2, 2)]


def test_a_hot_cell_is_decoded_to_its_box() -> None:
    heat, scale, offset = maps()
    heat[0, 0, 3, 5] = 0.75
    scale[0, :, 3, 5] = np.log([6.0, 4.0])  # height, width
    offset[0, :, 3, 5] = [0.25, -0.5]  # y, x
    found = decode([heat, scale, offset], 0, 0.5)
    center_x, center_y = (5 - 0.5 + 0.5) * CELL, (3 + 0.25 + 0.5) * CELL
    assert found.boxes[0] == pytest.approx(
        [center_x - 8, center_y - 12, center_x + 8, center_y + 12], abs=1e-4
    )
    assert found.scores.tolist() == [0.75]


def test_cells_at_the_threshold_are_dropped() -> None:
    one = maps()
    one[0][0, 0, 1, 1] = 0.5
    assert len(decode(one, 0, 0.5)) == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_withholds_the_image(wrong: float) -> None:
    values = np.zeros((1, 2, 4, 4), np.float32)
    values[0, 0, 2, 2] = wrong
    with pytest.raises(WithheldError, match="not finite"):
        checked(values, "CenterFace")


class Broken:
    """A network whose every output is not a number."""

    backend = "broken"
    batches = False

    def run(self, inputs: Maps) -> list[Maps]:
        nan = np.full((1, 2, inputs.shape[2] // 4, inputs.shape[3] // 4), np.nan, np.float32)
        return [checked(nan, "CenterFace")]

    def run_images(self, images: Pixels) -> list[Maps]:
        return self.run(rgb_batch(images))


def test_a_broken_network_is_never_an_image_without_faces() -> None:
    detector = CenterFace(Broken(), Weights("none", "", {}, {}), InputScale(), 0.3)
    with pytest.raises(WithheldError):
        detector.detect(astronaut())


def test_torch_and_onnx_runtime_agree() -> None:
    outputs = (*OUTPUTS, *FEATURES)
    one, _ = load("cpu", 1, FEATURES)
    other = TorchNetwork(find_weights(WEIGHTS).read(), "cpu", 1, outputs)
    rng = np.random.default_rng(0)
    for shape in ((1, 96, 128, 3), (1, 256, 64, 3), (2, 64, 96, 3)):
        batch = rgb_batch(rng.integers(0, 256, shape, dtype=np.uint8))
        for mine, theirs in zip(one.run(batch), other.run(batch), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-3)


def test_outputs_do_not_depend_on_the_sizes_before() -> None:
    network, _ = load("cpu", 1)
    rng = np.random.default_rng(0)
    image = rgb_batch(rng.integers(0, 256, (1, 96, 128, 3), dtype=np.uint8))
    before = network.run(image)
    for side in (32, 64, 160):
        network.run(rgb_batch(rng.integers(0, 256, (1, side, 96, 3), dtype=np.uint8)))
    assert np.array_equal(network.run(image)[0], before[0])


def test_every_face_of_a_crowd_is_found_in_its_place() -> None:
    found = build(DetectorOptions("centerface")).detect(crowd(4, 3))
    corners = {(one.box.x0 // 170, one.box.y0 // 170) for one in found}
    assert len(found) == len(corners) == 12


def test_faces_of_a_tiled_image_are_found_once_each() -> None:
    # 9 × 7 portraits are 1530 × 1190 pixels: several tiles, with faces on their borders.
    found = build(DetectorOptions("centerface")).detect(crowd(9, 7))
    corners = {(one.box.x0 // 170, one.box.y0 // 170) for one in found}
    assert len(found) == len(corners) == 63


def test_the_mirror_image_is_mapped_back() -> None:
    network, weights = load("cpu", 1)
    (plain,) = CenterFace(network, weights, InputScale(), 0.5).detect(astronaut())
    other = CenterFace(network, weights, InputScale(mirrored=True), 0.5)
    (mirrored,) = other.detect(np.ascontiguousarray(astronaut()[:, ::-1]))
    assert mirrored.box.x0 == pytest.approx(512 - plain.box.x1, abs=0.01)
    assert mirrored.box.x1 == pytest.approx(512 - plain.box.x0, abs=0.01)


def test_boxes_are_extended_over_the_chin_but_not_out_of_the_image() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    some = Candidates(np.array([[10.0, 10, 40, 60], [10.0, 50, 40, 98]]), np.array([0.9, 0.8]))
    assert with_chin(some, image).boxes[:, 3].tolist() == [60 + CHIN * 50, 100.0]
