"""Small classifiers that are known to look at one place only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from curate.core.errors import UsageError
from curate.core.protocols import Pixels

SIDE = 32


class Spotlight(nn.Module):
    """Looks inside a mask, through a residual block with a shared activation, and nowhere else."""

    def __init__(self, mask: npt.NDArray[np.float32], seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 8, 1, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.second = nn.Conv2d(8, 8, 1, bias=False)
            self.head = nn.Linear(8, 3, bias=False)
        with torch.no_grad():
            self.norm.weight.copy_(torch.linspace(0.5, 1.5, 8))
            self.norm.running_var.fill_(0.7)
            self.head.weight.abs_()
        self.activation = nn.ReLU6()
        self.drop = nn.Dropout(0.5)
        self.register_buffer("mask", torch.from_numpy(mask))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm(self.first(image * self.mask)))
        x = self.activation(self.second(x)) + x
        return self.head(self.drop(functional.adaptive_avg_pool2d(x, 1).flatten(1)))


class Gated(nn.Module):
    """Multiplies what it sees by what it sees, for which LRP has no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)
        return self.head((x * torch.sigmoid(x)).mean((2, 3)))


class Wordless(nn.Module):
    """Has no image inside and cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        means = image.mean((2, 3))
        return self.head(means) if float(means.sum()) > -1e9 else means


class Small:
    """A classifier over a network, which takes pixels as shares of 255."""

    spec = "small"
    classes: tuple[str, ...] | None = ("ant", "bee", "cat")

    def __init__(self, network: nn.Module | None) -> None:
        self._network = None if network is None else network.eval()

    def prepare(self, image: Pixels) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1

    def predict(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._network is None:
            means = batch.mean(axis=(2, 3))
            return np.asarray(means, dtype=np.float32)
        with torch.inference_mode():
            return np.asarray(self._network(torch.from_numpy(batch)).numpy(), dtype=np.float32)

    def features(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        raise UsageError("no features")

    def network(self) -> Any:
        if self._network is None:
            raise UsageError("the model 'small' has no network to look into")
        return self._network

    def describe(self) -> Mapping[str, Any]:
        return {"spec": self.spec}


def box_mask(rows: slice, columns: slice, side: int = SIDE) -> npt.NDArray[np.float32]:
    mask = np.zeros((side, side), dtype=np.float32)
    mask[rows, columns] = 1
    return mask
