"""Which networks are trained, on which rows, and what for."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError, PausedError, UsageError
from curate.impact.arrays import Bools, Floats, Ints
from curate.impact.train.hyperparameters import Hyperparameters
from curate.impact.train.trial import DATASETS
from curate.layouts.files import SPLITS
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


TRAIN, TEST, NEITHER = 0, 1, 2
"""What becomes of an image."""

_TRAINING = frozenset({"train", "training"})

Places = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """What the original dataset says of each image.

    Args:
        splits: names of splits; None is that of images without one.
        split: N, each image's place in ``splits``.
        classes: names of classes, sorted.
        labels: N, each image's place in ``classes``; -1 without a class.
        draws: N, a number drawn from each image's id and the seed, for a hold-out.
    """

    splits: tuple[str | None, ...]
    split: Ints
    classes: tuple[str, ...]
    labels: Ints
    draws: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What becomes of each image.

    Args:
        places: N, ``TRAIN``, ``TEST`` or ``NEITHER``.
        holdout: the share that is held out; None where the dataset has splits.
        by_split: images by split, of those that take part.
        left_out: images that take no part, by reason.
    """

    places: Places
    holdout: float | None
    by_split: dict[str, int]
    left_out: dict[str, int]


def assign_parts(listed: Listed, holdout: float | None) -> Parts:
    """Follow the dataset's splits, or hold images out where it has one only.

    A split called train is trained on and every other known one is tested on: nothing is
    chosen by looking at any of them.

    Raises:
        DataError: if no image has a class.
        UsageError: if a hold-out is asked for and there are splits.
    """
    labelled = listed.labels >= 0
    if not labelled.any():
        raise DataError(
            "no image of ORIGINAL has a class; want folders named after classes, or a table with "
            "the columns id and label: name it with --labels"
        )
    kinds = np.array([_kind(name) for name in listed.splits], dtype=np.int8)[listed.split]
    present = {int(kind) for kind in np.unique(kinds[labelled])}
    left_out = {"without_class": int((~labelled).sum()), "other_splits": 0}
    if {TRAIN, TEST} <= present:
        if holdout is not None:
            names = ", ".join(sorted(str(name) for name in listed.splits if name))
            raise UsageError(f"--holdout is for a dataset of one split; ORIGINAL has {names}")
        places = np.where(labelled, kinds, NEITHER).astype(np.int8)
        left_out["other_splits"] = int((labelled & (kinds == NEITHER)).sum())
    else:
        holdout = HOLD_OUT if holdout is None else holdout
        places = np.full(len(kinds), NEITHER, dtype=np.int8)
        places[labelled] = TRAIN
        places[_draw_held_out(listed, holdout)] = TEST
    names_by_place = Counter(listed.split[places != NEITHER].tolist())
    by_split = {
        listed.splits[place] or "": count for place, count in sorted(names_by_place.items())
    }
    return Parts(places, holdout, by_split, left_out)


def check_classes(classes: Sequence[str], labels: Ints, places: Places) -> None:
    """Make sure that every class is trained and tested.

    Raises:
        DataError: if there is one class only, or one lacks images.
    """
    if len(classes) < 2:
        raise DataError(f"there is one class only, {classes[0]!r}; nothing can be told apart")
    for part, name in ((TRAIN, "training"), (TEST, "test")):
        counts = np.bincount(labels[places == part], minlength=len(classes))
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            more = f" (and {len(empty) - 1:,} more classes have none)" if len(empty) > 1 else ""
            raise DataError(
                f"the class {classes[empty[0]]!r} has no {name} image{more}; "
                "every class needs images to train on and to test on"
            )


def _kind(split: str | None) -> int:
    name = (split or "").lower()
    if name in _TRAINING:
        return TRAIN
    return TEST if name in SPLITS else NEITHER


def _draw_held_out(listed: Listed, share: float) -> Bools:
    """The share of each class whose draws are lowest; one at least, and never all of it."""
    held = np.zeros(len(listed.labels), dtype=bool)
    order = np.lexsort((listed.draws, listed.labels))
    ends = np.searchsorted(listed.labels[order], np.arange(len(listed.classes) + 1))
    for start, end in pairwise(ends):
        count = int(end - start)
        held[order[start : start + min(count - 1, max(1, round(share * count)))]] = True
    return held
