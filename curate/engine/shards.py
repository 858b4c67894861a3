"""Shards: consecutive records, written to a staging folder and committed by one rename.

A shard lists its files with their digests, so that what has become of them can be checked later.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from curate.core.records import ImageRecord
from curate.storage.atomic import sync_folder, sync_tree
from curate.storage.regular import iter_short_lines, open_regular

FILES = "files.jsonl"
"""List of a shard's files: a line for each, ``[path, SHA-256]``."""


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
        self._digests: dict[str, str] = {}

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
        self._digests[str(path)] = hashlib.sha256(data).hexdigest()

    def commit(self) -> None:
        """List the shard's files, flush it to the disk, then publish it by an atomic rename.

        A shard that another process committed in the meantime is kept:
        equal records and recipe give equal bytes.
        """
        with (self._folder / FILES).open("w", encoding="ascii") as file:
            for path in sorted(_iter_files(self._folder)):
                if path != FILES:
                    digest = self._digests.get(path) or _digest(self._folder / path)
                    file.write(f"{json.dumps([path, digest])}\n")
        sync_tree(self._folder)
        try:
            self._folder.rename(self._target)
        except OSError:
            if not self._target.is_dir():
                raise
        sync_folder(self._target.parent)


def iter_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Iterate over the list of a committed shard: each path, with its SHA-256.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
        TypeError: if it has anything else.
    """
    with open_regular(folder / FILES) as file:
        for path, digest in map(json.loads, iter_short_lines(file)):
            yield PurePosixPath(path).as_posix(), digest


def find_damage(folder: Path, moved: Callable[[str], Path | None]) -> str | None:
    """Compare the files of a committed shard with their list.

    Args:
        folder: the shard.
        moved: where a file is that is no longer in the shard's folder; None if it need not be.

    Returns:
        What differs first, or None if each file is what was written and there is no other.
    """
    listed = {FILES}
    try:
        for path, digest in iter_files(folder):
            listed.add(path)
            place = folder / path if (folder / path).exists() else moved(path)
            if place is not None and (damage := _compare(place, digest)):
                return f"{path} {damage}"
    except (OSError, ValueError, TypeError):
        return f"its {FILES} cannot be read"
    other = next((path for path in _iter_files(folder) if path not in listed), None)
    return None if other is None else f"{other} is not one of its files"


def _compare(path: Path, digest: str) -> str | None:
    """What is wrong with a file, or None if it has this digest."""
    try:
        return None if _digest(path) == digest else "has changed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _iter_files(folder: Path) -> Iterator[str]:
    """Paths of all files below a folder, relative to it."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names)
