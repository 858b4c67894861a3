"""Datasets given as single files, or as files named by a brace pattern."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from curate.core.errors import DataError, UsageError
from curate.layouts.access.address import parse_address
from curate.layouts.access.folder import FileInfo, Folder, LocalFolder
from curate.layouts.access.remote import RemoteFolder

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAX_FILES = 1_000_000  # files that one pattern may name


class Selection:
    """Selected files of a folder.

    Args:
        folder: folder that contains them.
        paths: their paths in it.
        uri: path or URI that opens the selection again.

    Raises:
        DataError: if one of them is missing.
    """

    def __init__(self, folder: Folder, paths: list[str], uri: str) -> None:
        self.folder = folder
        self.name = folder.name
        self.uri = uri
        self.follow_links = folder.follow_links
        self._paths = frozenset(paths)
        missing = [path for path in paths if folder.info(path) is None]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(paths)} files that {self.name} names are missing; "
                f"the first is {missing[0]!r}"
            )

    def files(self) -> Iterator[FileInfo]:
        """Iterate over the selected files, sorted by the bytes of their paths."""
        for path in sorted(self._paths, key=str.encode):
            info = self.info(path)
            if info is not None:
                yield info

    def list_names(self, path: str = "") -> frozenset[str]:
        """Return the names in a subfolder, folders with a trailing ``/``."""
        prefix = f"{path.rstrip('/')}/" if path else ""
        inside = (name.removeprefix(prefix) for name in self._paths if name.startswith(prefix))
        return frozenset(re.sub(r"/.*", "/", name) for name in inside)

    def info(self, path: str) -> FileInfo | None:
        """Return a file, or None if it is not selected or does not exist."""
        return self.folder.info(path) if path in self._paths else None

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading."""
        return self.folder.open(path)

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        return self.folder.read(path)


def select_files(uri: str, name: str, follow_links: bool | None = None) -> Selection:
    """Open a file, or the files of a pattern such as ``shard-{000..127}.tar``.

    Args:
        uri: path that is not a folder.
        name: name in messages.
        follow_links: whether links that point outside their folder are followed; None for what
            `curate.layouts.access.folder.follow_links` permits.

    Raises:
        DataError: if the pattern is invalid, or a file is missing.
    """
    path = Path(uri)
    root = next(parent for parent in path.parents if parent.is_dir())
    names = expand_braces(str(path.relative_to(root)))
    if any(".." in PurePosixPath(inside).parts for inside in names):
        raise DataError(f"{name} {uri!r} contains '..'; pass a path without it")
    folder = LocalFolder(root, name, follow_links)
    return Selection(folder, names, str(root.resolve() / path.relative_to(root)))


def select_remote_files(uri: str, name: str) -> Selection:
    """Open a remote file, or the files of a pattern; their folder need not be listable.

    Args:
        uri: URI of the files.
        name: name in messages.

    Raises:
        UsageError: if it is not the URI of a file.
        DataError: if the pattern is invalid, or a file is missing.
        SetupError: if the storage does not respond.
    """
    parse_address(uri, name)
    fixed = uri.partition("{")[0].rpartition("/")[0]
    if fixed.endswith("/"):
        raise UsageError(f"{name} {uri!r} has no folder before its file; give one")
    names = expand_braces(uri.removeprefix(f"{fixed}/"))
    return Selection(RemoteFolder(fixed, name, is_listed=False), names, uri)


def expand_braces(pattern: str) -> list[str]:
    """Expand a pattern as a shell expands ``{000..127}`` and ``{a,b}``.

    Raises:
        DataError: if the braces are unbalanced or nested, or expand to too many files.
    """
    pieces = _BRACES.split(pattern)
    if any(brace in text for text in pieces[::2] for brace in "{}"):
        raise DataError(f"the braces of {pattern!r} are nested or do not match")
    choices = [
        [piece] if number % 2 == 0 else _choices_of(piece, pattern)
        for number, piece in enumerate(pieces)
    ]
    total = 1
    for choice in choices:
        total *= len(choice)
    if total > _MAX_FILES:
        raise DataError(
            f"{pattern!r} names more than {_MAX_FILES:,} files; pass their folder instead"
        )
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices_of(inside: str, pattern: str) -> list[str]:
    if bounds := _RANGE.fullmatch(inside):
        first, last = bounds.groups()
        if int(last) < int(first) or int(last) - int(first) >= _MAX_FILES:
            raise DataError(f"the range {{{inside}}} of {pattern!r} is empty or too long")
        width = len(first) if len(first) == len(last) or first.startswith("0") else 1
        return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    if "," not in inside:
        raise DataError(
            f"{{{inside}}} in {pattern!r} is neither a range such as {{000..127}} nor a list"
        )
    return inside.split(",")
