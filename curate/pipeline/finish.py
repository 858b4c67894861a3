"""Describe a run that has done its work, and show its result.

The manifest appears last, so an OUT with a manifest is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.protocols import Model, Source
from curate.manifest import store
from curate.manifest.schema import VERSION
from curate.pipeline.shard import DATA
from curate.pipeline.tools import margin_of, open_obfuscator
from curate.pipeline.workspace import Workspace, libraries
from curate.recipe import Recipe
from curate.storage.atomic import sync_folder, sync_tree


def describe_run(
    workspace: Workspace,
    source: Source,
    recipe: Recipe,
    models: Sequence[Model],
    others: dict[str, int],
    origin: str | None,
) -> dict[str, Any]:
    """The content of ``run.json``: everything that says what was done, and its digests.

    Args:
        workspace: where the work is.
        source: the dataset.
        recipe: what was done.
        models: what detected.
        others: counts of what stands beside the images.
        origin: where the dataset is if it is not on this disk.
    """
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
        "source": {
            "layout": source.layout,
            "origin": origin,
            "sha256": store.digest_sources(records),
        },
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


def is_gathered(workspace: Workspace, facts: str = store.RUN) -> bool:
    """Whether all that is left to do is to show the result.

    Args:
        workspace: where the work is.
        facts: the file that is written last into the manifest.
    """
    return (workspace.final / "manifest" / facts).is_file()


def remove_work(workspace: Workspace) -> None:
    """Remove the work folder; its lock goes last."""
    shutil.rmtree(workspace.root, ignore_errors=True)


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
