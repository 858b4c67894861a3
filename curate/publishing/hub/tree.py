"""The files of a published dataset, on the Hub or pulled; everything read from them is bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from curate.core.errors import DataError, describe_malformed
from curate.manifest.files import stays_inside
from curate.publishing.hub.batches import PUBLICATION, REMOTE_ONLY
from curate.publishing.hub.remote import Remote

FILES = "manifest/files.jsonl"
PUBLIC_RUN, PUBLIC_RECORDS = "manifest/run.json", "manifest/records.parquet"
MANIFEST_FILES = frozenset({FILES, PUBLICATION, PUBLIC_RUN, PUBLIC_RECORDS})
MAX_TEXT = 16 << 20
"""Bytes of a JSON document or a card."""
_MAX_LISTING = 512 << 20
_MAX_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as ``manifest/files.jsonl`` lists it.

    Args:
        path: in the repository.
        sha256: digest of its content.
        bytes: its size.
    """

    path: str
    sha256: str
    bytes: int


class Tree(Protocol):
    """The files of a published dataset."""

    name: str
    """What messages call it."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file, by path."""
        ...

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file where it is known without reading it, or None."""
        ...

    def fetch(self, path: str) -> Path:
        """A file on this machine."""
        ...


class LocalTree:
    """A published dataset in a folder, as ``curate pull`` makes it."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every regular file, by path; links are an error."""
        found = {}
        for path in sorted(self._folder.rglob("*")):
            if path.is_symlink():
                raise DataError(f"{path} is a link; a published dataset holds regular files only")
            if path.is_file():
                found[path.relative_to(self._folder).as_posix()] = path.stat().st_size
        return found

    def digest(self, path: str) -> str | None:
        """Never known without reading."""
        return None

    def fetch(self, path: str) -> Path:
        """The file itself."""
        return self._folder / path


class RemoteTree:
    """A published dataset on the Hub.

    Args:
        remote: the repository.
        revision: the commit to read.
        folder: where files are downloaded to.

    Attributes:
        fetched: paths that were downloaded.
    """

    def __init__(self, remote: Remote, revision: str, folder: Path) -> None:
        self.name = f"hf:{remote.repo_id}"
        self.fetched: set[str] = set()
        self._remote, self._revision, self._folder = remote, revision, folder
        self._tree = remote.tree(revision)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file, by path."""
        return {path: file.bytes for path, file in self._tree.items() if path not in REMOTE_ONLY}

    def digest(self, path: str) -> str | None:
        """Metadata of files that the Hub stores as LFS."""
        return self._tree[path].sha256 if path in self._tree else None

    def fetch(self, path: str) -> Path:
        """Download a file, once."""
        if path not in self._tree or not stays_inside(path):
            raise DataError(f"{self.name} has no {path!r}")
        target = self._folder / path
        if path not in self.fetched or not target.is_file():
            self._remote.download(path, self._revision, target, self._tree[path].bytes)
            self.fetched.add(path)
        return target


def load_listing(path: Path) -> Iterator[Listed]:
    """The lines of ``manifest/files.jsonl``, streaming, each path checked.

    Raises:
        DataError: if a line is not as it should be.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise DataError(f"{FILES}, line {number}, is longer than {_MAX_LINE:,} bytes")
                yield _parse_line(line)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{FILES}, line {number}, cannot be read: {describe_malformed(error)}"
        ) from None


def _parse_line(line: bytes) -> Listed:
    value = json.loads(line)
    path, sha256, size = value["path"], value["sha256"], value["bytes"]
    if not isinstance(path, str) or not stays_inside(path):
        raise ValueError(f"path {path!r}")
    if not isinstance(sha256, str) or type(size) is not int or size < 0:
        raise ValueError(f"size or digest of {path!r}")
    return Listed(path, sha256, size)


def fetch_bounded(tree: Tree, path: str, limit: int) -> Path:
    """A file on this machine, if it is there and not too large.

    Raises:
        DataError: otherwise.
    """
    size = tree.sizes().get(path)
    if size is None:
        raise DataError(
            f"{tree.name} has no {path}; was it published by `curate push`, and completely?"
        )
    if size > limit:
        raise DataError(
            f"{tree.name}: {path} is larger than {limit >> 20} MB; was it published by "
            "`curate push`?"
        )
    return tree.fetch(path)


def fetch_listing(tree: Tree) -> Path:
    """``manifest/files.jsonl`` on this machine.

    Raises:
        DataError: if it is absent or too large.
    """
    return fetch_bounded(tree, FILES, _MAX_LISTING)


def load_text(tree: Tree, path: str) -> str:
    """A text file of a published dataset.

    Raises:
        DataError: if it is absent, too large or not UTF-8.
    """
    try:
        return fetch_bounded(tree, path, MAX_TEXT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{tree.name}: {path} cannot be read as text") from None


def load_document(tree: Tree, path: str) -> dict[str, Any]:
    """A JSON file of a published dataset.

    Raises:
        DataError: if it is absent, too large or not a JSON object.
    """
    try:
        value = json.loads(load_text(tree, path))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{tree.name}: {path} is not a JSON object")
    return value
