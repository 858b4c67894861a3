"""A tree of files, opened for reading only."""

from __future__ import annotations

import errno
import heapq
import os
import stat
import tempfile
from collections.abc import Iterator
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


def iter_files(root: Path, place: str = "SOURCE") -> Iterator[tuple[str, os.stat_result]]:
    r"""Relative POSIX paths and status of all files below a folder, sorted.

    The order is that of the whole path as bytes, so it does not depend on the
    locale or the file system. Links that stay inside the folder are followed.

    A name that is not valid UTF-8 is told by a ``./`` before it, which no other
    path has, and has ``\xNN`` for its odd bytes and ``\\`` for a backslash: two
    files never share a path, and every path is text. ``is_text_path`` tells.

    Args:
        root: the folder.
        place: what the user calls the folder.

    Raises:
        DataError: if a link leaves the folder, leads nowhere or into a loop, or
            if a folder cannot be listed.
    """
    top = os.path.realpath(os.fsencode(root))
    # Folders wait on a stack of our own: Python's ends at about a thousand.
    stack = [_open_folder(top, "", _look(top, "", place), place)]
    while stack:
        folder = stack[-1]
        name = next(folder.names, None)
        if name is None:
            stack.pop()
            continue
        name = name.removesuffix(b"/")
        path, shown = folder.path + b"/" + name, folder.shown + spell_name(name)
        status = _look(path, shown, place)
        if stat.S_ISLNK(status.st_mode):
            status = _follow(path, shown, top, place)
        if not stat.S_ISDIR(status.st_mode):
            yield shown, status
            continue
        if any((status.st_dev, status.st_ino) == above.identity for above in stack):
            raise DataError(f"{shown!r} in {place} is a link into a loop; remove it")
        stack.append(_open_folder(path, f"{shown}/", status, place))


def is_text_path(path: str) -> bool:
    """Whether all names of a path of ``iter_files`` are valid UTF-8."""
    return "." not in path.split("/")


def _open_folder(path: bytes, shown: str, status: os.stat_result, place: str) -> _Folder:
    return _Folder(path, shown, _sorted_names(path, shown, place), (status.st_dev, status.st_ino))


def _look(path: bytes, shown: str, place: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise _cannot("look at", shown, place, error) from None


def _follow(path: bytes, shown: str, top: bytes, place: str) -> os.stat_result:
    """Status of what a link leads to, which must be inside the folder."""
    try:
        status = Path(os.fsdecode(path)).stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise _cannot("look at", shown, place, error) from None
        raise DataError(f"{shown!r} in {place} is a link that leads nowhere; remove it") from None
    if not (os.path.realpath(path) + b"/").startswith(top.rstrip(b"/") + b"/"):
        raise DataError(
            f"{shown!r} in {place} is a link that leaves {place}; replace it by the file itself"
        )
    return status


def _cannot(action: str, shown: str, place: str, error: OSError) -> DataError:
    what = f"{shown.removesuffix('/')!r} in {place}" if shown else place
    return DataError(f"cannot {action} {what}: {error.strerror}")


def spell_name(name: bytes) -> str:
    """A name as it stands in a path of ``iter_files``."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return "./" + name.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def _rank(name: bytes) -> bytes:
    return spell_name(name).encode()


def _sorted_names(path: bytes, shown: str, place: str) -> Iterator[bytes]:
    """Names in one folder, sorted as they are shown; beyond one run they are merged from disk.

    Folders end in a slash and sort so, as they do inside a whole path.
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
        raise _cannot("list the folder", shown, place, error) from None
    names.sort(key=_rank)
    yield from heapq.merge(*runs, names, key=_rank) if runs else names


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself; the walk says so when it comes to it


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
    are told by a ``.`` among their parts (see `curate.layouts.access.folder`), and never opened.
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
