"""The files below a local folder, sorted by the bytes of their paths, with links checked."""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from curate.core.errors import DataError

_RUN = 200_000  # names sorted in memory at a time
_MAX_DEPTH = 100  # folders inside each other
_MAX_LINKS = 100  # to one folder


@dataclass(slots=True)
class _Folder:
    path: bytes
    shown: str
    names: Iterator[bytes]
    status: os.stat_result
    is_empty: bool = True

    @property
    def identity(self) -> tuple[int, int]:
        return self.status.st_dev, self.status.st_ino


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
            loop, if a folder cannot be listed or is inside more than 100 others, or if more than
            100 links lead to it, since folders of links can have any number of paths.
    """
    walk = _walk(root, name, follow_links)
    return ((path, status) for path, status in walk if not stat.S_ISDIR(status.st_mode))


def iter_output(root: Path) -> Iterator[str]:
    """Iterate over the paths of all files of an output, and of empty folders with ``/``, sorted.

    Args:
        root: an output's ``data/``, without links.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return (path for path, _ in _walk(root, _OUTPUT, False))


def _walk(root: Path, name: str, follow_links: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Iterate over files, and empty folders with ``/``; see `iter_files`."""
    links: Counter[tuple[int, int]] = Counter()
    top = os.path.realpath(os.fsencode(root))
    # An explicit stack: Python's recursion limit is about a thousand.
    stack = [_open_folder(top, "", _look(top, "", name), name)]
    while stack:
        folder = stack[-1]
        entry = next(folder.names, None)
        if entry is None:
            stack.pop()
            if folder.is_empty and stack:
                yield folder.shown, folder.status
            continue
        folder.is_empty = False
        entry = entry.removesuffix(b"/")
        path, shown = folder.path + b"/" + entry, folder.shown + spell_name(entry)
        status = _look(path, shown, name)
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link:
            status = _follow(path, shown, top, name, follow_links)
        if not stat.S_ISDIR(status.st_mode):
            yield shown, status
            continue
        identity = (status.st_dev, status.st_ino)
        if any(identity == above.identity for above in stack):
            raise DataError(f"{shown!r} in {name} is a symbolic link that forms a loop; remove it")
        if len(stack) > _MAX_DEPTH:
            shortened = f"{shown[:40]}…"
            raise DataError(
                f"{shortened!r} in {name} has folders inside each other deeper than {_MAX_DEPTH} "
                "levels; move them up"
            )
        if is_link:
            links[identity] += 1
        if links[identity] > _MAX_LINKS:
            raise DataError(
                f"{shown!r} in {name} is a symbolic link to a folder to which more than "
                f"{_MAX_LINKS} lead; remove it"
            )
        stack.append(_open_folder(path, f"{shown}/", status, name))


TOOL_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".dvc", ".idea", ".vscode", ".ipynb_checkpoints", ".cache"),
        *("__MACOSX", "__pycache__", "@eaDir", ".Trashes", ".Spotlight-V100", "$RECYCLE.BIN"),
        *(".AppleDouble", ".Trash", ".Trash-1000", ".thumbnails", ".venv", "node_modules"),
        *("lost+found", "System Volume Information", "#recycle", "@Recycle"),
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
    return _Folder(path, shown, _sorted_names(path, shown, name), status)


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
