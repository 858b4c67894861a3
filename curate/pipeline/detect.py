"""Find the faces of a dataset and write them down, for a person to look before they are hidden."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import curate
from curate.core.errors import UsageError
from curate.core.faces import Face
from curate.core.stages import take_times
from curate.engine.local import Report
from curate.engine.shards import Shard, Stage, shard_name
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.faces import SUFFIXES, save_faces
from curate.layouts.faces.boxes import FoundFaces
from curate.manifest.found import FoundEntry, iter_found, join_found, load_account, save_found
from curate.manifest.store import save_json
from curate.pipeline.finish import load_models
from curate.pipeline.looking import PART, TALLY, Looked, in_batches, look
from curate.pipeline.run import Run, begin, do_shards, hold
from curate.pipeline.session import Session
from curate.pipeline.shard import ShardResult
from curate.pipeline.tools import check_recipe, open_detector, open_tools, pin_files
from curate.pipeline.workspace import Workspace, check_local, describe_recipe_clash, libraries
from curate.recipe import Recipe
from curate.storage.atomic import sync_file, sync_folder


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a dataset.

    Args:
        out: the table of faces.
        images: images in SOURCE.
        withheld: those that could not be looked at.
        images_with_faces: those with at least one face.
        faces: faces in all.
        exports: the same in other forms, by form.
        already_done: the table was there before; nothing was done.
        recipe_sha256: digest of the recipe.
    """

    out: str
    images: int
    withheld: int
    images_with_faces: int
    faces: int
    exports: dict[str, str]
    already_done: bool
    recipe_sha256: str


@dataclass(frozen=True, slots=True)
class DetectJob:
    """Everything a process needs to find faces; small, and survives pickling.

    Args:
        place: where the dataset is.
        layout: its layout.
        work: the work folder.
        recipe: what to do.
        weights: a weights file that the user brought, or None.
    """

    place: str
    layout: str
    work: Path
    recipe: Recipe
    weights: Path | None = None

    def open(self) -> Callable[[Shard, Report], ShardResult]:
        """Load the models; returns the shard function."""
        tools = open_tools(self.recipe, None, self.weights)
        source = open_source(self.place, self.layout)
        models = tools.detector.models() if tools.detector else ()

        def work(shard: Shard, report: Report) -> ShardResult:
            entries: list[FoundEntry] = []
            with Stage(self.work / "staging", self.work / "shards", shard.name) as stage:
                for start, records in in_batches(shard, self.recipe.device):
                    report(start, (len(entries), sum(len(entry.faces) for entry in entries)))
                    entries += map(_describe, look(records, shard, source, tools))
                tally = _count(entries)
                save_found(entries, stage.path(PART))
                save_json(tally, stage.path(TALLY))
                stage.commit()
            return ShardResult(tally, models, take_times())

        return work


def detect(
    source: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    session: Session | None = None,
    exports: Sequence[str] = (),
) -> Findings:
    """Find every face of a dataset and write a Parquet table of them.

    Running it again with the same table continues an interrupted run and returns
    at once from a finished one. `curate.blur` takes the table as ``faces``.

    Args:
        source: the dataset; only read.
        out: the table to write, such as ``faces.parquet``.
        recipe: what to do, of which only the parts about detection count.
        session: how to run.
        exports: forms to write the faces in as well, beside the table: ``coco``,
            ``imagenet``, ``voc``, ``yolo``.

    Raises:
        UsageError: if the request contradicts itself or the table is of another recipe.
        DataError: if SOURCE or an interrupted run cannot be used.
        SetupError: if the environment lacks something, disk space included.
    """
    session = session or Session()
    if session.faces is not None:
        raise UsageError("faces are found, not given, here; leave them out")
    recipe = pin_files(recipe or Recipe(), session)
    opened = open_source(str(source), session.layout)
    check_local(out, "the table")
    target = Path(out).resolve()
    _check_target(target, opened.place, exports)
    check_recipe(recipe)
    work = Workspace(target, target.with_name(f".{target.name}.curate"))
    with hold(lambda: opened, work, recipe, session) as run:
        before = target.exists()
        if not before:
            _find(run)
        return _finish(run, exports, before)


