"""Gather committed shards into what is shown: ``data/`` and ``manifest/``.

Every step can be interrupted and done again: files move by rename, and the
manifest appears last, so an OUT with a manifest is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, WithheldError
from curate.core.ports import CarriedFile, Model, Source
from curate.engine.shards import shard_name, sync_file, sync_folder, sync_tree
from curate.formats.carried import find_pictures
from curate.formats.reading import iter_blocks
from curate.formats.walk import is_text_path
from curate.manifest import store
from curate.manifest.schema import VERSION
from curate.pipeline.shard import DATA, PART
from curate.pipeline.tools import margin_of, open_obfuscator
from curate.pipeline.workspace import Workspace, libraries
from curate.recipe import Recipe


def gather(workspace: Workspace, shards: int) -> None:
    """Move every committed shard's files to their place in the work folder's ``final``."""
    data = workspace.final / DATA
    records = workspace.final / "manifest" / store.RECORDS_FOLDER
    data.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        folder = workspace.shards / shard_name(number)
        if not folder.is_dir():
            continue
        _move_files(folder / DATA, data)
        part = folder / PART
        if part.exists():
            part.rename(records / store.part_name(number))
        shutil.rmtree(folder)


def carry(workspace: Workspace, source: Source) -> dict[str, int]:
    """Copy annotations beside the images, and list every file that is not an image.

    What is looked at is the copy, which SOURCE can no longer change. The copies
    move to their place when the list of them does: a later attempt takes back
    what an interrupted one has moved.

    Returns:
        Counts of files ``carried`` and ``left_out``.

    Raises:
        SourceChangedError: if a file that was listed is gone.
        SetupError: if SOURCE cannot be read.
    """
    listing = workspace.final / "manifest" / store.OTHERS
    data = workspace.final / DATA
    _take_back(listing, data)
    copies = workspace.staging / "others"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    counts = {"carried": 0, "left_out": 0}
    partial = workspace.staging / store.OTHERS
    with partial.open("w", encoding="utf-8") as file:
        for other in source.others():
            line = _carry_one(source, other, copies)
            counts["carried" if line["carried"] else "left_out"] += 1
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    sync_file(partial)
    partial.rename(listing)
    sync_folder(listing.parent)
    _move_files(copies, data)
    return counts


def _carry_one(source: Source, other: CarriedFile, copies: Path) -> dict[str, Any]:
    """Copy one file, if it is an annotation and holds no picture; returns its line."""
    line: dict[str, Any] = {"path": other.uri, "carried": False}
    if not is_text_path(other.uri):
        return line | {"reason": "its name is not valid UTF-8"}
    if not other.carried:
        return line | {"reason": "not an annotation or image"}
    target = copies / other.path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("wb") as copy:
            copy.writelines(iter_blocks(source.locate(other), other.uri))
        reason = find_pictures(target)
    except WithheldError as error:
        reason = f"it cannot be read: {error.detail}"
    if reason is not None:
        target.unlink()
        return line | {"reason": reason}
    return line | {
        "carried": True,
        "sha256": store.digest_file(target),
        "bytes": target.stat().st_size,
    }


def _take_back(listing: Path, data: Path) -> None:
    """Remove what an interrupted attempt has carried; its list goes last."""
    try:
        with listing.open(encoding="utf-8") as file:
            for line in map(json.loads, file):
                if line["carried"]:
                    (data / line["path"]).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{listing} is damaged; remove the OUT and run again") from None
    listing.unlink()


def describe_run(
    workspace: Workspace,
    source: Source,
    recipe: Recipe,
    models: Sequence[Model],
    others: dict[str, int],
) -> dict[str, Any]:
    """The content of ``run.json``: everything that says what was done, and its digests."""
    manifest = workspace.final / "manifest"
    records = manifest / store.RECORDS_FOLDER
    obfuscator = open_obfuscator(recipe)
    tally = store.Tally()
    for entry in store.iter_entries(records):
        tally.add(entry)
    return {
        "schema_version": VERSION,
        "tool": {"name": "curate-dataset", "version": libraries()["curate-dataset"]},
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.digest,
        "detectors": [asdict(model) for model in models],
        "obfuscator": {
            "name": obfuscator.name,
            "version": obfuscator.version,
            "keeps": obfuscator.keeps,
            "parameters": dict(obfuscator.parameters),
            "margin": margin_of(recipe),
        },
        "libraries": libraries(),
        "source": {"layout": source.layout, "sha256": store.digest_sources(records)},
        "counts": tally.to_dict(),
        "others": {**others, "sha256": store.digest_file(manifest / store.OTHERS)},
        "records": {
            "parts": sum(1 for _ in store.iter_parts(records)),
            "sha256": store.digest_parts(records),
        },
    }  # fmt: skip


def show(workspace: Workspace) -> None:
    """Make ``data/`` and then ``manifest/`` visible in OUT, and remove the work folder."""
    final, out = workspace.final, workspace.out
    if workspace.log.exists():
        shutil.copyfile(workspace.log, final / "manifest" / store.LOG)
    sync_tree(final)
    for name in (DATA, "manifest"):
        if (final / name).exists():
            (final / name).rename(out / name)
            sync_folder(out)
    remove_work(workspace)


def is_gathered(workspace: Workspace) -> bool:
    """Whether all that is left to do is to show the result."""
    return (workspace.final / "manifest" / store.RUN).is_file()


def remove_work(workspace: Workspace) -> None:
    """Remove the work folder; its lock goes last."""
    shutil.rmtree(workspace.root, ignore_errors=True)


def _move_files(origin: Path, target: Path) -> None:
    if not origin.is_dir():
        return
    for parent, _, names in os.walk(origin):
        folder = target / Path(parent).relative_to(origin)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            Path(parent, name).rename(folder / name)


def load_models(path: Path) -> tuple[Model, ...] | None:
    """The models that an earlier part of an interrupted run used, if it got that far."""
    try:
        return tuple(Model(**model) for model in json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise DataError(f"{path} is damaged; remove the OUT and run again") from None


def save_models(models: Sequence[Model], path: Path) -> None:
    """Remember the models in the work folder."""
    store.save_json([asdict(model) for model in models], path)
