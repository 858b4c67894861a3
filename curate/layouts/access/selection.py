"""Some files of a folder as a dataset: one file, or those that a pattern in braces names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from curate.core.errors import DataError, UsageError
from curate.layouts.access.address import parse_address
from curate.layouts.access.folder import Folder, Leaf, LocalFolder
from curate.layouts.access.remote import RemoteFolder

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 1_000_000  # files that one pattern may name


class Selection:
    """Those files of a folder that were asked for.

    Args:
        folder: where they are.
        paths: their paths in it.
        place: what opens the selection again.

    Raises:
        DataError: if one of them is not there.
    """

    def __init__(self, folder: Folder, paths: list[str], place: str) -> None:
        self.folder = folder
        self.name = folder.name
        self.place = place
        self._paths = frozenset(paths)
        missing = [path for path in paths if folder.leaf(path) is None]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(paths)} files that {self.name} names are not there; "
                f"the first is {missing[0]!r}"
            )

    def leaves(self) -> Iterator[Leaf]:
        """Every file that was asked for, in the order of the paths' bytes."""
        for path in sorted(self._paths, key=str.encode):
            leaf = self.leaf(path)
            if leaf is not None:
                yield leaf

    def names(self, path: str = "") -> frozenset[str]:
        """Names in one folder of the tree, folders with a trailing ``/``."""
        prefix = f"{path.rstrip('/')}/" if path else ""
        inside = (name.removeprefix(prefix) for name in self._paths if name.startswith(prefix))
        return frozenset(re.sub(r"/.*", "/", name) for name in inside)

    def leaf(self, path: str) -> Leaf | None:
        """One file, or None if it was not asked for or is gone."""
        return self.folder.leaf(path) if path in self._paths else None

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading."""
        return self.folder.open(path)

    def read(self, path: str) -> bytes:
        """The bytes of one file."""
        return self.folder.read(path)


def select_files(place: str, name: str) -> Selection:
    """Open one file, or the files that a pattern such as ``shard-{000..127}.tar`` names.

    Args:
        place: a path that is no folder.
        name: what messages call it.

    Raises:
        DataError: if it is no pattern that can be read, or a file is not there.
    """
    path = Path(place)
    root = next(parent for parent in path.parents if parent.is_dir())
    names = expand_braces(str(path.relative_to(root)))
    if any(".." in PurePosixPath(inside).parts for inside in names):
        raise DataError(f"{name} {place!r} leads upwards; give a path without '..'")
    return Selection(LocalFolder(root, name), names, str(root.resolve() / path.relative_to(root)))


def select_remote_files(place: str, name: str) -> Selection:
    """Open one remote file, or those that a pattern names; their folder need not be listed.

    Args:
        place: an address.
        name: what messages call it.

    Raises:
        UsageError: if it is no address of a file.
        DataError: if it is no pattern that can be read, or a file is not there.
        SetupError: if the storage does not answer.
    """
    parse_address(place, name)
    fixed = place.partition("{")[0].rpartition("/")[0]
    if fixed.endswith("/"):
        raise UsageError(f"{name} {place!r} has no folder before its file; give one")
    names = expand_braces(place.removeprefix(f"{fixed}/"))
    return Selection(RemoteFolder(fixed, name, is_listed=False), names, place)


def expand_braces(pattern: str) -> list[str]:
    """Every name that a pattern stands for, as a shell expands ``{000..127}`` and ``{a,b}``.

    Raises:
        DataError: if the braces do not match, are nested, or name too many files.
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
    if total > _MOST:
        raise DataError(f"{pattern!r} names more than {_MOST:,} files; give their folder instead")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices_of(inside: str, pattern: str) -> list[str]:
    if bounds := _RANGE.fullmatch(inside):
        first, last = bounds.groups()
        if int(last) < int(first) or int(last) - int(first) >= _MOST:
            raise DataError(f"the range {{{inside}}} of {pattern!r} is empty or too long")
        width = len(first) if len(first) == len(last) or first.startswith("0") else 1
        return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    if "," not in inside:
        raise DataError(f"{{{inside}}} in {pattern!r} is no range such as {{000..127}} and no list")
    return inside.split(",")
