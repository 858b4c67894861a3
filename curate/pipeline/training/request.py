"""What is to be trained, and how to go about it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from curate.core.errors import UsageError
from curate.impact.training.hyperparameters import Hyperparameters
from curate.pipeline.session import Step

SEEDS, HOLD_OUT = 3, 0.2


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be trained; all of it can change the report.

    Args:
        original: where the original dataset is.
        obfuscated: the OUT of ``curate blur``, or a dataset of the same images.
        how: of a network from scratch.
        seeds: how many networks for each arm; None for 3, or 1 with a probe.
        seed: the first of them; also of the hold-out.
        probe: the model whose frozen features are probed instead, or None.
        labels: a table of classes by image, or None for the original dataset's own.
        weights: a table of weights by image, or None.
        groups: a table of groups by image, or None.
        by: attributes of that table to group by; by default those of few values.
        holdout: the share of each class that is held out where the dataset has one split;
            None for 0.2 there.
        device: ``auto``, ``cpu`` or ``cuda``.
        layout: of both datasets, or ``auto`` to recognise it.
        allow_missing: whether images that only one dataset has are left out.

    Raises:
        UsageError: if it contradicts itself.
    """

    original: str
    obfuscated: Path
    how: Hyperparameters = field(default_factory=Hyperparameters)
    seeds: int | None = None
    seed: int = 0
    probe: str | None = None
    labels: Path | None = None
    weights: Path | None = None
    groups: Path | None = None
    by: tuple[str, ...] = ()
    holdout: float | None = None
    device: str = "auto"
    layout: str = "auto"
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if self.by and self.groups is None:
            raise UsageError("--by needs the table of groups: name it with --groups")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise UsageError("--holdout must be a share between 0 and 1, such as 0.2")
        if self.seeds is not None and not 1 <= self.seeds <= 1000:
            raise UsageError("--seeds must be a whole number from 1 to 1,000")
        if not 0 <= self.seed <= 2**32:
            raise UsageError("--seed must be a whole number from 0 to 4,294,967,296")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of the networks."""
        count = self.seeds if self.seeds is not None else 1 if self.probe else SEEDS
        return tuple(range(self.seed, self.seed + count))


@dataclass(frozen=True, slots=True)
class Running:
    """How to go about it; nothing here can change the report.

    Args:
        work: a folder in which a work folder is made, and removed when all is done.
        workers: processes; None for one per usable core, or one on CUDA.
        predictions: a folder for files of predictions, or None.
        watch: called with every step forward.
        tell: called with a line for the user, now and then.
        stop: when set, what is in hand is finished and the run pauses.
    """

    work: Path = field(default_factory=Path)
    workers: int | None = None
    predictions: Path | None = None
    watch: Callable[[Step], None] = field(default=lambda _: None)
    tell: Callable[[str], None] = field(default=lambda _: None)
    stop: threading.Event = field(default_factory=threading.Event)

    def processes(self, device: str) -> int:
        """How many processes to use on a device."""
        if self.workers is not None:
            return self.workers
        if device == "cuda":
            return 1
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
