"""Options of `train_impact`: what can change the report, and how to run."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.core.errors import UsageError
from curate.core.records import set_names, set_paths
from curate.layouts.memory_table import TableLike, set_tables
from curate.pipeline.session import Step, ignore

SEEDS = 3
"""Networks per dataset where none are stated; 1 for probes."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, red, green and blue in 0..1, by which images are normalized."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Hyperparameters of a network trained from scratch.

    Args:
        epochs: number of epochs.
        size: height and width of the network's input, pixels.
        batch: images per step.
        lr: highest learning rate.

    Raises:
        UsageError: if a value is out of range.
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
    evaluations = 10

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
        """Height and width of the stored images, pixels: an eighth more than the input."""
        return self.size + max(1, self.size // 8)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step: linear warm-up, then cosine decay to 0.

        Loshchilov and Hutter, *SGDR* (ICLR 2017), without restarts.

        Args:
            step: from 0.
            steps: number of steps.
        """
        warm = self.warmup * steps
        if step + 1 < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (1 + math.cos(math.pi * (step + 1 - warm) / (steps - warm + 1))) / 2

    def evaluates(self, epoch: int) -> bool:
        """Return whether test accuracy is recorded after an epoch, counted from 1."""
        every = max(1, self.epochs // self.evaluations)
        return epoch % every == 0 or epoch == self.epochs

    def describe(self) -> dict[str, Any]:
        """Return all of them for the report."""
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
                "crop": f"center, {self.stored}×{self.stored}",
                "mean": list(MEAN),
                "std": list(STD),
            },
            "augmentation": [
                f"random crop, {self.size}×{self.size}",
                "horizontal flip, one half",
            ],
            "test": f"center crop, {self.size}×{self.size}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Options of `train_impact`; all of them can change the report.

    Args:
        hyperparameters: of networks trained from scratch.
        seeds: number of networks per dataset; None for 3, or 1 with a probe.
        seed: the first seed, also of the hold-out.
        probe: model whose frozen features are probed instead of training from scratch, or None.
        labels: a table of classes by image id; None for the original dataset's categories.
        weights: a table of weights by image id, or None.
        groups: a table of groups by image id, a file or in memory such as a DataFrame, or None.
        by: attributes to group by, or intersections such as ``gender,age``; empty for every
            column with 2 to 12 values.
        holdout: share of each class to test on where the dataset has one split; None for 0.2.
        device: ``auto``, ``cpu`` or ``cuda``.
        layout: layout of both datasets, or ``auto``.
        allow_missing: leave out images that only one dataset has, instead of stopping.

    Raises:
        UsageError: if the options contradict each other.
    """

    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    seeds: int | None = None
    seed: int = 0
    probe: str | None = None
    labels: Path | None = None
    weights: Path | None = None
    groups: TableLike | None = None
    by: tuple[str, ...] = ()
    holdout: float | None = None
    device: str = "auto"
    layout: str = "auto"
    allow_missing: bool = False

    def __post_init__(self) -> None:
        set_names(self, "by")
        set_paths(self, "labels", "weights")
        set_tables(self, "groups")
        if self.by and self.groups is None:
            raise UsageError("--by needs the table of groups; name it with --groups")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise UsageError("--holdout must be a share between 0 and 1, such as 0.2")
        if self.seeds is not None and not 1 <= self.seeds <= 1000:
            raise UsageError("--seeds must be a whole number from 1 to 1,000")
        if not 0 <= self.seed <= 2**32:
            raise UsageError("--seed must be a whole number from 0 to 4,294,967,296")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Seeds of the networks."""
        count = self.seeds if self.seeds is not None else 1 if self.probe else SEEDS
        return tuple(range(self.seed, self.seed + count))


@dataclass(frozen=True, slots=True)
class TrainSession:
    """How to run `train_impact`; nothing here can change the report.

    Args:
        work: existing folder in which the work folder is created; it is removed at the end.
        workers: processes; None for one per usable core, or one on CUDA.
        predictions: folder for prediction files, or None.
        watch: called with the progress.
        stop: when set, the run finishes the current epoch and pauses.
    """

    work: Path = field(default_factory=Path)
    workers: int | None = None
    predictions: Path | None = None
    watch: Callable[[Step], None] = ignore
    stop: threading.Event = field(default_factory=threading.Event)

    def count_processes(self, device: str) -> int:
        """Return the number of processes to use on a device."""
        if self.workers is not None:
            return self.workers
        if device == "cuda":
            return 1
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
