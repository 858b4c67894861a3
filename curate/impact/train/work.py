"""The work folder of a training, which goes when its report is made.

::

    .curate-train-DIGEST/lock               held while a run writes
    .curate-train-DIGEST/pause              there when what is in hand shall be the last
    .curate-train-DIGEST/original.rows      each image as a row of numbers, by place
    .curate-train-DIGEST/obfuscated.rows
    .curate-train-DIGEST/done/NNNNN.json    which rows are there, and which images have none
    .curate-train-DIGEST/examples.npz       who is trained on and tested on
    .curate-train-DIGEST/checkpoints/       networks in training
    .curate-train-DIGEST/staging/           results in work
    .curate-train-DIGEST/results/NNNNN/     what a trained network says of the test images

The digest is of everything that can change a result, so that another request has another
folder and the same one goes on where it stopped.
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

from curate.core.errors import DataError, LockedError, SetupError, UsageError
from curate.storage.lock import FolderLock

PREFIX = ".curate-train-"


@dataclass(frozen=True, slots=True)
class RowForm:
    """How an image is kept.

    Args:
        shape: of one image's numbers.
        dtype: NumPy's name of their type.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Of one image."""
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
        """Held by the one that writes."""
        return self.root / "lock"

    @property
    def pause(self) -> Path:
        """There when the processes shall stop at the next epoch."""
        return self.root / "pause"

    @property
    def examples(self) -> Path:
        """Rows, labels and weights."""
        return self.root / "examples.npz"

    @property
    def results(self) -> Path:
        """Finished networks' answers."""
        return self.root / "results"

    def rows(self, dataset: str) -> Path:
        """A dataset's images as rows."""
        return self.root / f"{dataset}.rows"

    def done(self, shard: str) -> Path:
        """Which images of a shard have rows."""
        return self.root / "done" / f"{shard}.json"

    def checkpoint(self, shard: str) -> Path:
        """A network in training."""
        return self.root / "checkpoints" / f"{shard}.pt"

    def result(self, shard: str) -> Path:
        """A finished network's answers."""
        return self.results / shard

    def prepare(self) -> None:
        """Make the folders, and drop what a killed run left half done."""
        shutil.rmtree(self.root / "staging", ignore_errors=True)
        for name in ("staging", "results", "checkpoints", "done"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.pause.unlink(missing_ok=True)

    def reserve(self, dataset: str, form: RowForm, images: int) -> None:
        """Take the disk space of a dataset's rows at once, lest it run out half-way.

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
                    f"the images take {2 * size / 1e9:,.1f} GB in {self.root.parent}, which has "
                    "less room; free some, or name another place with --work"
                ) from None

    def open_rows(self, dataset: str, form: RowForm, images: int) -> npt.NDArray[Any]:
        """A dataset's rows, images×shape, read from the disk as they are asked for."""
        return np.memmap(self.rows(dataset), form.dtype, "r", shape=(images, *form.shape))


@contextmanager
def hold_work(folder: Path, digest: str) -> Iterator[tuple[Work, int]]:
    """Be the only one that writes a work folder; yields it and the lock's descriptor.

    It is removed when all is done, or when the data turn out not to fit, and left where the
    run stops before: the same request goes on from it.

    Raises:
        SetupError: if it cannot be written, or another run is writing it.
    """
    work = Work(folder / f"{PREFIX}{digest[:12]}")
    try:
        work.root.mkdir(mode=0o700, exist_ok=True)  # it holds faces
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
            f"another run of the same request is writing {work.root}; wait for it"
        ) from None
    except OSError as error:
        line = error.strerror or str(error)
        raise SetupError(
            f"{error.filename or work.root} cannot be written: {line}; "
            "make room there, or name another place with --work"
        ) from error


@contextmanager
def passing_on(stop: threading.Event, work: Work) -> Iterator[None]:
    """Tell the processes by a file when they shall stop: they see no event of this one."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            if stop.is_set():
                work.pause.touch()
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
