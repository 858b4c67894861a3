"""The files of an output other than images: containers that are rebuilt, annotations, the list."""

from __future__ import annotations

import heapq
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from curate.core.entries import Outcome
from curate.core.errors import DataError
from curate.core.protocols import ContainerSource, Source
from curate.layouts.editing import EDITORS
from curate.layouts.editing.changes import Removals
from curate.layouts.files import FileLayout
from curate.layouts.sidecars.content import Content
from curate.layouts.sidecars.values import Limits
from curate.manifest import store
from curate.pipeline.assembly import move_files
from curate.pipeline.image_names import ImageNames
from curate.pipeline.shard import DATA
from curate.pipeline.sidecars import Sidecars, make_limits, rewrite_sidecars
from curate.pipeline.workspace import Workspace
from curate.recipe import Recipe
from curate.storage.atomic import sync_file, sync_folder
from curate.storage.index import NameIndex


class RemoteContainers(Protocol):
    """Containers that are rebuilt one by one, for an output that is not on this disk."""

    def fetch_members(self, workspace: Workspace, container: str) -> None:
        """Copy the images of a container to the work folder."""

    def place_container(self, workspace: Workspace, container: str) -> None:
        """Move a rebuilt container to the output."""


def rebuild(
    workspace: Workspace,
    source: Source,
    recipe: Recipe,
    content: Content,
    remote: RemoteContainers | None = None,
) -> Iterator[dict[str, Any]]:
    """Write every container again with its obfuscated images.

    Args:
        workspace: the work folder.
        source: the dataset.
        recipe: what of the annotations is kept.
        content: report to which what the annotations contain is added.
        remote: the output, if it is not on this disk.

    Yields:
        Lines for ``others.jsonl``: each container, and what of it was left out.
    """
    if not isinstance(source, ContainerSource):
        return
    names = ImageNames(source)
    for number, container in enumerate(source.containers()):
        target = workspace.final / DATA / container
        notes = workspace.notes_of_container(number)
        if not target.exists():
            if remote is not None:
                remote.fetch_members(workspace, container)
            limits = make_limits(recipe, names)
            _rebuild_one(workspace, source, container, notes, limits)
        shutil.rmtree(workspace.members / container, ignore_errors=True)
        size = target.stat().st_size
        yield {
            "path": container, "carried": False, "rebuilt": True,
            "sha256": store.digest_file(target), "bytes": size,
        }  # fmt: skip
        if remote is not None:
            remote.place_container(workspace, container)
        with notes.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if "content" in line:
                    content.merge(line["content"])
                else:
                    yield line


