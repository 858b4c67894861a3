"""Every choice that a training depends on, besides its images and its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from curate.core.errors import UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, red, green and blue in 0..1: every image is normalised by them."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How a network is trained.

    Args:
        epochs: times that every training image is seen.
        size: height and width of what the network sees, pixels.
        batch: images per step.
        lr: the highest learning rate.

    Raises:
        UsageError: if one is out of range.
    """

    epochs: int = 60
    size: int = 64
    batch: int = 32
    lr: float = 0.002

    optimizer = "AdamW"
    betas = (0.9, 0.999)
    weight_decay = 0.05
    warmup = 0.1
    label_smoothing = 0.1
    looks = 10

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--epochs", self.epochs, 1, 100_000),
            ("--size", self.size, 16, 1024),
            ("--batch", self.batch, 1, 65_536),
        ):
            if not low <= value <= high:
                raise UsageError(f"{name} must be a whole number from {low} to {high:,}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError("--lr must be a number above 0")

    @property
    def stored(self) -> int:
        """Height and width that images are kept in, pixels: crops move in an eighth of it."""
        return self.size + max(1, self.size // 8)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step: a linear warm-up, then half a cosine down to 0.

        Loshchilov and Hutter, *SGDR* (ICLR 2017), without restarts.

        Args:
            step: from 0.
            steps: how many there are.
        """
        warm = self.warmup * steps
        if step + 1 < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (1 + math.cos(math.pi * (step + 1 - warm) / (steps - warm + 1))) / 2

    def looks_at(self, epoch: int) -> bool:
        """Whether the test images are looked at after an epoch, counted from 1: now and then."""
        every = max(1, self.epochs // self.looks)
        return epoch % every == 0 or epoch == self.epochs

    def describe(self) -> dict[str, Any]:
        """All of it, for the report."""
        return {
            "epochs": self.epochs,
            "batch": self.batch,
            "optimizer": self.optimizer,
            "learning_rate": self.lr,
            "schedule": "linear warm-up, then cosine to 0",
            "warmup": self.warmup,
            "betas": list(self.betas),
            "weight_decay": self.weight_decay,
            "weight_decay_on": "weights of convolutions and of the last layer",
            "label_smoothing": self.label_smoothing,
            "preprocessing": {
                "resize": f"shorter side to {self.stored}, by area where it shrinks",
                "crop": f"centre, {self.stored}×{self.stored}",
                "mean": list(MEAN),
                "std": list(STD),
            },
            "augmentation": [
                f"random crop, {self.size}×{self.size}",
                "horizontal flip, one half",
            ],
            "test": f"centre crop, {self.size}×{self.size}",
        }
