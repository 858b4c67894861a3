"""Small classifiers with random weights, one for each kind of model."""

from __future__ import annotations

import sys
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

CLASSES = 7
SIDE = 32
SETTINGS = f"size={SIDE},resize=36,mean=0.5,std=0.25"


class TinyNet(nn.Module):
    """A convolution, a mean over places, a linear layer."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 5, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)  # which must be off
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.conv(images))
        scores: Tensor = self.head(self.drop(self.pool(maps).flatten(1)))
        return scores


class WithoutHead(nn.Module):
    """Scores that come from no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CLASSES, 5)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.conv(images).mean(dim=(2, 3))
        return scores


class Segmenter(nn.Module):
    """A map for each image where a row of scores was expected."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1]


class OfItsOwn:
    """An object that keeps the contract without torch."""

    spec = "python:tests.impact.models.networks:OfItsOwn"
    classes = tuple(f"class {place}" for place in range(CLASSES))

    def prepare(self, image: np.ndarray) -> np.ndarray:
        means = image.reshape(-1, 3).mean(axis=0, dtype=np.float64)
        return np.broadcast_to(means[:, None, None], (3, 2, 2)).astype(np.float32)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        weights = np.random.default_rng(0).normal(size=(3, CLASSES)).astype(np.float32)
        return np.asarray(self.features(batch) @ weights, dtype=np.float32)

    def features(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(batch.mean(axis=(2, 3)), dtype=np.float32)

    def network(self) -> Any:
        return TinyNet().eval()

    def describe(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "weights_sha256": {},
            "preprocess": {"mean": "over the image"},
            "libraries": {"numpy": np.__version__},
            "device": "cpu",
            "dtype": "float32",
        }


def fails() -> Any:
    raise FileNotFoundError("no such\nfile: weights.pt")


def save_torchscript(path: Path, module: nn.Module | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module or TinyNet().eval(), torch.zeros(1, 3, SIDE, SIDE)).save(str(path))
    return path


def save_onnx(path: Path, batch: str | int = "n", external: bool = False) -> Path:
    """`TinyNet` as ONNX, for any number of images or a fixed one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    net = TinyNet()
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv", ["images", "conv.weight", "conv.bias"], ["maps"], strides=[2, 2]
            ),
            helper.make_node("Relu", ["maps"], ["rectified"]),
            helper.make_node("GlobalAveragePool", ["rectified"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["scores"], transB=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external:
        onnx.save_model(
            model, str(path), save_as_external_data=True, location="tiny.bin", size_threshold=0
        )
    else:
        onnx.save_model(model, str(path))
    return path


def save_hf(folder: Path, named: bool = True) -> Path:
    """A small ResNet of transformers with its image processor."""
    from curate.impact.models.hf import import_transformers

    transformers = import_transformers()
    torch.manual_seed(0)
    names = {place: f"class {place}" if named else f"LABEL_{place}" for place in range(CLASSES)}
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic",
        id2label=names, label2id={name: place for place, name in names.items()},
    )  # fmt: skip
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def stand_in_timm(monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
    """As much of timm as the adapter asks for."""
    settings = {
        "input_size": (3, SIDE, SIDE), "crop_pct": 0.9, "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "crop_mode": "center", **config,
    }  # fmt: skip

    def create_model(name: str, pretrained: bool) -> nn.Module:
        assert pretrained
        module = TinyNet(1000 if name.endswith("in1k") else CLASSES)
        module.pretrained_cfg = {"tag": name.partition(".")[2]}  # type: ignore[assignment]
        module.num_classes = module.head.out_features  # type: ignore[assignment]
        return module

    timm = ModuleType("timm")
    timm.__spec__ = ModuleSpec("timm", None)
    timm.__dict__.update(
        __version__="1.0",
        is_model=lambda name: name == "tiny",
        create_model=create_model,
        data=SimpleNamespace(resolve_model_data_config=lambda module: settings),
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