def _rebuild_one(
    workspace: Workspace, source: ContainerSource, container: str, notes: Path, limits: Limits
) -> None:
    members = workspace.members

    def outputs(record_id: str) -> bytes | None:
        try:
            return (members / record_id).read_bytes()
        except FileNotFoundError:
            return None

    target = workspace.final / DATA / container
    partial = workspace.staging / "container.partial"
    for folder in (target.parent, notes.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with partial.open("w+b") as file, notes.open("w", encoding="utf-8") as list_:
        for left in source.rebuild(container, outputs, file, limits):
            line = {"path": str(left.path), "carried": False, "reason": left.reason}
            list_.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
        file.flush()
        last = {"content": limits.content.to_dict(), "sha256": store.digest_file(partial)}
        list_.write(json.dumps(last, ensure_ascii=False) + "\n")
    for path in (partial, notes):
        sync_file(path)
    sync_folder(notes.parent)
    partial.rename(target)
    sync_folder(target.parent)


def write_other_files(
    workspace: Workspace,
    source: Source,
    sidecars: Sidecars,
    recipe: Recipe,
    remote: RemoteContainers | None = None,
) -> dict[str, int]:
    """Move rewritten annotations, rebuild containers, and list every file that is not an image.

    Args:
        workspace: the work folder, with the shards gathered.
        source: the dataset.
        sidecars: the rewritten annotations.
        recipe: what of the annotations is kept.
        remote: the output, if it is not on this disk.

    Returns:
        Counts of files ``carried``, ``included`` among them, ``rebuilt`` and ``left_out``; and, if
        there are any, of label maps ``withheld`` among these.
    """
    marks = Counter[str]()

    def produce(copies: Path) -> Iterator[dict[str, Any]]:
        move_files(sidecars.folder, copies)
        rebuilt = rebuild(workspace, source, recipe, sidecars.content, remote)
        for line in heapq.merge(sidecars.lines(), rebuilt, key=path_of):
            marks.update(mark for mark in ("included", "withheld") if line.get(mark))
            yield line

    counts = list_others(workspace, produce)
    kinds = {outcome: counts[outcome] for outcome in ("carried", "left_out", "rebuilt")}
    withheld = {"withheld": marks["withheld"]} if marks["withheld"] else {}
    return {**kinds, "included": marks["included"], **withheld}


def drop_withheld(
    workspace: Workspace, source: Source, recipe: Recipe, sidecars: Sidecars
) -> Sidecars:
    """Write annotations again without withheld images, since loaders stop at missing ones.

    Files that are copied unread keep their bytes.

    Args:
        workspace: the work folder, with the shards gathered.
        source: the dataset.
        recipe: what of the annotations is kept.
        sidecars: the annotations of all images, which are returned if no image was withheld, or
            the dataset has no annotations beside its images.
    """
    if not isinstance(source, FileLayout):
        return sidecars
    withheld = NameIndex()
    for entry in store.iter_entries(workspace.final / store.MANIFEST / store.RECORDS_FOLDER):
        if entry.outcome is Outcome.WITHHELD:
            withheld.add("withheld", entry.id)
    is_annotated = any(other.is_needed for other in source.sidecars())
    if not is_annotated or not next(withheld.names("withheld"), None):
        return sidecars
    edits = Removals(lambda name: withheld.get("withheld", name) is not None)
    editor = EDITORS.resolve(source.layout)(source, edits)
    return rewrite_sidecars(workspace, source, recipe, sidecars.check_map, editor)


def list_others(
    workspace: Workspace, produce: Callable[[Path], Iterator[dict[str, Any]]]
) -> Counter[str]:
    """Write other files beside the images, and list them in ``others.jsonl``.

    The copies are moved after their list: a later attempt removes what an interrupted
    one has moved.

    Args:
        workspace: the work folder.
        produce: writes copies below a folder and yields a line for each file, sorted by path.

    Returns:
        Number of files by outcome.
    """
    listing = workspace.final / store.MANIFEST / store.OTHERS
    data = workspace.final / DATA
    _undo_copies(listing, data)
    copies = workspace.staging / "others"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    counts: Counter[str] = Counter()
    partial = workspace.staging / store.OTHERS
    with partial.open("w", encoding="utf-8") as file:
        for line in produce(copies):
            counts[outcome_of(line)] += 1
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    sync_file(partial)
    partial.rename(listing)
    sync_folder(listing.parent)
    move_files(copies, data)
    return counts


def path_of(line: dict[str, Any]) -> bytes:
    """Sort key of the lines of ``others.jsonl``."""
    return str(line["path"]).encode()


def outcome_of(line: dict[str, Any]) -> str:
    """What became of a file: ``carried``, ``edited``, ``rebuilt`` or ``left_out``."""
    if line["carried"]:
        return "carried"
    return next((name for name in ("edited", "rebuilt") if line.get(name)), "left_out")


def _undo_copies(listing: Path, data: Path) -> None:
    """Remove what an interrupted attempt has copied, and then its list."""
    try:
        with listing.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if outcome_of(line) in ("carried", "edited"):
                    (data / line["path"]).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{listing} is damaged; remove the OUT and run again") from None
    listing.unlink()
