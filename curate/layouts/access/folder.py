"""A tree of files, opened for reading only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from curate.core.errors import CurateError, DataError, SetupError, SourceChangedError, WithheldError
from curate.layouts.access.walk import is_text_path, iter_files


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
    are told by a ``.`` among their parts (see `curate.layouts.access.walk`), and never opened.
    """

    name: str
    """What messages call it, such as SOURCE."""

    place: str
    """What `curate.layouts.open_folder` opens again in another process."""

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


_OF_THE_FILE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.ENXIO, errno.ENODEV, errno.EOVERFLOW, errno.EFBIG),
    }
)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


def open_file(path: Path, name: str) -> BinaryIO:
    """Open a regular file for reading, without waiting for anyone.

    Args:
        path: where the file is.
        name: what the user calls it.

    Raises:
        WithheldError: ``unreadable``, if this very file cannot be read.
        SourceChangedError: if it is no longer there.
        SetupError: if opening fails for a reason that is not this file's, such
            as a disk or a network that is gone.
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise _explain(error, name) from None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise WithheldError("unreadable", "it is not a regular file")


def read_file(path: Path, name: str) -> bytes:
    """The bytes of a regular file; raises as ``open_file`` does."""
    with open_file(path, name) as file:
        try:
            return file.read()
        except OSError as error:
            raise _explain(error, name) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe in the file's place may have nobody to write to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _explain(error: OSError, name: str) -> CurateError:
    cause = error.strerror or "cannot be read"
    if error.errno in _OF_THE_FILE:
        return WithheldError("unreadable", cause)
    if error.errno in _GONE:
        return SourceChangedError(
            f"{name!r} is gone from SOURCE since the run began; "
            "put SOURCE back as it was and run the same command again to go on"
        )
    return SetupError(
        f"{name!r} in SOURCE cannot be read: {cause}; "
        "mend that and run the same command again to go on"
    )
