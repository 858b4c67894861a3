"""What an upload sends, in which commits: pure functions over file lists."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_FILES = 100
"""Files in a commit; the Hub advises about 100."""
MAX_BYTES = 256 << 20
"""Bytes in a commit, unless a single file is larger."""
MAX_FILES_IN_FOLDER = 10_000
"""Files and folders in a folder, as the Hub limits them."""
MAX_FILES_IN_REPOSITORY = 100_000
"""Files in a repository, as the Hub limits them."""
CARD = "README.md"
PUBLICATION = "manifest/publication.json"
CARD_FILES = frozenset({CARD, "croissant.json", "CITATION.cff", PUBLICATION})
"""Files of the last commit: before it, ``README.md`` states that an upload is in progress."""
REMOTE_ONLY = frozenset({".gitattributes"})
"""Files that the Hub itself puts into a repository; left as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file of the upload's whitelist.

    Args:
        path: where it goes in the repository, relative and POSIX.
        source: where it is on this machine.
        sha256: digest of its content.
        bytes: its size.
    """

    path: str
    source: Path
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a repository.

    Args:
        path: where it is.
        bytes: its size.
        sha256: digest of its content where the Hub stores it as LFS; else None.
        git_oid: SHA-1 of its git blob.
    """

    path: str
    bytes: int
    sha256: str | None
    git_oid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The content of one commit.

    Args:
        add: files to send.
        delete: paths to remove.
    """

    add: tuple[LocalFile, ...] = ()
    delete: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(file.bytes for file in self.add)

    @property
    def title(self) -> str:
        """The commit's title; its last word identifies the batch."""
        parts = [f"add {_count(self.add)}"] if self.add else []
        parts += [f"delete {_count(self.delete)}"] if self.delete else []
        named = json.dumps([[file.path, file.sha256] for file in self.add] + sorted(self.delete))
        digest = hashlib.sha256(named.encode()).hexdigest()[:12]
        return f"{' and '.join(parts).capitalize()} (curate batch {digest})"


def _count(files: Sequence[object]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files):,} files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a repository differs from the whitelist.

    Args:
        add: files that are absent or have other content.
        delete: paths that are in the repository only.
        unchanged: files that are there already.
    """

    add: tuple[LocalFile, ...]
    delete: tuple[str, ...]
    unchanged: int


def git_oid(path: Path, size: int) -> str:
    """SHA-1 that git gives a file's content, in hexadecimal."""
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_same(local: LocalFile, remote: RemoteFile | None) -> bool:
    """Whether a repository's file has the content of a local one."""
    if remote is None or remote.bytes != local.bytes:
        return False
    if remote.sha256 is not None:
        return remote.sha256 == local.sha256
    return remote.git_oid == git_oid(local.source, local.bytes)


def compare_trees(files: Iterable[LocalFile], remote: Mapping[str, RemoteFile]) -> Difference:
    """Compare the whitelist with a repository's tree, by digest."""
    add, unchanged, known = list[LocalFile](), 0, set[str]()
    for file in files:
        known.add(file.path)
        if is_same(file, remote.get(file.path)):
            unchanged += 1
        else:
            add.append(file)
    delete = sorted(path for path in remote if path not in known and path not in REMOTE_ONLY)
    return Difference(add=tuple(add), delete=tuple(delete), unchanged=unchanged)


def iter_batches(difference: Difference) -> Iterator[Batch]:
    """Cut a difference into commits: deletions first, the card last.

    Deletions come first so that what was withdrawn is gone before anything else happens; the card
    comes last so that it never describes files that are not there yet.
    """
    for start in range(0, len(difference.delete), MAX_FILES):
        yield Batch(delete=difference.delete[start : start + MAX_FILES])
    card = [file for file in difference.add if file.path in CARD_FILES]
    waiting, size = list[LocalFile](), 0
    for file in sorted(difference.add, key=lambda file: file.path):
        if file.path in CARD_FILES:
            continue
        if waiting and (len(waiting) == MAX_FILES or size + file.bytes > MAX_BYTES):
            yield Batch(add=tuple(waiting))
            waiting, size = [], 0
        waiting.append(file)
        size += file.bytes
    if waiting:
        yield Batch(add=tuple(waiting))
    if card:
        yield Batch(add=tuple(sorted(card, key=lambda file: file.path)))


def exceeds_limits(paths: Iterable[str]) -> str | None:
    """Which limit of the Hub a tree exceeds, in one line, or None.

    Entries of a folder are its files and its folders.
    """
    entries, total = Counter[str](), 0
    for path in paths:
        total += 1
        folder, is_new = path.rpartition("/")[0], True
        while is_new:
            is_new = bool(folder) and folder not in entries
            entries[folder] += 1
            folder = folder.rpartition("/")[0]
    if total > MAX_FILES_IN_REPOSITORY:
        return f"{total:,} files exceed the {MAX_FILES_IN_REPOSITORY:,} of a repository"
    folder, count = max(entries.items(), key=lambda item: item[1], default=("", 0))
    if count > MAX_FILES_IN_FOLDER:
        return f"{count:,} entries of {folder}/ exceed the {MAX_FILES_IN_FOLDER:,} of a folder"
    return None
