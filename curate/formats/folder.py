"""A tree of files, opened for reading only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from curate.core.errors import DataError, WithheldError
from curate.formats.reading import open_file, read_file
from curate.formats.walk import is_text_path, iter_files


@dataclass(frozen=True, slots=True)
class Leaf:
    """One file of a tree.

    Args:
        path: relative to the tree's root, with ``/``.
        size: bytes.
        stamp: a short text that changes when the file does.
        regular: whether it is a plain file, not a pipe, a socket or a device.
    """

    path: str
    size: int
    stamp: str
    regular: bool = True


class Folder(Protocol):
    """Where a dataset's files are, on a disk or elsewhere.

    Paths are relative to the folder and have ``/``. Those that are not valid text
    are told by a ``.`` among their parts (see `curate.formats.walk`), and never opened.
    """

    name: str
    """What messages call it, such as SOURCE."""

    place: str
    """What `curate.formats.open_folder` opens again in another process."""

    def leaves(self) -> Iterator[Leaf]:
        """Every file, streaming, in the order of the paths' bytes."""
        ...

    def names(self, path: str = "") -> frozenset[str]:
        """Names in one folder of the tree, folders with a trailing ``/``; none if it is absent."""
        ...

    def leaf(self, path: str) -> Leaf | None:
        """One file, or None if there is none of that name."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading; it can be sought in.

        Raises:
            WithheldError: if this very file cannot be read.
            DataError: if it has gone.
            SetupError: if its storage does not answer.
        """
        ...

    def read(self, path: str) -> bytes:
        """The bytes of one file; raises as ``open`` does."""
        ...


class LocalFolder:
    """A folder on a file system.

    Args:
        root: the folder; links in its own path are resolved.
        name: what messages call it.

    Raises:
        DataError: if it is not a folder.
    """

    def __init__(self, root: Path, name: str = "SOURCE") -> None:
        self.root = root.resolve()
        self.name = name
        self.place = str(self.root)
        if not self.root.is_dir():
            raise DataError(f"{name} {str(root)!r} is not a folder")

    def leaves(self) -> Iterator[Leaf]:
        """Every file, streaming, in the order of the paths' bytes."""
        for path, status in iter_files(self.root, self.name):
            yield Leaf(path, status.st_size, _stamp(status), stat.S_ISREG(status.st_mode))

    def names(self, path: str = "") -> frozenset[str]:
        """Names in one folder of the tree, folders with a trailing ``/``."""
        try:
            with os.scandir(self.root / path) as entries:
                return frozenset(f"{e.name}/" if e.is_dir() else e.name for e in entries)
        except OSError:
            return frozenset()

    def leaf(self, path: str) -> Leaf | None:
        """One file, or None if there is none of that name."""
        try:
            status = (self.root / path).stat()
        except (OSError, ValueError):
            return None
        return Leaf(path, status.st_size, _stamp(status), stat.S_ISREG(status.st_mode))

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading; raises as the protocol says."""
        if not is_text_path(path):
            raise WithheldError("name", "the file name is not valid UTF-8")
        return open_file(self.root / path, path)

    def read(self, path: str) -> bytes:
        """The bytes of one file; raises as the protocol says."""
        if not is_text_path(path):
            raise WithheldError("name", "the file name is not valid UTF-8")
        return read_file(self.root / path, path)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}.{status.st_mtime_ns}"
