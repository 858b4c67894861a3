"""Download a published dataset, and check every byte against its public manifest."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import DataError, UsageError
from curate.manifest.files import Problem
from curate.publishing.hub.batches import CARD_FILES
from curate.publishing.hub.published import (
    FILES,
    MANIFEST_FILES,
    Listed,
    LocalTree,
    RemoteTree,
    copy_tree_file,
    is_published,
    iter_problems,
    load_document,
    load_listing,
)
from curate.publishing.hub.remote import Remote, check_repo_id

PREFIX = "hf:"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReport:
    """What was downloaded.

    Args:
        out: the folder.
        revision: the commit.
        files: how many files the manifest lists.
        downloaded: how many of them were downloaded now.
    """

    out: Path
    revision: str
    files: int
    downloaded: int


def parse_place(place: str) -> tuple[str, str | None]:
    """``owner/name[@revision]``, with or without ``hf:``.

    Raises:
        UsageError: if it is not of that form.
    """
    name, at, revision = place.removeprefix(PREFIX).partition("@")
    if at and not revision:
        raise UsageError(f"{place!r} has no revision after '@'; name one, or drop it")
    return check_repo_id(name), revision or None


def pull(place: str, out: str | Path, tell: Callable[[str], None] = lambda _: None) -> PullReport:
    """Download a dataset that ``push`` has published.

    OUT appears when every file is there and has the digest that the public manifest lists. An
    interrupted download is finished by the same call.

    Args:
        place: ``owner/name`` or ``owner/name@revision``.
        out: a new folder.
        tell: called with a line for the user.

    Raises:
        UsageError: if the place is not of that form, or OUT exists.
        DataError: if there is no such dataset, or a file is not what the manifest lists.
        SetupError: if the Hub cannot be reached.

    >>> import curate
    >>> curate.pull("my-lab/street-scenes", "copy")  # doctest: +SKIP
    """
    repo_id, revision = parse_place(place)
    target = Path(out)
    if target.exists():
        raise UsageError(f"OUT {str(out)!r} exists; choose a new folder")
    remote = Remote(repo_id, tell)
    commit = remote.head(revision)
    partial = target.with_name(f"{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=partial.parent) as folder:
        tree = RemoteTree(remote, commit, Path(folder))
        load_document(tree, "manifest/publication.json")
        count, downloaded = 0, 0
        sizes = tree.sizes()
        for listed in _iter_wanted(tree, sizes):
            count += 1
            path = partial / listed.path
            if not _has(path, listed):
                copy_tree_file(tree, listed, path)
                Path(folder, listed.path).unlink(missing_ok=True)
                downloaded += 1
    _remove_others(partial, {*sizes})
    for problem in iter_problems(LocalTree(partial), full=True):
        raise DataError(
            f"{place} is not what its manifest says: {problem.path}: {problem.detail}; what was "
            f"downloaded is in {partial}"
        )
    partial.rename(target)
    return PullReport(out=target, revision=commit, files=count, downloaded=downloaded)


def _iter_wanted(tree: RemoteTree, sizes: object) -> Iterator[Listed]:
    """What the manifest lists, then the manifest itself and the card."""
    yield from load_listing(tree.fetch(FILES))
    for path in sorted(MANIFEST_FILES | CARD_FILES):
        if path in tree.sizes():
            data = tree.fetch(path).read_bytes()
            yield Listed(path, hashlib.sha256(data).hexdigest(), len(data))


def _has(path: Path, listed: Listed) -> bool:
    if not path.is_file() or path.stat().st_size != listed.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == listed.sha256


def _remove_others(folder: Path, known: set[str]) -> None:
    """Remove what an earlier attempt at another revision left."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in known:
            path.unlink()


def verify_published(place: str, full: bool, tell: Callable[[str], None]) -> Iterator[Problem]:
    """Check a published dataset on the Hub, or one that was pulled.

    Args:
        place: ``hf:owner/name[@revision]``, or a folder.
        full: whether every file is downloaded, rather than a sample.
        tell: called with a line for the user.

    Raises:
        DataError: if it has no public manifest.
    """
    if not place.startswith(PREFIX):
        if not is_published(Path(place)):
            raise DataError(f"{place} holds no published dataset")
        yield from iter_problems(LocalTree(Path(place)), full=True)
        return
    repo_id, revision = parse_place(place)
    remote = Remote(repo_id, tell)
    with tempfile.TemporaryDirectory() as folder:
        yield from iter_problems(RemoteTree(remote, remote.head(revision), Path(folder)), full)
