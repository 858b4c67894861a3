"""Bring the committed shards' files together: as loose files, or inside the dataset's containers.

Every step can be interrupted and done again: files move by rename, and a
container's loose images go when it stands written in its place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.core.protocols import ContainerSource, Source
from curate.engine.shards import shard_name
from curate.manifest import store
from curate.pipeline.looking import PART
from curate.pipeline.shard import DATA
from curate.pipeline.workspace import Workspace
from curate.storage.atomic import sync_file, sync_folder


def gather(workspace: Workspace, shards: int, loose: bool) -> None:
    """Move every committed shard's files to their place in the work folder.

    Args:
        workspace: the run's work folder.
        shards: how many there are.
        loose: whether the dataset's images are files; otherwise they wait apart
            until their containers are rebuilt.
    """
    data = workspace.final / DATA
    records = workspace.final / "manifest" / store.RECORDS_FOLDER
    for folder in (data, records, workspace.members):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        folder = workspace.shards / shard_name(number)
        if not folder.is_dir():
            continue
        move_files(folder / DATA, data if loose else workspace.members)
        part = folder / PART
        if part.exists():
            part.rename(records / store.part_name(number))
        shutil.rmtree(folder)


def rebuild(workspace: Workspace, source: Source) -> Iterator[dict[str, Any]]:
    """Write every container anew with its obfuscated images.

    Yields:
        Lines for the list of other files: each container, and what stayed behind of it.
    """
    if not isinstance(source, ContainerSource):
        return
    for number, container in enumerate(source.containers()):
        target = workspace.final / DATA / container
        notes = workspace.rebuilt / f"{number:05d}.jsonl"
        if not target.exists():
            _rebuild_one(workspace, source, container, notes)
        shutil.rmtree(workspace.members / container, ignore_errors=True)
        size = target.stat().st_size
        yield {
            "path": container, "carried": False, "rebuilt": True,
            "sha256": store.digest_file(target), "bytes": size,
        }  # fmt: skip
        with notes.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def _rebuild_one(
    workspace: Workspace, source: ContainerSource, container: str, notes: Path
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
        for left in source.rebuild(container, outputs, file):
            line = {"path": str(left.path), "carried": False, "reason": left.reason}
            list_.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    for path in (partial, notes):
        sync_file(path)
    sync_folder(notes.parent)
    partial.rename(target)
    sync_folder(target.parent)


def move_files(origin: Path, target: Path) -> None:
    """Move every file below ``origin`` to the same place below ``target``."""
    if not origin.is_dir():
        return
    for parent, _, names in os.walk(origin):
        folder = target / Path(parent).relative_to(origin)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(parent, name).rename(folder / name)
