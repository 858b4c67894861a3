"""Walk a folder in a deterministic order without holding the whole listing in memory.

Of every folder on the way to the current file at most ``_RUN`` names are held;
longer listings are sorted in runs on disk.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from curate.core.errors import DataError

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
