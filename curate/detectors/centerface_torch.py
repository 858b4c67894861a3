"""CenterFace in torch, from the same ONNX file, for CUDA devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from curate.core.errors import WeightsError
from curate.core.protocols import Pixels
from curate.detectors.device import convolutions_of_any_size
from curate.detectors.network import Maps, checked
from curate.detectors.onnx_graph import Graph, Node, read_graph

INPUT = "input.1"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One convolution with what follows it, or a sum of two maps.

    Args:
        kind: ``conv``, ``upsample`` (transposed convolution) or ``add``.
        sources: names of the maps it reads.
        output: name of the map it makes.
        weight: the kernel; None for a sum.
        bias: one number per output channel; None for a sum.
        stride: pixels between two places of the kernel.
        padding: rows and columns of zeros around the map.
        groups: channel groups of the convolution.
        follow: ``relu``, ``sigmoid`` or empty.
    """

    kind: str
    sources: tuple[str, ...]
    output: str
    weight: Tensor | None = None
    bias: Tensor | None = None
    stride: int = 1
    padding: int = 0
    groups: int = 1
    follow: str = ""


class TorchNetwork:
    """CenterFace in torch.

    On CUDA scores differ from ONNX Runtime's on the processor by less than 0.001 and boxes
    by less than 0.1 pixels of the network's input; TF32 and cuDNN are off.

    Args:
        data: the ONNX file's bytes.
        device: ``cpu`` or ``cuda``.
        threads: processor threads that torch may use.
        outputs: names of the maps to return.

    Raises:
        WeightsError: if the graph has an operation that CenterFace does not have.
    """

    def __init__(self, data: bytes, device: str, threads: int, outputs: Sequence[str]) -> None:
        torch.set_num_threads(threads)
        self.batches = device == "cuda"
        self.backend = f"torch {torch.__version__} on {device}"
        self._device = torch.device(device)
        self._outputs = tuple(outputs)
        steps = plan_steps(read_graph(data, "CenterFace"), self._outputs)
        self._steps = [_moved(step, self._device) for step in steps]
        self._last_use = _last_use(self._steps)

    def run(self, inputs: Maps) -> list[Maps]:
        """The outputs for N×3×H×W float32; see `Network.run`."""
        return self._run(torch.from_numpy(inputs).to(self._device))

    def run_images(self, images: Pixels) -> list[Maps]:
        """See `Network.run_images`; bytes are moved to the device, and made numbers there."""
        moved = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        return self._run(moved.permute(0, 3, 1, 2).contiguous().float())

    def _run(self, inputs: Tensor) -> list[Maps]:
        with torch.inference_mode(), convolutions_of_any_size():
            maps = {INPUT: inputs}
            for position, step in enumerate(self._steps):
                maps[step.output] = _apply(step, maps)
                for name in set(step.sources):
                    if self._last_use[name] == position and name not in self._outputs:
                        del maps[name]
            return [checked(maps[name].cpu().numpy(), "CenterFace") for name in self._outputs]


def plan_steps(graph: Graph, outputs: Sequence[str]) -> list[Step]:
    """The operations that the outputs need, each merged with what follows it.

    Raises:
        WeightsError: if the graph has an operation that CenterFace does not have.
    """
    steps: list[Step] = []
    made: dict[str, int] = {}
    for node in graph.nodes:
        if node.kind in ("Relu", "Sigmoid", "BatchNormalization"):
            index = made.pop(node.inputs[0])
            step = _followed(steps[index], node, graph)
        else:
            index = len(steps)
            step = _started(node, graph)
            steps.append(step)
        steps[index] = step
        made[step.output] = index
    return _needed(steps, outputs)


def _started(node: Node, graph: Graph) -> Step:
    if node.kind == "Add":
        return Step("add", node.inputs, node.output)
    if node.kind not in ("Conv", "ConvTranspose"):
        raise WeightsError(f"the network has an unexpected operation {node.kind!r}")
    weight = torch.from_numpy(graph.weights[node.inputs[1]])
    outputs = weight.shape[0] if node.kind == "Conv" else weight.shape[1]
    has_bias = len(node.inputs) > 2
    bias = torch.from_numpy(graph.weights[node.inputs[2]]) if has_bias else torch.zeros(outputs)
    return Step(
        kind="conv" if node.kind == "Conv" else "upsample",
        sources=node.inputs[:1],
        output=node.output,
        weight=weight,
        bias=bias,
        stride=node.integers["strides"][0],
        padding=node.integers["pads"][0],
        groups=node.integers["group"][0],
    )


def _followed(step: Step, node: Node, graph: Graph) -> Step:
    """A step with an activation, or with a batch normalization folded into its weights."""
    weight, bias, follow = step.weight, step.bias, node.kind.lower()
    if node.kind == "BatchNormalization" and weight is not None and bias is not None:
        gain, shift, mean, variance = (
            torch.from_numpy(graph.weights[name]) for name in node.inputs[1:]
        )
        gain = gain / torch.sqrt(variance + node.floats["epsilon"])
        weight = weight * gain[None, :, None, None]  # of a transposed convolution: axis 1
        bias = (bias - mean) * gain + shift
        follow = ""
    return replace(step, output=node.output, weight=weight, bias=bias, follow=follow)


def _needed(steps: list[Step], outputs: Sequence[str]) -> list[Step]:
    wanted = set(outputs)
    kept: list[Step] = []
    for step in reversed(steps):
        if step.output in wanted:
            kept.append(step)
            wanted.update(step.sources)
    return kept[::-1]


def _last_use(steps: list[Step]) -> dict[str, int]:
    """Position of the last step that reads each map."""
    return {name: position for position, step in enumerate(steps) for name in step.sources}


def _apply(step: Step, maps: dict[str, Tensor]) -> Tensor:
    source = maps[step.sources[0]]
    if step.weight is None:
        return source + maps[step.sources[1]]
    if step.kind == "conv":
        result = functional.conv2d(
            source, step.weight, step.bias, step.stride, step.padding, groups=step.groups
        )
    else:
        result = functional.conv_transpose2d(source, step.weight, step.bias, step.stride)
    if step.follow == "relu":
        return functional.relu(result)
    return torch.sigmoid(result) if step.follow == "sigmoid" else result


def _moved(step: Step, device: torch.device) -> Step:
    if step.weight is None or step.bias is None:
        return step
    return replace(step, weight=step.weight.to(device), bias=step.bias.to(device))
