"""A folder of files, opened for reading only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from curate.core.errors import (
    CurateError,
    DataError,
    SetupError,
    SourceChangedError,
    WithheldError,
    suggest,
)
from curate.layouts.access.tree import is_text_path, is_tool_path, iter_files
from curate.storage.regular import open_regular

_MAX_BESIDE = 1000  # names compared with that of a missing folder
_follows: ContextVar[bool] = ContextVar("follow_links", default=False)


@contextmanager
def follow_links(follow: bool = True) -> Iterator[None]:
    """Open datasets such that symbolic links that point outside them are followed.

    It holds for datasets opened inside the ``with`` block, in this thread. What is sent to
    worker processes has a field for it, filled from ``Source.follow_links``.
    """
    token = _follows.set(follow)
    try:
        yield
    finally:
        _follows.reset(token)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file in a folder tree.

    Args:
        path: path relative to the root, with ``/``.
        size: size in bytes.
        stamp: short text that changes when the file changes.
        regular: whether it is a regular file rather than a pipe, a socket or a device.
    """

    path: str
    size: int
    stamp: str
    regular: bool = True


class Folder(Protocol):
    """Storage of the files of a dataset, local or remote.

    Paths are relative to the folder, with ``/``. Paths that are not valid text contain
    the component ``.`` (see `iter_files`) and are never opened. Folders of tools are skipped.
    """

    name: str
    """Name in messages, such as SOURCE."""

    uri: str
    """Path or URI from which `curate.layouts.open_folder` opens the folder in any process."""

    follow_links: bool
    """Whether symbolic links that point outside the folder are followed."""

    def files(self) -> Iterator[FileInfo]:
        """Iterate over all files, streaming, sorted by the bytes of their paths."""
        ...

    def list_names(self, path: str = "") -> frozenset[str]:
        """Return the names in a subfolder, folders with a trailing ``/``; empty if missing."""
        ...

    def info(self, path: str) -> FileInfo | None:
        """Return a file, or None if it does not exist."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a seekable file for reading.

        Raises:
            WithheldError: if only this file cannot be read.
            DataError: if it no longer exists.
            SetupError: if the storage does not respond.
        """
        ...

    def read(self, path: str) -> bytes:
        """Return the content of a file; raises like `open`."""
        ...


class LocalFolder:
    """Folder on a local file system.

    Args:
        root: path of the folder; symbolic links in it are resolved.
        name: name in messages.
        follow_links: whether links that point outside it are followed; None for what
            `follow_links` permits.

    Raises:
        DataError: if it is not a folder.
    """

    def __init__(self, root: Path, name: str = "SOURCE", follow_links: bool | None = None) -> None:
        self.root = root.resolve()
        self.name = name
        self.follow_links = _follows.get() if follow_links is None else follow_links
        self.uri = str(self.root)
        if not self.root.is_dir():
            raise DataError(describe_no_folder(root, name))

    def files(self) -> Iterator[FileInfo]:
        """Iterate over all files, streaming, sorted by the bytes of their paths."""
        for path, status in iter_files(self.root, self.name, self.follow_links):
            if is_tool_path(path):
                continue
            yield FileInfo(path, status.st_size, _stamp(status), stat.S_ISREG(status.st_mode))

    def list_names(self, path: str = "") -> frozenset[str]:
        """Return the names in a subfolder, folders with a trailing ``/``."""
        try:
            with os.scandir(self.root / path) as entries:
                return frozenset(f"{e.name}/" if e.is_dir() else e.name for e in entries)
        except OSError:
            return frozenset()

    def info(self, path: str) -> FileInfo | None:
        """Return a file, or None if it does not exist."""
        if is_tool_path(path):
            return None
        try:
            status = os.stat(os.path.join(self.uri, path))  # noqa: PTH116, PTH118 - of many
        except (OSError, ValueError):
            return None
        return FileInfo(path, status.st_size, _stamp(status), stat.S_ISREG(status.st_mode))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; see `Folder.open`."""
        if not is_text_path(path):
            raise WithheldError("name", "the file name is not valid UTF-8")
        return open_file(self.root / path, path)

    def read(self, path: str) -> bytes:
        """Return the content of a file; see `Folder.read`."""
        if not is_text_path(path):
            raise WithheldError("name", "the file name is not valid UTF-8")
        return read_file(self.root / path, path)


ARCHIVE_SUFFIXES = frozenset({".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
"""Suffixes of archives that must be unpacked."""


def describe_no_folder(path: Path, name: str) -> str:
    """Describe a path that is not a folder: missing, with similar names beside it, or a file."""
    if not os.path.lexists(path):
        try:
            with os.scandir(path.parent) as entries:
                beside = [entry.name for entry in islice(entries, _MAX_BESIDE)]
        except OSError:
            beside = []
        return f"{name} {str(path)!r} does not exist{suggest(path.name, beside)}"
    return f"{name} {str(path)!r} is not a folder{_advise(path)}"


def _advise(path: Path) -> str:
    """Return what to do with a file that was passed in place of a folder."""
    if not path.is_file():
        return ""
    if path.suffix.lower() in ARCHIVE_SUFFIXES:
        return "; unpack the archive and pass the folder"
    return "; pass the folder that contains the file"


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}.{status.st_mtime_ns}"


MAX_IMAGE = 256 << 20
"""Maximum size of the file of an image, bytes."""

_OF_THE_FILE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.ENXIO, errno.ENODEV, errno.EOVERFLOW, errno.EFBIG, errno.EINVAL),
    }
)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


def open_file(path: Path, name: str) -> BinaryIO:
    """Open a regular file for reading without blocking.

    Args:
        path: path of the file.
        name: name of the file in messages.

    Raises:
        WithheldError: ``unreadable``, if only this file cannot be read.
        SourceChangedError: if it no longer exists.
        SetupError: if opening fails for another reason, such as an unavailable disk or
            network.
    """
    try:
        return open_regular(path, follow_links=True)
    except OSError as error:
        raise _explain(error, name) from None


def read_file(path: Path, name: str) -> bytes:
    """Return the content of a regular file; raises like `open_file` and `check_image_size`."""
    with open_file(path, name) as file:
        check_image_size(os.fstat(file.fileno()).st_size)
        try:
            data = file.read(MAX_IMAGE + 1)
        except OSError as error:
            raise _explain(error, name) from None
    check_image_size(len(data))  # it may have grown
    return data


def check_image_size(size: int) -> None:
    """Check the size of an image file, which is read whole.

    Raises:
        WithheldError: ``bomb``.
    """
    if size > MAX_IMAGE:
        raise WithheldError(
            "bomb", f"its file has {size >> 20:,} MB; the limit is {MAX_IMAGE >> 20} MB"
        )


def _explain(error: OSError, name: str) -> CurateError:
    cause = error.strerror or "cannot be read"
    if error.errno in _OF_THE_FILE:
        return WithheldError("unreadable", cause)
    if error.errno in _GONE:
        return SourceChangedError(
            f"{name!r} was removed from SOURCE during the run; "
            "restore SOURCE and run the same command again to resume"
        )
    return SetupError(
        f"{name!r} in SOURCE cannot be read: {cause}; "
        "fix this and run the same command again to resume"
    )
