"""Provided networks, tried on small ones whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from curate.core.errors import UsageError, WeightsError
from curate.core.geometry import Box, iou
from curate.core.protocols import Detector
from curate.detectors import DetectorOptions, custom, make_detector
from curate.detectors.custom import PICTURE_FACE, decode_yolo_face
from curate.detectors.options import FAMILIES
from curate.detectors.retinaface import ANCHORS

SIDE = 256
FACE = PICTURE_FACE
CENTER = ((FACE.x0 + FACE.x1) / 2, (FACE.y0 + FACE.y1) / 2)


def network(path: Path, outputs: Mapping[str, np.ndarray], side: int | str = SIDE) -> Path:
    """An ONNX file that returns these arrays, whatever it is shown."""
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["peak", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"_{name}", "nothing"], [name]) for name in outputs),
    ]
    tensors = [
        numpy_helper.from_array(np.float32(0), "zero"),
        *(numpy_helper.from_array(v.astype(np.float32), f"_{n}") for n, v in outputs.items()),
    ]
    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in outputs.items()],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def retinaface_outputs() -> dict[str, np.ndarray]:
    count = sum(len(sides) * (SIDE // stride) ** 2 for stride, sides in ANCHORS)
    offsets, logits = np.zeros((1, count, 4)), np.tile([5.0, -5.0], (1, count, 1))
    stride, side = 16, 64
    before = 2 * (SIDE // 8) ** 2
    column, row = int(CENTER[0] // stride), int(CENTER[1] // stride)
    index = before + 2 * (row * (SIDE // stride) + column)
    anchor = np.array([column + 0.5, row + 0.5]) * stride
    offsets[0, index, :2] = (np.array(CENTER) - anchor) / side / 0.1
    offsets[0, index, 2:] = np.log(np.array([FACE.width, FACE.height]) / side) / 0.2
    logits[0, index] = [-2, 2]
    return {"loc": offsets, "conf": logits, "landmarks": np.zeros((1, count, 10))}


def scrfd_outputs() -> dict[str, np.ndarray]:
    made = {}
    for stride in (8, 16, 32):
        count = 2 * (SIDE // stride) ** 2
        made[f"score_{stride}"] = np.zeros((count, 1))
        made[f"bbox_{stride}"] = np.ones((count, 4))
        made[f"kps_{stride}"] = np.zeros((count, 10))
    column, row = int(CENTER[0] // 16), int(CENTER[1] // 16)
    index = 2 * (row * (SIDE // 16) + column) + 1
    x, y = column * 16, row * 16
    made["score_16"][index] = 0.98
    made["bbox_16"][index] = np.array([x - FACE.x0, y - FACE.y0, FACE.x1 - x, FACE.y1 - y]) / 16
    return made


def yolo_outputs() -> dict[str, np.ndarray]:
    table = np.zeros((1, 20, 1344))
    table[0, :5, 700] = [*CENTER, FACE.width, FACE.height, 0.98]
    return {"output0": table}


def centerface_outputs() -> dict[str, np.ndarray]:
    cells = SIDE // 4
    heat, scale, offset = (np.zeros((1, channels, cells, cells)) for channels in (1, 2, 2))
    column, row = int(CENTER[0] // 4), int(CENTER[1] // 4)
    heat[0, 0, row, column] = 0.98
    scale[0, :, row, column] = np.log([FACE.height / 4, FACE.width / 4])
    offset[0, :, row, column] = [CENTER[1] / 4 - row - 0.5, CENTER[0] / 4 - column - 0.5]
    return {"heat": heat, "scale": scale, "offset": offset}


OUTPUTS = {
    "retinaface": retinaface_outputs,
    "scrfd": scrfd_outputs,
    "yolo-face": yolo_outputs,
    "centerface": centerface_outputs,
}


def opened(path: Path, family: str | None, self_test: bool = True) -> Detector:
    return make_detector(DetectorOptions("onnx", weights=path, family=family, self_test=self_test))


@pytest.mark.parametrize("family", list(OUTPUTS))
def test_each_family_is_decoded_to_the_known_box(family: str, tmp_path: Path) -> None:
    detector = opened(network(tmp_path / "net.onnx", OUTPUTS[family]()), family)
    (found,) = detector.detect(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert found.box.xyxy == pytest.approx(FACE.xyxy, abs=0.01)
    assert found.confidence == pytest.approx(0.98, abs=0.005)


@pytest.mark.parametrize("family", list(OUTPUTS))
def test_boxes_of_a_larger_image_are_mapped_back(family: str, tmp_path: Path) -> None:
    detector = opened(network(tmp_path / "net.onnx", OUTPUTS[family]()), family)
    found = detector.detect(np.zeros((800, 800, 3), np.uint8))
    # The known box in every tile of 256 pixels, and four times as large in the coarser pass.
    heights = sorted({round(one.box.height / FACE.height) for one in found})
    assert len(found) > 16
    assert heights == [1, 4]


@pytest.mark.parametrize("actual", list(OUTPUTS))
@pytest.mark.parametrize("claimed", [name for name in FAMILIES if name != "yunet"])
def test_a_wrong_family_is_an_error_and_not_zero_faces(
    actual: str, claimed: str, tmp_path: Path
) -> None:
    if actual == claimed:
        return
    path = network(tmp_path / "net.onnx", OUTPUTS[actual]())
    with pytest.raises(UsageError, match="--detector-family"):
        opened(path, claimed)
    with pytest.raises(UsageError, match="--detector-family"):
        opened(path, claimed, self_test=False).detect(np.zeros((SIDE, SIDE, 3), np.uint8))


def test_a_network_that_finds_nothing_fails_the_self_test(tmp_path: Path) -> None:
    outputs = {name: values * 0 for name, values in yolo_outputs().items()}
    path = network(tmp_path / "net.onnx", outputs)
    with pytest.raises(UsageError, match=r"0 boxes.*--skip-self-test"):
        opened(path, "yolo-face")
    assert opened(path, "yolo-face", False).detect(np.zeros((64, 64, 3), np.uint8)) == []


def test_a_network_that_finds_faces_everywhere_fails_the_self_test(tmp_path: Path) -> None:
    table = np.zeros((1, 5, 40))
    table[0, :2] = np.arange(40) * 6 + 5
    table[0, 2:4] = 5
    table[0, 4] = 0.9
    table[0, :, 0] = [*CENTER, FACE.width, FACE.height, 0.95]
    path = network(tmp_path / "net.onnx", {"output0": table})
    with pytest.raises(UsageError, match="one of them on the face"):
        opened(path, "yolo-face")


def test_yolov5_scores_are_the_product_with_the_class() -> None:
    table = np.zeros((1, 2, 16), np.float32)
    table[0, 0, :5], table[0, 0, 15] = [50, 40, 20, 10, 0.8], 0.5
    found = decode_yolo_face([table], (64, 64), 0.3)
    assert found.boxes.tolist() == [[40, 35, 60, 45]]
    assert found.scores.tolist() == pytest.approx([0.4])


def test_the_packaged_networks_pass_as_provided_ones(tmp_path: Path) -> None:
    from curate.detectors.retinaface import WEIGHTS
    from curate.detectors.weights import find_weights

    path = tmp_path / "retina.onnx"
    path.write_bytes(find_weights(WEIGHTS).read())
    assert opened(path, "retinaface").models()[0].package == "file"


def test_files_that_are_no_networks_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        opened(path, "scrfd")
    with pytest.raises(WeightsError, match=r"absent\.onnx"):
        opened(tmp_path / "absent.onnx", "scrfd")
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        make_detector(DetectorOptions("torchscript", weights=path))


def test_the_family_and_the_file_are_required(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnx:FILE"):
        make_detector(DetectorOptions("onnx"))
    with pytest.raises(UsageError, match=r"retinaface, scrfd, yunet, yolo-face, centerface"):
        opened(network(tmp_path / "net.onnx", yolo_outputs()), None)
    with pytest.raises(UsageError, match="torchscript:FILE"):
        make_detector(DetectorOptions("torchscript"))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
class TestTorchScript:
    """Modules of EgoBlur's convention."""

    def saved(self, path: Path, source: str) -> Path:
        torch = pytest.importorskip("torch")

        class Known(torch.nn.Module):  # type: ignore[misc, name-defined]
            pass

        module = torch.jit.script(Known())
        module.define(source)
        module.save(str(path))
        return path

    def test_the_known_box_is_found(self, tmp_path: Path) -> None:
        box = [float(value) for value in FACE.xyxy]
        source = f"""
def forward(self, image):
    boxes = torch.tensor([{box}, [0., 0., 9., 9.]])
    scores = torch.tensor([0.9, 0.1])
    return boxes, torch.zeros(2), scores, torch.tensor([image.size(1), image.size(2)])
"""
        path = self.saved(tmp_path / "face.pt", source)
        detector = make_detector(DetectorOptions("torchscript", weights=path))
        (found,) = detector.detect(np.zeros((SIDE, SIDE, 3), np.uint8))
        assert iou(found.box, Box(*box)) > 0.99
        assert found.confidence == pytest.approx(0.9)

    def test_another_convention_is_an_error(self, tmp_path: Path) -> None:
        path = self.saved(tmp_path / "other.pt", "\ndef forward(self, image):\n    return image\n")
        with pytest.raises(UsageError, match="EgoBlur"):
            make_detector(DetectorOptions("torchscript", weights=path))


def test_the_picture_of_the_self_test_shows_its_face() -> None:
    custom.self_test(make_detector(DetectorOptions("centerface")), "")
    custom.self_test(make_detector(DetectorOptions("retinaface")), "")
