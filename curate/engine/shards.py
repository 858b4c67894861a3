"""Shards: consecutive records, written to a staging folder and committed by one rename."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from curate.core.records import ImageRecord
from curate.storage.atomic import sync_folder, sync_tree


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive records of a dataset.

    Args:
        number: index in the run, from 0; names the shard's part of the manifest.
        records: the records, in the source's order.
        withhold: reasons by record id, for images that must not be processed again.
        one_by_one: process a single record at a time, to identify the record
            that kills its process.
    """

    number: int
    records: tuple[ImageRecord, ...]
    withhold: Mapping[str, str] = field(default_factory=dict)
    one_by_one: bool = False

    @property
    def name(self) -> str:
        """Name of the shard in folders and manifest parts."""
        return shard_name(self.number)


def shard_name(number: int) -> str:
    """Return a shard's name in folders and manifest parts: at least five digits."""
    return f"{number:05d}"


def iter_shards(records: Iterable[ImageRecord], size: int) -> Iterator[Shard]:
    """Yield shards of ``size`` records each; the last may be smaller."""
    stream = iter(records)
    number = 0
    while batch := tuple(islice(stream, size)):
        yield Shard(number, batch)
        number += 1


class Stage:
    """Staging folder of one shard.

    Leaving the ``with`` block without ``commit`` removes all files.

    Args:
        staging: parent folder of uncommitted shards, on the file system of ``committed``; it
            exists, and is not created again if another process has removed it.
        committed: folder of committed shards.
        name: the shard's name.
    """

    def __init__(self, staging: Path, committed: Path, name: str) -> None:
        self._folder = staging / f"{name}.{secrets.token_hex(8)}"
        self._target = committed / name

    def __enter__(self) -> Stage:
        self._folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def path(self, relative: PurePosixPath | str) -> Path:
        """Return the path at which to write a file of the shard; creates its folder.

        Raises:
            ValueError: if the path leaves the shard's folder.
        """
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"{relative!s} leaves its shard")
        path = self._folder / pure
        try:
            path.parent.mkdir(exist_ok=True)
        except FileNotFoundError:
            folder = self._folder
            for part in pure.parent.parts:
                folder /= part
                folder.mkdir(exist_ok=True)
        return path

    def write(self, path: PurePosixPath | str, data: bytes) -> None:
        """Write one file of the shard."""
        self.path(path).write_bytes(data)

    def commit(self) -> None:
        """Flush the shard to the disk, then publish it by an atomic rename.

        A shard that another process committed in the meantime is kept:
        equal records and recipe give equal bytes.
        """
        sync_tree(self._folder)
        try:
            self._folder.rename(self._target)
        except OSError:
            if not self._target.is_dir():
                raise
        sync_folder(self._target.parent)
