"""Walk a folder in a deterministic order without holding the whole listing in memory."""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from curate.core.errors import DataError

_RUN = 200_000  # names sorted in memory at a time


def iter_files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Relative POSIX paths and status of all regular files below a folder, sorted.

    The order is that of the whole relative path as bytes, so it does not depend
    on the locale or the file system. Links that stay inside the folder are followed.

    Args:
        root: the folder; resolved by the caller.

    Raises:
        DataError: if a link leaves the folder, leads nowhere or into a loop, or
            if a folder cannot be listed.
    """
    yield from _iter_folder(root, "", (root.stat().st_ino,))


def _iter_folder(
    root: Path, prefix: str, ancestors: tuple[int, ...]
) -> Iterator[tuple[str, os.stat_result]]:
    folder = root / prefix
    for name in _sorted_names(folder):
        relative = f"{prefix}{name.removesuffix('/')}"
        path = root / relative
        try:
            if path.is_symlink():
                _check_link(root, path, relative)
            status = path.stat()
        except OSError as error:
            raise DataError(f"cannot look at {relative!r} in SOURCE: {error.strerror}") from None
        if path.is_dir():
            if status.st_ino in ancestors:
                raise DataError(f"{relative!r} in SOURCE is a link into a loop; remove it")
            yield from _iter_folder(root, f"{relative}/", (*ancestors, status.st_ino))
        else:
            yield relative, status


def _check_link(root: Path, path: Path, relative: str) -> None:
    target = path.resolve()
    if not target.exists():
        raise DataError(f"{relative!r} in SOURCE is a link that leads nowhere; remove it")
    if not target.is_relative_to(root):
        raise DataError(
            f"{relative!r} in SOURCE is a link that leaves SOURCE; replace it by the file itself"
        )


def _sorted_names(folder: Path) -> Iterator[str]:
    """Names in one folder, sorted by bytes; beyond one run they are merged from disk.

    Folders sort as if they ended in a slash, as they do inside a whole path.
    """
    runs: list[Iterator[bytes]] = []
    names: list[bytes] = []
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            names.append(entry.name + b"/" if entry.is_dir() else entry.name)
            if len(names) == _RUN:
                runs.append(_spill(sorted(names)))
                names = []
    names.sort()
    for name in heapq.merge(*runs, names) if runs else names:
        yield os.fsdecode(name)


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