def _find(run: Run[Recipe]) -> None:
    work, out = run.workspace, run.workspace.out
    plan = begin(run)
    job = DetectJob(run.source.place, run.source.layout, work.root, run.recipe, run.session.weights)
    do_shards(run, plan, job)
    shards = -(-plan.images // run.recipe.shard_size_for(plan.images))
    parts = [work.shards / shard_name(number) / PART for number in range(shards)]
    partial = work.staging / "faces.parquet"
    join_found(parts, _account(run, parts), partial)
    sync_file(partial)
    partial.replace(out)
    sync_folder(out.parent)


def _finish(run: Run[Recipe], exports: Sequence[str], before: bool) -> Findings:
    work, out = run.workspace, run.workspace.out
    account = load_account(out) or {}
    if before and account.get("recipe_sha256") != run.recipe.digest:
        if "recipe" not in account:
            raise UsageError(f"{out} was not made by curate detect, or edited; choose another name")
        raise UsageError(describe_recipe_clash(out, account["recipe"], run.recipe))
    written = {form: _export(run, form) for form in exports}
    shutil.rmtree(work.root, ignore_errors=True)
    return Findings(
        out=str(out),
        **account["counts"],
        exports=written,
        already_done=before,
        recipe_sha256=run.recipe.digest,
    )


def _export(run: Run[Recipe], form: str) -> str:
    """Write the faces in another form beside the table; all of it appears at once."""
    out = run.workspace.out
    target = out.with_name(out.stem + SUFFIXES[form])
    if target.exists():
        return str(target)
    partial = run.workspace.root / f"export{SUFFIXES[form]}"
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    save_faces(_iter_looked_at(out), partial, form)
    partial.replace(target)
    return str(target)


def _iter_looked_at(table: Path) -> Iterator[FoundFaces]:
    for entry in iter_found(table):
        if entry.reason is None:
            boxes = tuple(face.box for face in entry.faces)
            width, height = entry.width or 0, entry.height or 0
            yield FoundFaces(entry.id, width, height, entry.orientation or 1, boxes)


def _check_target(target: Path, place: str, exports: Sequence[str]) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name the file to write, such as faces.parquet")
    if not is_address(place) and target.is_relative_to(place):
        raise UsageError(f"{target} lies inside SOURCE; choose another place for it")
    for form in exports:
        if form not in SUFFIXES:
            raise UsageError(f"unknown form {form!r}; choose one of: {', '.join(SUFFIXES)}")


def _describe(looked: Looked) -> FoundEntry:
    record, picture = looked.record, looked.picture
    frames: dict[Face, list[int]] = {}
    for index, faces in enumerate(looked.faces):
        for face in dict.fromkeys(faces):
            frames.setdefault(face, []).append(index)
    return FoundEntry(
        id=record.id,
        split=record.split,
        category=record.category,
        source_sha256=looked.sha256,
        source_bytes=looked.size,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        orientation=picture.orientation if picture else None,
        reason=str(looked.trouble) if looked.trouble else None,
        faces=tuple(_in_frames(face, found) for face, found in frames.items()),
    )


def _in_frames(face: Face, frames: Sequence[int]) -> Face:
    return Face(face.box, face.confidence, face.detectors, face.decided_by, tuple(frames))


def _count(entries: Sequence[FoundEntry]) -> dict[str, Any]:
    return {
        "images": len(entries),
        "withheld": sum(entry.reason is not None for entry in entries),
        "images_with_faces": sum(bool(entry.faces) for entry in entries),
        "faces": sum(len(entry.faces) for entry in entries),
    }


def _account(run: Run[Recipe], parts: Sequence[Path]) -> dict[str, Any]:
    """What the table says of its making; nothing about the host or the time."""
    counts = dict.fromkeys(("images", "withheld", "images_with_faces", "faces"), 0)
    for part in parts:
        for name, count in _count(list(iter_found(part))).items():
            counts[name] += count
    models = load_models(run.workspace.models)
    if models is None:  # killed between the first commit and the note of its models
        models = open_detector(run.recipe, run.session.weights).models()
    return {
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "recipe": run.recipe.to_dict(),
        "recipe_sha256": run.recipe.digest,
        "detectors": [asdict(model) for model in models],
        "libraries": libraries(),
        "source": {"layout": run.source.layout},
        "counts": counts,
    }
