"""What a repository holds already, and whether it may be pushed to."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.publishing.card.check import CARD, CITATION, QUESTIONS
from curate.publishing.card.header import split_card
from curate.publishing.hub.batches import PUBLICATION
from curate.publishing.hub.prepare import Prepared, PushOptions
from curate.publishing.hub.remote import Remote
from curate.publishing.hub.retry import MovedError
from curate.publishing.hub.tree import (
    PUBLIC_RUN,
    Listed,
    RemoteTree,
    fetch_listing,
    load_document,
    load_listing,
    load_text,
)
from curate.publishing.hub.upload import PROGRESS_MARK, State

_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a repository holds already.

    Args:
        version: the version that was published last, or None.
        manifest_sha256: digest of its public manifest.
        listing: its files, by path.
        run: its public ``run.json``.
    """

    version: str | None = None
    manifest_sha256: str | None = None
    listing: Mapping[str, Listed] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)

    def changes(self, prepared: Prepared) -> tuple[str, ...]:
        """How a whitelist differs from it, a line each."""
        if self.version is None or not _differs(self, prepared):
            return ()
        return tuple(_iter_changes(self, prepared))


def _iter_changes(found: Found, prepared: Prepared) -> Iterator[str]:
    before, now = _list_content(found, prepared)
    added, removed = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    changed = sum(before[path] != now[path] for path in now.keys() & before.keys())
    yield f"files: {added:,} added, {removed:,} removed, {changed:,} changed"
    run = prepared.card.documents[PUBLIC_RUN]
    for table, prefix in (("counts", ""), ("recipe", "recipe.")):
        old, new = found.run.get(table), run.get(table, {})
        old = old if isinstance(old, dict) else {}
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                yield f"{prefix}{key}: {old.get(key)!r} → {new.get(key)!r}"


def _is_made(path: str) -> bool:
    """Whether a file is the manifest, the card or evidence that it cites."""
    is_evidence = "/" not in path and path.endswith(".json")
    return is_evidence or path.startswith("manifest/") or path in (CARD, CITATION, QUESTIONS)


def look_at(remote: Remote, state: State, prepared: Prepared, options: PushOptions) -> Found:
    """Refuse a repository that holds something else, or that somebody else has changed.

    Raises:
        DataError: if it is another dataset, or public while a private one was asked for.
        MovedError: if its head is not the last push.
    """
    head = remote.head()
    if not options.public and not remote.is_private():
        raise UsageError(
            f"{remote.url} is public; add --public to push to it, or make it private first"
        )
    if options.parent is not None:
        if head != options.parent:
            raise MovedError(f"{remote.url} is at {head[:12]}, not at --parent {options.parent}")
        state.head, state.parent, state.title = head, None, None
    with tempfile.TemporaryDirectory() as folder:
        tree = RemoteTree(remote, head, Path(folder))
        _check_identity(remote, tree, state, prepared)
        if PUBLICATION not in tree.sizes():
            return Found()
        found = _load_found(tree)
    if state.head is None:
        _check_unmoved(remote, head, found)
    return found


def _check_identity(remote: Remote, tree: RemoteTree, state: State, prepared: Prepared) -> None:
    title, paths = prepared.card.answers["dataset.title"], tree.sizes()
    others = [path for path in paths if path != CARD]
    readme = load_text(tree, CARD) if CARD in paths else ""
    is_ours = PUBLICATION in paths or PROGRESS_MARK in readme
    if others and not is_ours and state.head is None:
        raise DataError(
            f"{remote.url} holds files that curate did not put there (first {others[0]!r}); "
            "choose another REPO_ID"
        )
    header, _ = split_card(readme)
    name = header.get("pretty_name")
    if is_ours and name is not None and name != title:
        raise DataError(
            f"{remote.url} holds another dataset ({name!r}, and {QUESTIONS} says {title!r}); "
            "choose another REPO_ID, or put the title right"
        )


def _load_found(tree: RemoteTree) -> Found:
    publication, run = load_document(tree, PUBLICATION), load_document(tree, PUBLIC_RUN)
    version = str(publication.get("dataset_version"))
    if not _VERSION.fullmatch(version):
        raise DataError(f"{tree.name}: {PUBLICATION} has no version such as 1.0.0")
    return Found(
        version=version,
        manifest_sha256=publication.get("manifest_sha256"),
        listing={one.path: one for one in load_listing(fetch_listing(tree))},
        run=run,
    )


def _check_unmoved(remote: Remote, head: str, found: Found) -> None:
    """Without a local state, the tag of the last version is where its push ended."""
    tagged = remote.tags().get(f"curate-{str(found.manifest_sha256)[:16]}")
    if tagged != head:
        raise MovedError(
            f"{remote.url} has commits after the last push (head {head[:12]}); nothing was "
            f"overwritten. Look at them, and to go on from there, which replaces what differs, "
            f"add --parent {head}"
        )


def needs_bump(prepared: Prepared, found: Found) -> bool:
    """Whether other content would be published under the same version."""
    same_version = found.version == prepared.card.answers["dataset.version"]
    return same_version and _differs(found, prepared)


def _differs(found: Found, prepared: Prepared) -> bool:
    before, now = _list_content(found, prepared)
    return before != now


def _list_content(found: Found, prepared: Prepared) -> tuple[dict[str, str], dict[str, str]]:
    """Digests of the files of both by path, without those that a card makes."""
    before = {path: one.sha256 for path, one in found.listing.items() if not _is_made(path)}
    now = {file.path: file.sha256 for file in prepared.files if not _is_made(file.path)}
    return before, now
