"""A tree of files, opened for reading only."""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from curate.core.errors import CurateError, DataError, SetupError, SourceChangedError, WithheldError

_RUN = 200_000  # names sorted in memory at a time


@dataclass(slots=True)
class _Folder:
    path: bytes
    shown: str
    names: Iterator[bytes]
    identity: tuple[int, int]


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


_OUTPUT = "OUT"  # name of folders that curate has written, which have no links


def iter_files(
    root: Path, name: str = "SOURCE", follow_links: bool = False
) -> Iterator[tuple[str, os.stat_result]]:
    r"""Iterate over all files below a folder: relative POSIX path and status, sorted.

    The order is that of the bytes of the whole path, independent of the locale and the
    file system. Symbolic links that stay inside the folder are followed.

    A name that is not valid UTF-8 is preceded by ``./``, which no other path contains,
    with ``\xNN`` for its invalid bytes and ``\\`` for a backslash: no two files share
    a path, and every path is text. See `is_text_path`.

    Args:
        root: the folder.
        name: name of the folder in messages.
        follow_links: whether symbolic links that point outside the folder are followed, as in
            the cache of the Hub or in a folder of DVC.

    Raises:
        DataError: if a symbolic link points outside the folder, is broken or forms a
            loop, or if a folder cannot be listed.
    """
    top = os.path.realpath(os.fsencode(root))
    # An explicit stack: Python's recursion limit is about a thousand.
    stack = [_open_folder(top, "", _look(top, "", name), name)]
    while stack:
        folder = stack[-1]
        entry = next(folder.names, None)
        if entry is None:
            stack.pop()
            continue
        entry = entry.removesuffix(b"/")
        path, shown = folder.path + b"/" + entry, folder.shown + spell_name(entry)
        status = _look(path, shown, name)
        if stat.S_ISLNK(status.st_mode):
            status = _follow(path, shown, top, name, follow_links)
        if not stat.S_ISDIR(status.st_mode):
            yield shown, status
            continue
        if any((status.st_dev, status.st_ino) == above.identity for above in stack):
            raise DataError(f"{shown!r} in {name} is a symbolic link that forms a loop; remove it")
        stack.append(_open_folder(path, f"{shown}/", status, name))


TOOL_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".dvc", ".idea", ".vscode", ".ipynb_checkpoints", ".cache"),
        *("__MACOSX", "__pycache__", "@eaDir", ".Trashes", ".Spotlight-V100", "$RECYCLE.BIN"),
    }
)
"""Folders of tools, whose content is never part of a dataset."""


def is_tool_path(path: str) -> bool:
    """Return whether a path is inside the folder of a tool."""
    return not TOOL_FOLDERS.isdisjoint(path.split("/")[:-1])


POINTER_BYTES = 512
"""Bytes from the start of a file by which `describe_pointer` recognizes a pointer."""

_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = re.compile(rb"(?:(?:\.\./)*\.git)?/annex/objects/")


def describe_pointer(head: bytes) -> str | None:
    """Return what to do about a file that only points to its content, or None.

    Args:
        head: the first `POINTER_BYTES` of the file.
    """
    if head.startswith(_LFS):
        return "it is a Git LFS pointer; run `git lfs pull`"
    if _ANNEX.match(head):
        return "it is a git-annex file without content; run `git annex get`"
    return None


def is_text_path(path: str) -> bool:
    """Return whether all names in a path of `iter_files` are valid UTF-8."""
    return "." not in path.split("/")


def _open_folder(path: bytes, shown: str, status: os.stat_result, name: str) -> _Folder:
    return _Folder(path, shown, _sorted_names(path, shown, name), (status.st_dev, status.st_ino))


def _look(path: bytes, shown: str, name: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise _cannot("access", shown, name, error) from None


_LINKS = (
    ("/annex/objects/", "git-annex", "git annex get"),
    ("/.dvc/cache/", "DVC", "dvc pull"),
    ("/files/md5/", "DVC", "dvc pull"),
)


def _follow(path: bytes, shown: str, top: bytes, name: str, follow_links: bool) -> os.stat_result:
    """Return the status of the target of a link, which must be inside unless links are followed."""
    try:
        status = Path(os.fsdecode(path)).stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise _cannot("access", shown, name, error) from None
        target = str(Path(os.fsdecode(path)).readlink())
        for mark, tool, remedy in _LINKS:
            if mark in target:
                raise DataError(
                    f"{shown!r} in {name} is a {tool} file without content; run `{remedy}`"
                ) from None
        raise DataError(f"{shown!r} in {name} is a broken symbolic link; remove it") from None
    is_inside = (os.path.realpath(path) + b"/").startswith(top.rstrip(b"/") + b"/")
    if not is_inside and (name == _OUTPUT or not follow_links):
        remedy = "" if name == _OUTPUT else ", or pass --follow-links"
        raise DataError(
            f"{shown!r} in {name} is a symbolic link that points outside {name}; "
            f"replace it with the file{remedy}"
        )
    return status


def _cannot(action: str, shown: str, name: str, error: OSError) -> DataError:
    what = f"{shown.removesuffix('/')!r} in {name}" if shown else name
    return DataError(f"cannot {action} {what}: {error.strerror}")


def spell_name(name: bytes) -> str:
    """Return a file name as it appears in the paths of `iter_files`."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return "./" + name.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def _rank(name: bytes) -> bytes:
    return spell_name(name).encode()


def _sorted_names(path: bytes, shown: str, name: str) -> Iterator[bytes]:
    """Iterate over the names in a folder, sorted as shown; long listings are merged on disk.

    Folder names end in a slash, so that they sort as they do inside a whole path.
    """
    runs: list[Iterator[bytes]] = []
    names: list[bytes] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                names.append(entry.name + b"/" if _is_folder(entry) else entry.name)
                if len(names) == _RUN:
                    runs.append(_spill(sorted(names, key=_rank)))
                    names = []
    except OSError as error:
        raise _cannot("list the folder", shown, name, error) from None
    names.sort(key=_rank)
    yield from heapq.merge(*runs, names, key=_rank) if runs else names


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, reported when the walk reaches it


def _spill(names: list[bytes]) -> Iterator[bytes]:
    run = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the iterator
    run.writelines(name + b"\0" for name in names)
    run.seek(0)
    return _read_run(run)


def _read_run(run: IO[bytes]) -> Iterator[bytes]:
    with run:
        rest = b""
        while chunk := run.read(1 << 16):
            *whole, rest = (rest + chunk).split(b"\0")
            yield from whole


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
    the component ``.`` (see `iter_files`) and are never opened. `TOOL_FOLDERS` are skipped.
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
            raise DataError(f"{name} {str(root)!r} is not a folder{_advise(root)}")

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
            status = (self.root / path).stat()
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


def _advise(path: Path) -> str:
    """Return what to do with a file that was passed in place of a folder."""
    if not path.is_file():
        return ""
    if path.suffix.lower() in ARCHIVE_SUFFIXES:
        return "; unpack the archive and pass the folder"
    return "; pass the folder that contains the file"


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
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise _explain(error, name) from None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise WithheldError("unreadable", "it is not a regular file")


def read_file(path: Path, name: str) -> bytes:
    """Return the content of a regular file; raises like `open_file`."""
    with open_file(path, name) as file:
        try:
            return file.read()
        except OSError as error:
            raise _explain(error, name) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without blocking: a named pipe may have no writer."""
    return os.open(path, flags | os.O_NONBLOCK)


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
