from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from curate.core.errors import WithheldError
from curate.core.protocols import Pixels
from curate.detectors import DetectorOptions, mtcnn
from curate.detectors.candidates import Candidates
from curate.detectors.mtcnn import Mtcnn, build, squared
from tests.detectors.pictures import astronaut, crowd

KNOWN = (181.0514, 62.1561, 267.7467, 172.0501)
"""The portrait's box by facenet-pytorch 2.5.3."""


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return build(DetectorOptions("mtcnn"))


def test_the_portraits_box_is_the_known_one(detector: Mtcnn) -> None:
    (found,) = detector.detect(astronaut())
    assert found.box.xyxy == pytest.approx(KNOWN, abs=0.01)
    assert found.confidence > 0.99


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou: float) -> list[int]:
    """Greedy suppression, written for clearness alone."""
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in torch.argsort(scores, descending=True, stable=True).tolist():
        for other in kept:
            width = min(boxes[index, 2], boxes[other, 2]) - max(boxes[index, 0], boxes[other, 0])
            height = min(boxes[index, 3], boxes[other, 3]) - max(boxes[index, 1], boxes[other, 1])
            shared = max(float(width), 0.0) * max(float(height), 0.0)
            if shared / float(areas[index] + areas[other] - shared) > iou:
                break
        else:
            kept.append(index)
    return kept


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, iou: float
) -> torch.Tensor:
    """What torchvision's function of this name does, for one group."""
    assert (groups == 0).all()
    return torch.tensor(nms(boxes, scores, iou), dtype=torch.long)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """facenet-pytorch's own class, with torchvision or, where that fails, a stand-in."""
    before = set(sys.modules)
    try:
        importlib.import_module("torchvision.ops.boxes")
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        for name in ("", ".transforms", ".transforms.functional", ".ops", ".ops.boxes"):
            monkeypatch.setitem(
                sys.modules, f"torchvision{name}", types.ModuleType(f"torchvision{name}")
            )
        stand_in: Any = sys.modules
        stand_in["torchvision"].transforms = stand_in["torchvision.transforms"]
        functional = stand_in["torchvision.transforms.functional"]
        stand_in["torchvision.transforms"].functional = functional
        stand_in["torchvision.ops.boxes"].batched_nms = batched_nms
    yield importlib.import_module("facenet_pytorch").MTCNN(device="cpu")
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("facenet_pytorch", "torchvision"):
            del sys.modules[name]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("image", [astronaut, lambda: crowd(2, 2), lambda: astronaut()[:250]])
def test_boxes_equal_the_reference_implementations(
    detector: Mtcnn, reference: Any, image: Any
) -> None:
    pixels: Pixels = np.ascontiguousarray(image())
    expected, scores = reference.detect(pixels)
    assert expected is not None
    found = detector.find(pixels)
    order, theirs = np.lexsort(found.boxes.T), np.lexsort(np.asarray(expected, float).T)
    assert found.boxes[order] == pytest.approx(np.asarray(expected, float)[theirs], abs=0.01)
    assert sorted(found.scores) == pytest.approx(sorted(scores), abs=1e-4)


def test_squares_keep_the_center_and_the_longer_side() -> None:
    some = Candidates(np.array([[0.0, 10, 20, 50]]), np.array([1.0]))
    assert squared(some).boxes[0].tolist() == [-10, 10, 30, 50]


def test_an_answer_that_is_not_finite_withholds_the_image(
    detector: Mtcnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(net: Any, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((len(crops),), torch.nan), torch.zeros(len(crops), 4)

    monkeypatch.setattr(mtcnn, "decide", broken)
    with pytest.raises(WithheldError, match="not finite"):
        detector.detect(astronaut())
