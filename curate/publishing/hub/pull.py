"""Download a published dataset, and check every byte against its public manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curate.core.arguments import checked
from curate.core.errors import DataError, SetupError, UsageError
from curate.manifest import store
from curate.manifest.files import Problem
from curate.pipeline.progress import show_steps
from curate.pipeline.session import Step
from curate.publishing.hub.batches import CARD_FILES, PUBLICATION
from curate.publishing.hub.published import EDITED, iter_problems
from curate.publishing.hub.remote import Remote, check_repo_id
from curate.publishing.hub.tree import (
    FILES,
    MANIFEST_FILES,
    Listed,
    LocalTree,
    RemoteTree,
    fetch_listing,
    load_document,
    load_listing,
)
from curate.report.document import Printable

PREFIX = "hf:"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PullReport(Printable):
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

    def to_text(self) -> str:
        """What was downloaded, in short lines."""
        return (
            f"{self.out}: {self.files:,} files, each as the manifest lists it.\n"
            f"Revision: {self.revision}"
        )


def parse_repo(text: str) -> tuple[str, str | None]:
    """``owner/name[@revision]``, with or without ``hf:``.

    Raises:
        UsageError: if it is not of that form.
    """
    name, at, revision = text.removeprefix(PREFIX).partition("@")
    if at and not revision:
        raise UsageError(f"{text!r} has no revision after '@'; name one, or drop it")
    return check_repo_id(name), revision or None


@checked
def pull(
    repo_id: str,
    out: str | Path,
    notify: Callable[[str], None] = lambda _: None,
    *,
    quiet: bool = False,
) -> PullReport:
    """Download a dataset that ``push`` has published.

    OUT appears when every file is there and has the digest that the public manifest lists. An
    interrupted download is finished by the same call.

    Args:
        repo_id: ``owner/name`` or ``owner/name@revision``.
        out: a new folder.
        notify: called with a line for the user.
        quiet: show no progress.

    Raises:
        UsageError: if repo_id is not of that form, or OUT exists.
        DataError: if there is no such dataset, or a file is not what the manifest lists.
        SetupError: if the Hub cannot be reached.

    >>> import curate
    >>> curate.pull("my-lab/street-scenes", "copy")  # doctest: +SKIP
    """
    name, revision = parse_repo(repo_id)
    target = Path(out)
    if target.exists() or target.is_symlink():
        raise UsageError(f"OUT {str(out)!r} exists; choose a new folder")
    remote = Remote(name, notify)
    commit = remote.head(revision)
    partial = target.with_name(f".{target.name}.curate-pull")
    if partial.is_symlink():
        raise UsageError(f"{partial} is a link; remove it first")
    partial.mkdir(parents=True, exist_ok=True)
    count, downloaded = 0, 0
    with (
        show_steps(quiet) as watch,
        tempfile.TemporaryDirectory(dir=partial.parent) as folder,
    ):
        tree = RemoteTree(remote, commit, Path(folder))
        load_document(tree, PUBLICATION)
        sizes = tree.sizes()
        _check_space(partial, sizes)
        for listed in _iter_wanted(tree, sizes):
            count += 1
            path = partial / listed.path
            if not _has(path, listed):
                _copy(tree, listed, path)
                downloaded += 1
            watch(Step("downloading", "files", count, len(sizes)))
        _remove_others(partial, {*sizes})
        for problem in iter_problems(LocalTree(partial), full=True, watch=watch):
            if problem.kind == EDITED:
                notify(f"{problem.path} {problem.detail}")
                continue
            raise DataError(
                f"{repo_id} is not what its manifest says: {problem.path}: {problem.detail}; what "
                f"was downloaded is in {partial}"
            )
    partial.rename(target)
    return PullReport(out=target, revision=commit, files=count, downloaded=downloaded)


def _check_space(folder: Path, sizes: Mapping[str, int]) -> None:
    """Refuse a dataset that does not fit the disk, before anything of it is downloaded."""
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed, free = sum(sizes.values()) - there, shutil.disk_usage(folder).free
    if needed > free:
        raise SetupError(f"the dataset needs {needed:,} more bytes, and {folder} has {free:,} free")


def _iter_wanted(tree: RemoteTree, sizes: Mapping[str, int]) -> Iterator[Listed]:
    """What the manifest lists, then the manifest itself and the card."""
    for listed in load_listing(fetch_listing(tree)):
        if sizes.get(listed.path) != listed.bytes:
            raise DataError(
                f"{tree.name} is not what its manifest says: {listed.path} is missing or has "
                "another size"
            )
        yield listed
    for path in sorted((MANIFEST_FILES | CARD_FILES) & sizes.keys()):
        yield Listed(path, store.digest_file(tree.fetch(path)), sizes[path])


def _has(path: Path, listed: Listed) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != listed.bytes:
        return False
    return store.digest_file(path) == listed.sha256


def _copy(tree: RemoteTree, listed: Listed, target: Path) -> None:
    """Download one file, and move it to its path if its bytes are those in the manifest."""
    source = tree.fetch(listed.path)
    if store.digest_file(source) != listed.sha256:
        raise DataError(
            f"{listed.path} was downloaded with other bytes than the manifest lists; run again, "
            "and if that does not help, the repository was changed"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def _remove_others(folder: Path, known: set[str]) -> None:
    """Remove what an earlier attempt at another revision left."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in known:
            path.unlink()


def verify_published(
    uri: str,
    full: bool,
    notify: Callable[[str], None],
    watch: Callable[[Step], None] = lambda _: None,
) -> Iterator[Problem]:
    """Check a published dataset on the Hub, or one that was pulled.

    Args:
        uri: ``hf:owner/name[@revision]``, or a folder.
        full: whether every file is downloaded, rather than a sample.
        notify: called with a line for the user.
        watch: called with the progress.

    Raises:
        DataError: if it has no public manifest.
    """
    if not uri.startswith(PREFIX):
        if not all((Path(uri) / name).is_file() for name in (FILES, PUBLICATION)):
            raise DataError(f"{uri} holds no published dataset")
        yield from iter_problems(LocalTree(Path(uri)), full=True, watch=watch)
        return
    repo_id, revision = parse_repo(uri)
    remote = Remote(repo_id, notify)
    with tempfile.TemporaryDirectory() as folder:
        tree = RemoteTree(remote, remote.head(revision), Path(folder))
        yield from iter_problems(tree, full, watch)
