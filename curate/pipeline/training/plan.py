"""Which networks are trained, on which rows, and what for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.core.errors import PausedError
from curate.impact.arrays import Floats, Ints
from curate.impact.transfer.trial import DATASETS


@dataclass(frozen=True, slots=True)
class Arm:
    """One network, or probe.

    Args:
        number: names its result.
        seed: of its first weights, its order and its crops.
        trained: on which dataset.
        weighted: whether its training images were weighted.
    """

    number: int
    seed: int
    trained: str
    weighted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What every network is trained and tested on, by place.

    Args:
        train: places of training images.
        train_labels: their classes.
        test: places of test images.
        test_labels: their classes.
        weights: of the training images; None without.
    """

    train: Ints
    train_labels: Ints
    test: Ints
    test_labels: Ints
    weights: Floats | None


def list_arms(seeds: tuple[int, ...], weighted: bool) -> tuple[Arm, ...]:
    """Both datasets' networks of a seed stand together, those without weights first."""
    kinds = [
        (seed, trained, with_weights)
        for seed in seeds
        for with_weights in ((False, True) if weighted else (False,))
        for trained in DATASETS
    ]
    return tuple(Arm(number, *kind) for number, kind in enumerate(kinds))


def save_lessons(lessons: Lessons, path: Path) -> None:
    """Write them for the processes."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            train=lessons.train,
            train_labels=lessons.train_labels,
            test=lessons.test,
            test_labels=lessons.test_labels,
            weights=np.zeros(0) if lessons.weights is None else lessons.weights,
        )
    partial.replace(path)


def load_lessons(path: Path) -> Lessons:
    """Read them in a process."""
    with np.load(path) as found:
        weights = found["weights"]
        return Lessons(
            found["train"],
            found["train_labels"],
            found["test"],
            found["test_labels"],
            weights if len(weights) else None,
        )


def paused(done: int, total: int, unit: str) -> PausedError:
    """What is raised when a run stops as asked."""
    return PausedError(
        f"paused after {done:,} of {total:,} {unit}; run the same command again to go on"
    )
