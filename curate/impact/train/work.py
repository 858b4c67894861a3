"""The work folder of a training, removed when the report is complete.

::

    .curate-train-DIGEST/lock               locked while a run writes
    .curate-train-DIGEST/pause              exists when workers shall stop after the epoch
    .curate-train-DIGEST/original.rows      each image as an array row, by position
    .curate-train-DIGEST/obfuscated.rows
    .curate-train-DIGEST/done/NNNNN.json    rows that are written, and images without one
    .curate-train-DIGEST/examples.npz       positions and labels of training and test images
    .curate-train-DIGEST/checkpoints/       checkpoints of networks in training
    .curate-train-DIGEST/staging/           results being written
    .curate-train-DIGEST/results/NNNNN/     a trained network's scores of the test images

The digest is of everything that can change a result, so that other options get another folder
and the same ones resume.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError, LockedError, PausedError, SetupError, UsageError
from curate.impact.experiment import Floats, Ints
from curate.impact.train.cells import DATASETS
from curate.storage.atomic import open_atomic
from curate.storage.lock import FolderLock

PREFIX = ".curate-train-"


@dataclass(frozen=True, slots=True)
class RowForm:
    """Shape and type of one image's row.

    Args:
        shape: of one row.
        dtype: name of a NumPy dtype.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Size of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Work:
    """Paths of a work folder.

    Args:
        root: the folder.
    """

    root: Path

    @property
    def lock(self) -> Path:
        """Lock file of the running process."""
        return self.root / "lock"

    @property
    def pause(self) -> Path:
        """Marker for the workers to stop after the epoch."""
        return self.root / "pause"

    @property
    def examples(self) -> Path:
        """Positions, labels and weights of the images."""
        return self.root / "examples.npz"

    @property
    def results(self) -> Path:
        """Folder of the trained networks' scores."""
        return self.root / "results"

    def rows(self, dataset: str) -> Path:
        """File of a dataset's images as rows."""
        return self.root / f"{dataset}.rows"

    def done(self, shard: str) -> Path:
        """File that lists the images of a shard without rows."""
        return self.root / "done" / f"{shard}.json"

    def checkpoint(self, shard: str) -> Path:
        """Checkpoint of a network in training."""
        return self.root / "checkpoints" / f"{shard}.pt"

    def result(self, shard: str) -> Path:
        """Folder of a trained network's scores."""
        return self.results / shard

    def prepare(self) -> None:
        """Create the folders and remove unfinished results of a killed run."""
        shutil.rmtree(self.root / "staging", ignore_errors=True)
        for name in ("staging", "results", "checkpoints", "done"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.pause.unlink(missing_ok=True)

    def reserve(self, dataset: str, form: RowForm, images: int) -> None:
        """Allocate the disk space of a dataset's rows.

        Raises:
            SetupError: if there is too little.
        """
        size = form.bytes * images
        with self.rows(dataset).open("ab") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise SetupError(
                    f"the images need {2 * size / 1e9:,.1f} GB in {self.root.parent}, which has "
                    "less space; free some, or name another folder with --work"
                ) from None

    def open_rows(self, dataset: str, form: RowForm, images: int) -> npt.NDArray[Any]:
        """Return a dataset's rows as a memory map, shape (images, *shape)."""
        return np.memmap(self.rows(dataset), form.dtype, "r", shape=(images, *form.shape))


@contextmanager
def hold_work(folder: Path, digest: str) -> Iterator[tuple[Work, int]]:
    """Lock a work folder; yields it and the lock's file descriptor.

    It is removed at the end, or if the data do not fit, and kept if the run stops before: the
    same options resume from it.

    Raises:
        SetupError: if it cannot be written, or another run is writing it.
    """
    work = Work(folder / f"{PREFIX}{digest[:12]}")
    try:
        work.root.mkdir(mode=0o700, exist_ok=True)  # it contains faces
        with FolderLock(work.lock) as lock:
            work.prepare()
            try:
                yield work, lock.descriptor
            except (DataError, UsageError):
                shutil.rmtree(work.root)
                raise
            shutil.rmtree(work.root)
    except LockedError:
        raise LockedError(
            f"another run with the same options is writing {work.root}; wait for it"
        ) from None
    except OSError as error:
        line = error.strerror or str(error)
        raise SetupError(
            f"cannot write {error.filename or work.root}: {line}; "
            "free disk space, or name another folder with --work"
        ) from error


@contextmanager
def forward_stop(stop: threading.Event, work: Work) -> Iterator[None]:
    """Tell the workers to stop by a file: they do not see this process's event."""
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.05):
            if stop.is_set():
                work.pause.touch()
                return

    watcher = threading.Thread(target=poll, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@dataclass(frozen=True, slots=True)
class Network:
    """One network or probe to train.

    Args:
        number: names its result.
        seed: of its initial weights, the order of images and the crops.
        trained: the dataset it is trained on.
        weighted: whether its training images are weighted.
    """

    number: int
    seed: int
    trained: str
    weighted: bool


@dataclass(frozen=True, slots=True, eq=False)
class TrainTestRows:
    """Images that every network is trained and tested on, by position.

    Args:
        train: positions of training images.
        train_labels: their classes.
        test: positions of test images.
        test_labels: their classes.
        weights: of the training images, or None.
    """

    train: Ints
    train_labels: Ints
    test: Ints
    test_labels: Ints
    weights: Floats | None

    def save(self, path: Path) -> None:
        """Write them for the worker processes."""
        with open_atomic(path) as file:
            np.savez(
                file,
                train=self.train,
                train_labels=self.train_labels,
                test=self.test,
                test_labels=self.test_labels,
                weights=np.zeros(0) if self.weights is None else self.weights,
            )


def load_rows(path: Path) -> TrainTestRows:
    """Read them in a worker process."""
    with np.load(path) as found:
        weights = found["weights"]
        return TrainTestRows(
            found["train"],
            found["train_labels"],
            found["test"],
            found["test_labels"],
            weights if len(weights) else None,
        )


def list_networks(seeds: tuple[int, ...], weighted: bool) -> tuple[Network, ...]:
    """Return the networks by seed, those without weights first."""
    kinds = [
        (seed, trained, with_weights)
        for seed in seeds
        for with_weights in ((False, True) if weighted else (False,))
        for trained in DATASETS
    ]
    return tuple(Network(number, *kind) for number, kind in enumerate(kinds))


def make_pause(done: int, total: int, unit: str) -> PausedError:
    """Return the error for a run that stops as requested."""
    return PausedError(
        f"paused after {done:,} of {total:,} {unit}; run the same command again to resume"
    )
