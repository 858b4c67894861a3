"""The unit of work: a run of records, staged apart and committed by one rename."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from curate.core.records import ImageRecord


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive records of a dataset.

    Args:
        number: position in the run, from 0; names the shard's part of the manifest.
        records: the records, in the source's order.
        withhold: reasons by record id, for images that must not be opened again.
        one_by_one: work on a single record at a time, so that the one that
            kills its process can be told.
    """

    number: int
    records: tuple[ImageRecord, ...]
    withhold: Mapping[str, str] = field(default_factory=dict)
    one_by_one: bool = False

    @property
    def name(self) -> str:
        """The shard's name in folders and manifest parts."""
        return shard_name(self.number)


def shard_name(number: int) -> str:
    """The shard's name in folders and manifest parts: five digits or more."""
    return f"{number:05d}"


def iter_shards(records: Iterable[ImageRecord], size: int) -> Iterator[Shard]:
    """Cut a stream of records into shards of ``size`` records; the last may be shorter."""
    stream = iter(records)
    number = 0
    while batch := tuple(islice(stream, size)):
        yield Shard(number, batch)
        number += 1


class Stage:
    """A folder in which one shard's files are written until they are committed.

    Leaving the ``with`` block without ``commit`` removes everything.

    Args:
        staging: folder for work in progress, on the file system of ``committed``.
        committed: folder of finished shards.
        name: the shard's name.
    """

    def __init__(self, staging: Path, committed: Path, name: str) -> None:
        self._folder = staging / f"{name}.{os.getpid()}"
        self._target = committed / name

    def __enter__(self) -> Stage:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def path(self, relative: PurePosixPath | str) -> Path:
        """Where a file of the shard is to be written; its folder is made.

        Raises:
            ValueError: if the path would leave the shard.
        """
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"{relative!s} leaves its shard")
        path = self._folder / pure
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, path: PurePosixPath | str, data: bytes) -> None:
        """Write one file of the shard."""
        self.path(path).write_bytes(data)

    def commit(self) -> None:
        """Make the shard durable, then visible, all at once.

        A shard that another process has committed meanwhile is left as it is:
        the same records and recipe give the same bytes.
        """
        sync_tree(self._folder)
        try:
            self._folder.rename(self._target)
        except OSError:
            if not self._target.is_dir():
                raise
        sync_folder(self._target.parent)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder`` to the disk.

    Where the kernel can flush a whole file system at once (Linux), it is asked
    to: one wait per shard instead of one per file.
    """
    if _sync_file_system(folder):
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def _sync_file_system(folder: Path) -> bool:
    try:
        syncfs = ctypes.CDLL(None).syncfs
    except (OSError, AttributeError):
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return bool(syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush one file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's list of names to the disk."""
    sync_file(path)
