"""CenterFace's backbone in torch, where OpenCV is older than 5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from curate.core.errors import WeightsError
from curate.core.protocols import Pixels
from curate.detectors.backbone import MAPS
from curate.detectors.backends import INPUT
from curate.detectors.centerface_torch import Step, plan_steps
from curate.detectors.onnx_graph import load_graph
from curate.detectors.opencv_net import Maps


class TorchBackbone:
    """The backbone in torch.

    Args:
        weights: the checked ONNX file.
        threads: processor threads that torch may use.
    """

    def __init__(self, weights: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        steps = _until(MAPS[-1], plan_steps(load_graph(weights)))
        self._steps = [_channels_last(step) for step in steps]

    def maps(self, squares: Pixels) -> list[Maps]:
        """See `Backbone.maps`."""
        pixels = torch.from_numpy(np.ascontiguousarray(squares))
        with torch.inference_mode():
            maps = {INPUT: pixels.permute(0, 3, 1, 2).float()}
            for step in self._steps:
                maps[step.output] = _run(step, maps)
            return [maps[name].numpy() for name in MAPS]


def _until(name: str, steps: Sequence[Step]) -> Iterator[Step]:
    """The steps up to the one that makes a map."""
    for step in steps:
        yield step
        if step.output == name:
            return
    raise WeightsError(f"the network has no map {name!r}")


def _channels_last(step: Step) -> Step:
    # The layout that torch's convolutions on processors are fastest with.
    if step.weight is None:
        return step
    return replace(step, weight=step.weight.to(memory_format=torch.channels_last))


def _run(step: Step, maps: Mapping[str, Tensor]) -> Tensor:
    source = maps[step.sources[0]]
    if step.kind == "add":
        return source + maps[step.sources[1]]
    if step.kind != "conv" or step.weight is None:
        raise WeightsError(f"the backbone has an unexpected step {step.output!r}")
    result = functional.conv2d(
        source, step.weight, step.bias, step.stride, step.padding, groups=step.groups
    )
    return functional.relu_(result) if step.follow == "relu" else result
