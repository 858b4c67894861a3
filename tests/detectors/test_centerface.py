from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curate.core.errors import WeightsError, WithheldError
from curate.core.protocols import Pixels
from curate.detectors import DetectorOptions
from curate.detectors.backends import Heads, Network, heads, load_network, opencv_major
from curate.detectors.centerface import CELL, CHIN, WEIGHTS, CenterFace, build, decode, with_chin
from curate.detectors.claims import Claims
from curate.detectors.onnx_graph import load_graph
from curate.detectors.options import Sight
from curate.detectors.weights import Weights, find_weights
from tests.detectors.pictures import astronaut, crowd


def maps(height: int = 8, width: int = 12) -> Heads:
    shape = (1, 2, height, width)
    return Heads(
        np.zeros((1, height, width), np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )


def load(backend: str) -> Network:
    if backend == "openvino":
        pytest.importorskip("openvino")
    return load_network(backend, find_weights(WEIGHTS).paths["centerface.onnx"], "cpu", 1)


def test_a_hot_cell_is_decoded_to_its_box() -> None:
    one = maps()
    one.heat[0, 3, 5] = 0.75
    one.scale[0, :, 3, 5] = np.log([6.0, 4.0])  # height, width
    one.offset[0, :, 3, 5] = [0.25, -0.5]  # y, x
    found = decode(one, 0, 0.5)
    centre_x, centre_y = (5 - 0.5 + 0.5) * CELL, (3 + 0.25 + 0.5) * CELL
    assert found.boxes[0] == pytest.approx(
        [centre_x - 8, centre_y - 12, centre_x + 8, centre_y + 12], abs=1e-4
    )
    assert found.scores.tolist() == [0.75]


def test_cells_at_the_threshold_are_passed_over() -> None:
    one = maps()
    one.heat[0, 1, 1] = 0.5
    assert len(decode(one, 0, 0.5)) == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("head", [0, 1, 2])
def test_an_answer_that_is_not_finite_withholds_the_image(wrong: float, head: int) -> None:
    arrays = [np.zeros((1, channels, 4, 4), np.float32) for channels in (1, 2, 2)]
    arrays[head][0, 0, 2, 2] = wrong
    with pytest.raises(WithheldError, match="not finite"):
        heads(*arrays)


class Broken:
    """A network whose every answer is not a number."""

    backend = "broken"
    batches = False

    def run(self, images: Pixels) -> Heads:
        count, height, width = images.shape[0], images.shape[1] // 4, images.shape[2] // 4
        shape = (count, 2, height, width)
        nan = np.full(shape, np.nan, np.float32)
        return heads(nan[:, :1], nan, nan)


def test_a_broken_network_is_never_an_image_without_faces() -> None:
    detector = CenterFace(Broken(), Weights("none", "", {}, {}), Sight(), 0.3)
    with pytest.raises(WithheldError):
        detector.detect(astronaut())


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_the_backends_agree(backend: str) -> None:
    one, other = load("opencv"), load(backend)
    rng = np.random.default_rng(0)
    for shape in ((1, 96, 128, 3), (1, 256, 64, 3), (2, 64, 96, 3)):
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        expected, got = one.run(images), other.run(images)
        assert got.heat == pytest.approx(expected.heat, abs=1e-4)
        assert got.scale == pytest.approx(expected.scale, abs=1e-3)
        assert got.offset == pytest.approx(expected.offset, abs=1e-3)


@pytest.mark.parametrize("backend", ["opencv", "openvino", "torch"])
def test_an_answer_does_not_depend_on_the_sizes_seen_before(backend: str) -> None:
    network = load(backend)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    before = network.run(image)
    for side in (32, 64, 160):
        network.run(rng.integers(0, 256, (1, side, 96, 3), dtype=np.uint8))
    assert np.array_equal(network.run(image).heat, before.heat)


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load("torch")
    image = np.random.default_rng(0).integers(0, 256, (1, 416, 352, 3), dtype=np.uint8)
    monkeypatch.setattr("curate.detectors.centerface_torch.STRIP_PLACES", 1 << 30)
    expected = network.run(image)
    for places in (1, 1000, 3000):
        monkeypatch.setattr("curate.detectors.centerface_torch.STRIP_PLACES", places)
        got = network.run(image)
        assert got.heat == pytest.approx(expected.heat, abs=1e-5)
        assert got.scale == pytest.approx(expected.scale, abs=1e-4)


@pytest.mark.skipif(opencv_major() < 5, reason="OpenCV 4 runs the network whole")
def test_opencvs_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load("opencv")
    images = np.random.default_rng(0).integers(0, 256, (2, 416, 352, 3), dtype=np.uint8)
    monkeypatch.setattr("curate.detectors.centerface_opencv.STRIP", 1 << 30)
    expected = network.run(images)
    for pixels in (1, 352 * 2 * 100, 352 * 2 * 300):
        monkeypatch.setattr("curate.detectors.centerface_opencv.STRIP", pixels)
        got = network.run(images)
        assert np.array_equal(got.heat, expected.heat)
        assert np.array_equal(got.scale, expected.scale)
        assert np.array_equal(got.offset, expected.offset)


def test_every_face_of_a_crowd_is_found_in_its_place() -> None:
    found = build(DetectorOptions("centerface", backend="torch")).detect(crowd(4, 3))
    corners = {(one.box.x0 // 170, one.box.y0 // 170) for one in found}
    assert len(found) == len(corners) == 12


def test_the_mirror_image_is_mapped_back() -> None:
    base = build(DetectorOptions("centerface", backend="torch"))
    sight = Sight(mirrored=True)
    both = CenterFace(base.network, find_weights(WEIGHTS), sight, 0.5)
    (found,) = both.detect(astronaut())
    (mirrored,) = both.detect(np.ascontiguousarray(astronaut()[:, ::-1]))
    assert mirrored.box.x0 == pytest.approx(512 - found.box.x1, abs=0.01)
    assert mirrored.box.x1 == pytest.approx(512 - found.box.x0, abs=0.01)


def test_boxes_are_drawn_down_over_the_chin_but_not_out_of_the_image() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    some = Claims(np.array([[10.0, 10, 40, 60], [10.0, 50, 40, 98]]), np.array([0.9, 0.8]))
    assert with_chin(some, image).boxes[:, 3].tolist() == [60 + CHIN * 50, 100.0]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(data: bytes) -> bytes:
    return b""


def scrambled(data: bytes) -> bytes:
    return bytes(255 - byte for byte in data[:1000])


@pytest.mark.parametrize("damage", [cut, emptied, scrambled])
def test_a_damaged_network_file_is_refused(
    damage: Callable[[bytes], bytes], tmp_path: object
) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "net.onnx"
    path.write_bytes(damage(find_weights(WEIGHTS).paths["centerface.onnx"].read_bytes()))
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        load_graph(path)
