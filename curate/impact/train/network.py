"""A small residual network (He et al., *Deep Residual Learning*, CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (32, 64, 128)
"""Channels of each stage; each stage after the first halves height and width."""


class Block(nn.Module):
    """Residual block of two convolutions.

    Args:
        before: input channels.
        after: output channels.
        stride: of the first convolution.
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
        """Apply the block to a tensor of shape (N, C, H, W)."""
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.past(x))


class SmallResNet(nn.Module):
    """A convolution of stride 2, one block per stage, global average pooling, a linear layer.

    Args:
        classes: number of scores.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS[:-1])
        self.stages = nn.Sequential(
            *(Block(before[index], after, 2 if index else 1) for index, after in enumerate(WIDTHS))
        )
        self.last = nn.Linear(WIDTHS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (N, classes), of normalized images, shape (N, 3, H, W)."""
        x = functional.relu(self.stem_norm(self.stem(x)))
        return self.last(self.stages(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def make_network(classes: int, seed: int) -> SmallResNet:
    """Return a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallResNet(classes)


def describe_network() -> dict[str, Any]:
    """Return its entry in the report, independent of the classes."""
    network = make_network(1, 0)
    return {
        "name": "small ResNet, from scratch",
        "stem": f"3×3 convolution of stride 2, {WIDTHS[0]} channels",
        "widths": list(WIDTHS),
        "blocks_per_stage": 1,
        "normalization": "batch",
        "parameters_before_the_last_layer": sum(
            value.numel()
            for name, value in network.named_parameters()
            if not name.startswith("last.")
        ),
    }


FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """Device, precision and memory format.

    Args:
        device: ``cpu`` or ``cuda``.
        number_type: ``float32``; or ``bfloat16`` or ``float16`` for mixed precision, where
            weights and sums stay in float32.
        channels_last: whether tensors are stored with channels last, for tensor cores.
    """

    device: str = "cpu"
    number_type: str = FLOAT32
    channels_last: bool = False

    def autocast(self) -> torch.autocast:
        """Return a context in which layers compute in the number type."""
        dtype = getattr(torch, self.number_type)
        mixed = self.number_type != FLOAT32
        return torch.autocast(self.device, dtype=dtype if mixed else None, enabled=mixed)

    def make_scaler(self) -> torch.amp.GradScaler:
        """Return the gradient scaler, which is active in float16 only."""
        return torch.amp.GradScaler(self.device, enabled=self.number_type == FLOAT16)

    def move_images(self, value: Tensor) -> Tensor:
        """Return images, shape (N, 3, H, W), on the device in its memory format."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return value.to(self.device, memory_format=order)

    def move_network(self, network: nn.Module) -> nn.Module:
        """Return a network on the device in its memory format."""
        order = torch.channels_last if self.channels_last else torch.preserve_format
        return network.to(self.device, memory_format=order)  # type: ignore[call-overload, no-any-return]

    def describe(self) -> dict[str, Any]:
        """Return the entry in the report."""
        mixed = self.number_type != FLOAT32
        return {
            "device": self.device,
            "number_type": f"mixed float32 and {self.number_type}" if mixed else FLOAT32,
            "channels_last": self.channels_last,
            "deterministic": self.device == "cpu",
        }


def choose_device_config(device: str) -> DeviceConfig:
    """Return the precision for a device, ``cpu`` or ``cuda``.

    On the CPU everything is float32 and, on one thread, deterministic. On CUDA precision is
    mixed: bfloat16 where the GPU supports it, else float16.
    """
    if device == "cpu":
        return DeviceConfig()
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return DeviceConfig(device, BFLOAT16 if native else FLOAT16, channels_last=True)


def set_deterministic(config: DeviceConfig) -> None:
    """Make this process deterministic, as far as the device supports it."""
    torch.set_num_threads(1)  # sums keep their order on any number of cores
    torch.use_deterministic_algorithms(config.device == "cpu")
    torch.backends.cudnn.benchmark = False
