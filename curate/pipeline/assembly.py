"""Assemble the output of a run from its committed shards.

Shards whose files are not what was written are done again first. Images become files, or members
of containers that are written again; other files are copied and listed; ``run.json`` is written
last. Every step can be interrupted and repeated: files move by rename, and the manifest appears in
OUT last, so an OUT with a manifest is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.protocols import Model, Source
from curate.engine.shards import shard_name
from curate.layouts.sidecars.content import Content
from curate.manifest import store
from curate.manifest.checksums import save_checksums
from curate.manifest.schema import VERSION
from curate.manifest.signature import sign
from curate.pipeline.shard import DATA, PART
from curate.pipeline.tools import margin_of, open_obfuscator
from curate.pipeline.workspace import Plan, Workspace, libraries
from curate.recipe import Recipe
from curate.storage.atomic import sync_folder, sync_tree
from curate.storage.regular import load_json


def describe_run(
    workspace: Workspace,
    source: Source,
    recipe: Recipe,
    found: Mapping[str, Any],
    others: dict[str, int],
    content: Content,
    origin: str | None,
) -> dict[str, Any]:
    """Return the content of ``run.json``: what was done, how often, and the digests of it.

    Args:
        workspace: the work folder.
        source: the dataset.
        recipe: what was done.
        found: ``detectors``, and of given faces ``given_faces``: how the faces were found.
        others: counts of other files by outcome.
        content: what the annotations contain; the paths of images are added.
        origin: URI of a dataset that is not on this disk, or None.
    """
    manifest = workspace.final / store.MANIFEST
    records = manifest / store.RECORDS_FOLDER
    obfuscator = open_obfuscator(recipe)
    tally = store.Tally()
    for entry in store.iter_entries(records):
        tally.add(entry)
        if entry.output_path is not None:
            content.add_path(entry.output_path)
    return {
        "schema_version": VERSION,
        "tool": {"name": "curate-dataset", "version": libraries()["curate-dataset"]},
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.digest,
        **found,
        "obfuscator": {
            "name": obfuscator.name,
            "version": obfuscator.version,
            "keeps": obfuscator.keeps,
            "parameters": dict(obfuscator.parameters),
            "margin": margin_of(recipe),
        },
        "libraries": libraries(),
        "source": {
            "layout": source.layout,
            "origin": origin,
            "sha256": store.digest_sources(records),
        },
        "counts": tally.to_dict(),
        "others": {**others, "sha256": store.digest_file(manifest / store.OTHERS)},
        "content": content.to_dict(),
        "records": {
            "parts": sum(1 for _ in store.iter_parts(records)),
            "sha256": store.digest_parts(records),
        },
    }  # fmt: skip


def move_to_output(workspace: Workspace, key: Path | None = None) -> None:
    """Move ``data/`` and then ``manifest/`` to OUT, and remove the work folder.

    Args:
        workspace: the work folder.
        key: an SSH key that signs the digests of the manifest's files, or None.
    """
    move_results(workspace, key)
    remove_work(workspace)


def move_results(workspace: Workspace, key: Path | None) -> None:
    """Move ``data/`` and then ``manifest/`` to OUT; arguments as of `move_to_output`.

    An output that is updated is moved away first, its manifest before its data, but for the
    key of the public tier's ids. Can be interrupted and repeated.
    """
    final, out, old = workspace.final, workspace.out, workspace.old
    if workspace.log.exists():
        shutil.copyfile(workspace.log, final / store.MANIFEST / store.LOG)
    ids_key = out / store.MANIFEST / store.KEY
    if ids_key.is_file():
        shutil.copyfile(ids_key, final / store.MANIFEST / store.KEY)
    save_checksums(final)
    if key is not None:
        sign(final / store.MANIFEST / store.CHECKSUMS, key)
    sync_tree(final)
    for name in (store.MANIFEST, DATA):
        is_updated = workspace.updates or old.exists()
        if is_updated and (final / name).exists() and (out / name).exists():
            old.mkdir(exist_ok=True)
            (out / name).rename(old / name)
            sync_folder(old)
            sync_folder(out)
    for name in (DATA, store.MANIFEST):
        if (final / name).exists():
            (final / name).rename(out / name)
            sync_folder(out)
    workspace.state.unlink(missing_ok=True)  # what is left cannot be continued


def is_assembled(workspace: Workspace, facts: str = store.RUN) -> bool:
    """Whether all that is left to do is to move the manifest to OUT.

    Args:
        workspace: the work folder.
        facts: the file of the manifest that is written last.
    """
    is_moved = not (workspace.final / DATA).exists()
    return is_moved and (workspace.final / store.MANIFEST / facts).is_file()


def remove_work(workspace: Workspace) -> None:
    """Remove the work folder."""
    shutil.rmtree(workspace.root, ignore_errors=True)


def load_models(workspace: Workspace) -> tuple[Model, ...]:
    """Load the models that the run's processes noted before their first shard."""
    path = workspace.models
    try:
        return tuple(Model(**model) for model in load_json(path))
    except (ValueError, TypeError, OSError, DataError):
        raise DataError(f"{path} is damaged; remove the OUT and run again") from None


def gather(
    workspace: Workspace, shards: int, loose: bool, check: Callable[[], object] = lambda: None
) -> None:
    """Move the images of every committed shard to ``final/``, and copy its part of the manifest.

    Args:
        workspace: the work folder.
        shards: number of shards.
        loose: whether the dataset's images are files of their own; otherwise they are kept
            apart until their containers are rebuilt.
        check: called before each step; raises if another process has taken over.
    """
    data = workspace.final / DATA
    records = workspace.final / store.MANIFEST / store.RECORDS_FOLDER
    for folder in (data, records, workspace.members):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        check()
        folder = workspace.shards / shard_name(number)
        move_files(folder / DATA, data if loose else workspace.members)
        shutil.copyfile(folder / PART, records / store.part_name(number))


def check_records(workspace: Workspace, plan: Plan, size: int) -> None:
    """Check that every image has its record, whoever has written it.

    Args:
        workspace: the work folder, with the shards gathered.
        plan: the list of the dataset.
        size: images per shard.

    Raises:
        DataError: if a record is missing or does not belong to the run.
    """
    for number, position in plan.positions(size):
        name = store.part_name(number)
        part = workspace.final / store.MANIFEST / store.RECORDS_FOLDER / name
        wanted = sorted(record.id for record in plan.shard(number, position, size).records)
        if [entry.id for entry in store.iter_part(part)] != wanted:
            raise DataError(
                f"{name} does not have the records of its shard; remove {workspace.name} and run "
                "again"
            )


def move_files(origin: Path, target: Path) -> None:
    """Move every file below ``origin`` to the same path below ``target``."""
    if not origin.is_dir():
        return
    for parent, _, names in os.walk(origin):
        folder = target / Path(parent).relative_to(origin)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(parent, name).rename(folder / name)
