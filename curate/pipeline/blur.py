"""The main job: obfuscate every face of a dataset folder, and account for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import UsageError
from curate.core.protocols import Model, Source
from curate.layouts import open_source
from curate.layouts.access.address import is_address, is_hub_place
from curate.layouts.access.hub import describe_origin
from curate.layouts.faces import iter_given_faces, table
from curate.layouts.faces.boxes import GivenFaces
from curate.manifest import store
from curate.pipeline import finish, hub
from curate.pipeline.carrying import carry
from curate.pipeline.gathering import gather
from curate.pipeline.given import check_matches, describe_matches, match_faces, save_face_index
from curate.pipeline.run import Run, begin, clock, do_shards, hold
from curate.pipeline.session import Session
from curate.pipeline.shard import ShardJob
from curate.pipeline.summary import Summary, recall, summarize
from curate.pipeline.tools import check_recipe, open_detector, pin_files
from curate.pipeline.workspace import Plan, Workspace, check_containers, check_places
from curate.recipe import Recipe


def blur(
    source: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    session: Session | None = None,
) -> Summary:
    """Obfuscate every face of the images in a folder and write a manifest.

    Running it again on the same OUT continues an interrupted run and returns at
    once from a finished one.

    Args:
        source: the dataset's folder, its address, or ``hf:NAME[@REVISION]``; only read.
        out: the output folder; made if absent, on one file system.
        recipe: what to do; the defaults if None.
        session: how to run.

    Returns:
        What became of the images. Withheld images are counted, never raised.

    Raises:
        UsageError: if the request contradicts itself or OUT holds another run.
        DataError: if SOURCE or an interrupted run cannot be used.
        SetupError: if the environment lacks something, disk space included.
    """
    session = session or Session()
    if session.replayed is not None:
        raise UsageError("an earlier run's faces are taken by curate.replay, not by blur")
    recipe = pin_files(recipe or Recipe(), session)
    check_recipe(recipe)
    if is_hub_place(str(source)):
        return _obfuscate_hub(str(source), out, recipe, session)
    return obfuscate_source(open_source(str(source), session.layout), out, recipe, session)


def obfuscate_source(source: Source, out: str | Path, recipe: Recipe, session: Session) -> Summary:
    """Obfuscate an opened dataset; raises as `blur` does."""
    check_places(source.place, out)
    with hold(lambda: source, Workspace(Path(out).resolve()), recipe, session) as run:
        return _carry_out(run)


def _obfuscate_hub(place: str, out: str | Path, recipe: Recipe, session: Session) -> Summary:
    """Obfuscate a dataset of the Hub, copied to the work folder; raises as `blur` does."""
    check_places(hub.check(place, session.layout), out)
    workspace = Workspace(Path(out).resolve())
    if (workspace.out / "manifest" / store.RUN).is_file():
        hub.check_origin(place, workspace.out)
        return recall(workspace.out, None, recipe)
    with hold(lambda: hub.bring(place, workspace, session), workspace, recipe, session) as run:
        return _carry_out(run)


def _carry_out(run: Run[Recipe]) -> Summary:
    workspace, began, done = run.workspace, time.time(), 0
    if (workspace.out / "manifest" / store.RUN).is_file():
        summary = recall(workspace.out, run.source, run.recipe)
        finish.remove_work(workspace)
        return summary
    plan = begin(run)
    if not finish.is_gathered(workspace):
        _index_faces(run, plan)
        done = do_shards(run, plan, _job(run))
        _gather(run, plan)
        workspace.note(event="finished", time=clock(), images=done)
    facts = store.load_run(workspace.final / "manifest")
    finish.show(workspace)
    return summarize(workspace.out, facts, time.time() - began, done)


def _job(run: Run[Recipe]) -> ShardJob:
    return ShardJob(
        place=run.source.place,
        layout=run.source.layout,
        work=run.workspace.root,
        recipe=run.recipe,
        faces=run.workspace.faces if run.session.faces or run.session.replayed else None,
        weights=run.session.weights,
    )


def _gather(run: Run[Recipe], plan: Plan) -> None:
    """Bring the committed shards together and write what describes them."""
    size = run.recipe.shard_size_for(plan.images)
    loose = next(iter(run.source.containers()), None) is None
    gather(run.workspace, -(-plan.images // size), loose)
    others, origin = carry(run.workspace, run.source), _find_origin(run)
    if not loose:  # what was read for the images and what was read around them is one file
        check_containers(run.source, plan)
    facts = finish.describe_run(run.workspace, run.source, run.recipe, _models(run), others, origin)
    store.save_json(facts, run.workspace.final / "manifest" / store.RUN)


def _find_origin(run: Run[Recipe]) -> str | None:
    """Where the dataset is if it is not on this disk; a path would differ between machines."""
    place = run.source.place
    return place if is_address(place) else describe_origin(run.workspace.source)


def _models(run: Run[Recipe]) -> tuple[Model, ...]:
    if run.session.faces is not None:
        return ()
    if run.session.replayed is not None:
        return tuple(Model(**said) for said in store.load_run(run.session.replayed)["detectors"])
    models = finish.load_models(run.workspace.models)
    if models is None:  # killed between the first commit and the note of its models
        models = open_detector(run.recipe, run.session.weights).models()
    return models


def _index_faces(run: Run[Recipe], plan: Plan) -> None:
    """Index the given faces; images that the file does not speak of end the run, unless allowed."""
    if run.session.replayed is not None:
        save_face_index(_iter_recorded(run.session.replayed), run.workspace.faces)
        match_faces(run.workspace.faces, (record.id for record in plan.records()))
        return
    file = run.session.faces
    if file is None:
        return
    save_face_index(iter_given_faces(file), run.workspace.faces)
    ids = (record.id for record in plan.records())
    matches = match_faces(run.workspace.faces, ids, run.recipe.faces_match == "suffix")
    run.session.tell(describe_matches(matches, file))
    check_matches(matches, file, run.session.allow_missing)
    run.workspace.note(
        event="faces", lines=matches.lines, matched=matches.matched, missing=matches.missing
    )


def _iter_recorded(manifest: Path) -> Iterator[GivenFaces]:
    """The faces of every image that an earlier run has written."""
    for part in store.iter_parts(manifest / store.RECORDS_FOLDER):
        yield from table.iter_faces(part)
