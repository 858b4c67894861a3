"""Put what stands beside the images: annotations edited, containers written anew."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.balance.correct.edits import LedgerEdits
from curate.balance.correct.ledger import Ledger
from curate.core.protocols import SidecarFile, SidecarSource, Source, iter_containers
from curate.core.records import printable
from curate.layouts.editing import Editor, Outcome, open_editor, rebuild_edited
from curate.manifest import corrections, store
from curate.pipeline.carrying import path_of
from curate.pipeline.shard import DATA
from curate.pipeline.workspace import Workspace
from curate.storage.atomic import sync_file, sync_folder


def annotate(
    workspace: Workspace, source: Source, ledger: Ledger, copies: Path
) -> Iterator[dict[str, Any]]:
    """Write annotations as they must be now, and containers.

    Args:
        workspace: the run's work folder, with all images gathered.
        source: the dataset.
        ledger: what is decided of every record, and what was made.
        copies: the folder that annotations are written below.

    Yields:
        A line for each file, by path.
    """
    edits = LedgerEdits(ledger)
    editor = open_editor(source, edits)
    beside = _edit_all(source, editor, copies)
    new = sorted(_write_new(editor, copies), key=path_of)
    rebuilt = _rebuild(workspace, source, edits, ledger)
    yield from heapq.merge(beside, new, rebuilt, key=path_of)


def _edit_all(source: Source, editor: Editor, copies: Path) -> Iterator[dict[str, Any]]:
    if isinstance(source, SidecarSource):
        for other in source.sidecars():
            yield _edit_one(source, other, editor, copies)


def _edit_one(
    source: SidecarSource, other: SidecarFile, editor: Editor, copies: Path
) -> dict[str, Any]:
    line: dict[str, Any] = {"path": other.uri, "carried": False}
    if not other.copied:
        return line | {"reason": other.reason}
    target = copies / other.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w+b") as file:
        result = editor.edit(other, file)
    if result.outcome is Outcome.DROPPED:
        target.unlink()
        return line | {"reason": "it belongs to an image that was removed"}
    if result.outcome is Outcome.SAME:
        with source.open_sidecar(other) as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
    note = {"note": result.note} if result.note else {}
    is_same = result.outcome is Outcome.SAME
    return line | {"carried": is_same, "edited": not is_same} | _digest(target) | note


def _write_new(editor: Editor, copies: Path) -> Iterator[dict[str, Any]]:
    for path, data in editor.iter_new():
        target = copies / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        yield {"path": path, "carried": False, "edited": True} | _digest(target)


def _rebuild(
    workspace: Workspace, source: Source, edits: LedgerEdits, ledger: Ledger
) -> Iterator[dict[str, Any]]:
    """Write every container anew; each line of it, and of what stayed behind."""
    for container in iter_containers(source):
        target = workspace.final / DATA / container
        partial = workspace.staging / "container.partial"
        target.parent.mkdir(parents=True, exist_ok=True)

        def image_bytes(record_id: str) -> bytes | None:
            path = workspace.members / record_id
            return path.read_bytes() if path.is_file() else None

        def placed(record_id: str, output_id: str) -> None:
            ledger.note_placed(printable(record_id), printable(output_id))

        with partial.open("w+b") as file:
            left = list(rebuild_edited(source, container, edits, image_bytes, file, placed))
        sync_file(partial)
        partial.rename(target)
        sync_folder(target.parent)
        yield {"path": container, "carried": False, "rebuilt": True} | _digest(target)
        for each in left:
            yield {"path": str(each.path), "carried": False, "reason": each.reason}


def _digest(path: Path) -> dict[str, Any]:
    return {"sha256": store.digest_file(path), "bytes": path.stat().st_size}


def place_rows(records: Path, ledger: Ledger) -> None:
    """Say in every part where its images are now that containers are written.

    Args:
        records: the manifest's parts.
        ledger: which images have moved.
    """
    for part in list(store.iter_parts(records)):
        rows = [_place(row, ledger) for row in corrections.iter_part(part)]
        partial = part.with_name(part.name + ".partial")
        corrections.save_rows(rows, partial)
        partial.rename(part)


def _place(row: corrections.Row, ledger: Ledger) -> corrections.Row:
    if row.output_path is None:
        return row
    return replace(row, output_path=ledger.placed(row.id))
