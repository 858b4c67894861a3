"""CenterFace in torch, from the same ONNX file: for CUDA, and where torch is loaded anyway."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from curate.core.errors import WeightsError
from curate.core.protocols import Pixels
from curate.detectors.backends import INPUT, OUTPUTS, Heads, heads
from curate.detectors.onnx_graph import Graph, Node, load_graph

STRIP_PLACES = 4096
"""Places of a map (rows × columns × inputs) computed at a time: what the cache holds."""
MIN_ROWS = 8
"""Least rows of a strip: below this the overlap of the strips costs more than the cache saves."""


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

    @property
    def kernel(self) -> int:
        """Rows that the kernel spans."""
        return 1 if self.weight is None else int(self.weight.shape[2])


class TorchNetwork:
    """CenterFace in torch.

    On a processor the wide early maps are computed in strips of rows, which
    stay in the cache and bound the memory; the numbers are the same. On CUDA, in
    batches too, scores differ from the processor's by less than 0.001 and boxes
    by less than 0.1 px of the network's input; TF32 is off.
    """

    def __init__(self, weights: Path, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.batches = device == "cuda"
        self.backend = f"torch {torch.__version__} on {device}"
        self._device = torch.device(device)
        steps = [_moved(step, self._device) for step in plan_steps(load_graph(weights))]
        self._steps = {step.output: step for step in steps}
        self._kept = _kept(steps)

    def run(self, images: Pixels) -> Heads:
        """Run on N×H×W×3 uint8; see `Network.run`."""
        with torch.inference_mode(), _exact_convolutions():
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
            maps = {INPUT: pixels.permute(0, 3, 1, 2).float()}
            for name, spent in self._kept.items():
                maps[name] = self._whole(name, maps)
                for old in spent:
                    del maps[old]
            return heads(*(maps[name].cpu().numpy() for name in OUTPUTS))

    def _whole(self, name: str, maps: dict[str, Tensor]) -> Tensor:
        """A kept map, strip by strip, from the maps before it."""
        count, height, width = self._size(name, maps)
        rows = max(MIN_ROWS, STRIP_PLACES // (width * count))
        if self.batches or height <= rows * 2:
            return self._rows(name, 0, height, maps)
        strips = [
            self._rows(name, first, min(first + rows, height), maps)
            for first in range(0, height, rows)
        ]
        return torch.cat(strips, dim=2)

    def _rows(self, name: str, first: int, last: int, maps: dict[str, Tensor]) -> Tensor:
        """Rows ``first`` to ``last`` of a map, computing what is needed of those before it."""
        if name in maps:
            return maps[name][:, :, first:last]
        step = self._steps[name]
        if step.kind == "add":
            one, other = (self._rows(source, first, last, maps) for source in step.sources)
            return one + other
        height = self._size(step.sources[0], maps)[1]
        if step.kind == "upsample":
            above = first // step.stride
            source = self._rows(step.sources[0], above, -(-last // step.stride), maps)
            skipped = above * step.stride
            return _apply(step, source)[:, :, first - skipped : last - skipped]
        above = first * step.stride - step.padding
        below = (last - 1) * step.stride - step.padding + step.kernel
        source = self._rows(step.sources[0], max(above, 0), min(below, height), maps)
        if above < 0 or below > height:
            missing = (0, 0, max(-above, 0), max(below - height, 0))
            source = functional.pad(source, missing)
        return _apply(step, source)

    def _size(self, name: str, maps: dict[str, Tensor]) -> tuple[int, int, int]:
        """Inputs, height and width of a map that may not exist yet."""
        if name in maps:
            count, _, height, width = maps[name].shape
            return count, height, width
        step = self._steps[name]
        count, height, width = self._size(step.sources[0], maps)
        if step.kind == "upsample":
            return count, height * step.stride, width * step.stride
        return count, -(-height // step.stride), -(-width // step.stride)


def plan_steps(graph: Graph) -> list[Step]:
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
    return _needed(steps)


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
    """A step with an activation, or with a batch normalisation folded into its weights."""
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


def _needed(steps: list[Step]) -> list[Step]:
    wanted = set(OUTPUTS)
    kept: list[Step] = []
    for step in reversed(steps):
        if step.output in wanted:
            kept.append(step)
            wanted.update(step.sources)
    return kept[::-1]


def _kept(steps: list[Step]) -> dict[str, tuple[str, ...]]:
    """The maps worth keeping whole, in order, each with those that nothing reads after it.

    Kept is what several steps read, and the outputs; the rest is computed in
    passing, a strip at a time.
    """
    readers = Counter(source for step in steps for source in step.sources)
    by_name = {step.output: step for step in steps}
    kept = [s.output for s in steps if readers[s.output] != 1 or s.output in OUTPUTS]
    reads = {name: _reads(name, by_name, set(kept)) for name in kept}
    last = {source: name for name in kept for source in reads[name]}
    return {name: tuple(sorted(old for old in reads[name] if last[old] == name)) for name in kept}


def _reads(name: str, steps: dict[str, Step], kept: set[str]) -> set[str]:
    """The kept maps from which a map is computed."""
    found: set[str] = set()
    for source in steps[name].sources:
        if source in kept or source == INPUT:
            found.add(source)
        else:
            found |= _reads(source, steps, kept)
    return found


def _apply(step: Step, source: Tensor) -> Tensor:
    """A convolution on rows that are padded already, with what follows it."""
    if step.weight is None:
        raise WeightsError(f"the step {step.output!r} has no weights")
    if step.kind == "conv":
        result = functional.conv2d(
            source, step.weight, step.bias, step.stride, (0, step.padding), groups=step.groups
        )
    else:
        result = functional.conv_transpose2d(source, step.weight, step.bias, step.stride)
    if step.follow == "relu":
        return functional.relu_(result)
    return torch.sigmoid(result) if step.follow == "sigmoid" else result


def _moved(step: Step, device: torch.device) -> Step:
    if step.weight is None or step.bias is None:
        return step
    weight = step.weight.to(device, memory_format=torch.channels_last)
    return replace(step, weight=weight, bias=step.bias.to(device))


def _exact_convolutions() -> AbstractContextManager[None]:
    """On CUDA: full float32, and the same algorithm every time."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
