"""A small residual network (He et al., *Deep Residual Learning*, CVPR 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (32, 64, 128)
"""Channels of each stage; each stage but the first halves height and width."""


class Block(nn.Module):
    """Two convolutions, added to what came in.

    Args:
        before: channels that come in.
        after: channels that go out.
        stride: pixels between two places of the first convolution.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.past: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.past = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Pass N×C×H×W on."""
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.past(x))


class SmallResNet(nn.Module):
    """A convolution of stride 2, a block per stage, the mean over all places, one layer.

    Args:
        classes: how many scores it gives.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS[:-1])
        self.stages = nn.Sequential(
            *(Block(before[place], after, 2 if place else 1) for place, after in enumerate(WIDTHS))
        )
        self.last = nn.Linear(WIDTHS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores before softmax, N×classes, of normalised images, N×3×H×W."""
        x = functional.relu(self.stem_norm(self.stem(x)))
        return self.last(self.stages(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def make_network(classes: int, seed: int) -> SmallResNet:
    """A network whose weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallResNet(classes)


def describe_network() -> dict[str, Any]:
    """What the report says of it, whatever the classes."""
    network = make_network(1, 0)
    return {
        "name": "small ResNet, from scratch",
        "stem": f"3×3 convolution of stride 2, {WIDTHS[0]} channels",
        "widths": list(WIDTHS),
        "blocks_per_stage": 1,
        "normalisation": "batch",
        "parameters_before_the_last_layer": sum(
            value.numel()
            for name, value in network.named_parameters()
            if not name.startswith("last.")
        ),
    }
