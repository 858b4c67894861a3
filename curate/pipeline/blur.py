"""The main job: obfuscate every face of a dataset, and record what was done."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.core.errors import SourceChangedError, UsageError
from curate.core.protocols import Model, Source, iter_containers
from curate.layouts import open_source
from curate.layouts.access.address import is_address, is_hub_uri
from curate.layouts.access.hub import PREFIX, describe_origin, materialize, parse_hub_uri
from curate.manifest import store
from curate.manifest.signature import check_key, sign
from curate.pipeline import assembly
from curate.pipeline.given_faces import (
    check_matches,
    describe_matches,
    load_faces,
    match_faces,
    save_face_index,
)
from curate.pipeline.output import Summary, load_summary, summarize
from curate.pipeline.progress import show_progress
from curate.pipeline.run import Run, begin, clock, hold, run_shards
from curate.pipeline.session import Session, configure
from curate.pipeline.shard import ShardJob
from curate.pipeline.sidecars import Sidecars, rewrite_sidecars
from curate.pipeline.tools import check_recipe, open_detector, pin_files
from curate.pipeline.workspace import Plan, Workspace, check_containers, check_paths
from curate.recipe import Recipe

_HUB_LAYOUT = "parquet"


def blur(
    source: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> Summary:
    """Obfuscate every face of a dataset and write it, with a manifest, in the same layout.

    Running it again with the same OUT continues an interrupted run, and returns at once
    from a finished one.

    >>> curate.blur("photos", "out", method="fill", workers=4)   # doctest: +SKIP
    <Summary of 'out': 128 written, 0 withheld, 231 faces hidden>

    Args:
        source: path or URI of the dataset, or ``hf:NAME[@REVISION]``; only read.
        out: the output folder; created if absent.
        recipe: what to do, or None for the defaults.
        session: how to run, or None for the defaults.
        quiet: show no progress and no messages.
        options: fields of `Recipe`, such as ``method`` or ``profile``, and of `Session`,
            such as ``workers``, ``faces`` or ``layout``; they override both.

    Returns:
        How many images were written and withheld. A withheld image raises nothing.

    Raises:
        UsageError: if the options contradict each other, or OUT holds another run.
        DataError: if SOURCE or an interrupted run cannot be used.
        SetupError: if something is missing from the environment, disk space included.
    """
    began = time.time()
    recipe, session = configure(recipe, session, options)
    if session.replayed is not None:
        raise UsageError("use curate.replay to repeat a run with its recorded faces")
    recipe = pin_files(recipe, session)
    check_recipe(recipe)
    if session.sign is not None:
        check_key(session.sign)
    with show_progress(session, quiet) as session:
        if is_hub_uri(str(source)):
            done = _obfuscate_hub(str(source), out, recipe, session)
        else:
            opened = open_source(str(source), session.layout)
            done = obfuscate_source(opened, out, recipe, session)
    return replace(done, seconds=round(time.time() - began, 3)) if done.images_now else done


def obfuscate_source(source: Source, out: str | Path, recipe: Recipe, session: Session) -> Summary:
    """Obfuscate an opened dataset; raises as `blur` does."""
    check_paths(source.uri, out)
    with hold(lambda: source, Workspace(Path(out).resolve()), recipe, session) as run:
        return _execute(run)


def _obfuscate_hub(uri: str, out: str | Path, recipe: Recipe, session: Session) -> Summary:
    """Obfuscate a dataset of the Hugging Face Hub, downloaded to the work folder first."""
    check_paths(_check_hub(uri, session.layout), out)
    workspace = Workspace(Path(out).resolve())
    if (workspace.out / store.MANIFEST / store.RUN).is_file():
        _check_hub_origin(uri, workspace.out)
        summary = load_summary(workspace.out, None, recipe)
        _sign_finished(workspace.out, session)
        return summary
    with hold(lambda: _download(uri, workspace, session), workspace, recipe, session) as run:
        return _execute(run)


def _check_hub(uri: str, layout: str) -> str:
    """Check the address of a dataset on the Hub; returns what OUT must not overlap with."""
    name = parse_hub_uri(uri).name
    if layout not in ("auto", _HUB_LAYOUT):
        raise UsageError(f"SOURCE {uri!r} is read as {_HUB_LAYOUT}; drop --format {layout}")
    return name if name.startswith((".", "/")) else uri


def _download(uri: str, workspace: Workspace, session: Session) -> Source:
    """Copy a dataset of the Hub to the work folder, or continue that, and open it."""
    hub = parse_hub_uri(uri)
    if not workspace.source.is_dir():
        session.tell(f"{uri} is downloaded to the work folder first.")
    materialize(hub.name, hub.revision, workspace.source)
    return open_source(str(workspace.source), _HUB_LAYOUT)


def _check_hub_origin(uri: str, out: Path) -> None:
    """Refuse a finished output that has another origin than this dataset of the Hub."""
    origin, hub = store.load_run(out / store.MANIFEST)["source"]["origin"], parse_hub_uri(uri)
    if origin is None and Path(hub.name).exists():
        return  # a local copy in the Hub's form, whose path is not recorded
    name, _, revision = (origin or "").removeprefix(PREFIX).partition("@")
    if name != hub.name or hub.revision not in (None, revision):
        found = origin or "a local dataset"
        raise SourceChangedError(
            f"{out} is the output of {found}, not of {uri}; choose another OUT"
        )


def _execute(run: Run[Recipe]) -> Summary:
    workspace, began, done = run.workspace, time.time(), 0
    if (workspace.out / store.MANIFEST / store.RUN).is_file():
        summary = load_summary(workspace.out, run.source, run.recipe)
        assembly.remove_work(workspace)
        _sign_finished(workspace.out, run.session)
        return summary
    plan = begin(run)
    if not assembly.is_assembled(workspace):
        sidecars = rewrite_sidecars(workspace, run.source, run.recipe)
        _index_faces(run, plan)
        done = run_shards(run, plan, _make_job(run))
        _assemble(run, plan, sidecars)
        workspace.note(event="finished", time=clock(), images=done)
    facts = store.load_run(workspace.final / store.MANIFEST)
    assembly.move_to_output(workspace, run.session.sign)
    return summarize(workspace.out, facts, time.time() - began, done)


def _sign_finished(out: Path, session: Session) -> None:
    """Sign an output that was finished before, unless it is signed."""
    manifest = out / store.MANIFEST
    if session.sign is not None and not (manifest / store.SIGNATURE).exists():
        sign(manifest / store.CHECKSUMS, session.sign)


def _make_job(run: Run[Recipe]) -> ShardJob:
    return ShardJob(
        place=run.source.uri,
        layout=run.source.layout,
        work=run.workspace.root,
        recipe=run.recipe,
        faces=run.workspace.faces if run.session.faces or run.session.replayed else None,
        weights=run.session.weights,
    )


def _assemble(run: Run[Recipe], plan: Plan, sidecars: Sidecars) -> None:
    """Assemble the output from the committed shards, and write its ``run.json``."""
    size = run.recipe.shard_size_for(plan.images)
    loose = next(iter_containers(run.source), None) is None
    assembly.gather(run.workspace, -(-plan.images // size), loose)
    others = assembly.write_other_files(run.workspace, run.source, sidecars, run.recipe)
    if not loose:  # the images and what is around them were read from the same files
        check_containers(run.source, plan)
    facts = assembly.describe_run(
        run.workspace,
        run.source,
        run.recipe,
        _models(run),
        others,
        sidecars.content,
        _find_origin(run),
    )
    store.save_json(facts, run.workspace.final / store.MANIFEST / store.RUN)


def _find_origin(run: Run[Recipe]) -> str | None:
    """The URI of a remote dataset; a local path would differ between machines."""
    uri = run.source.uri
    return uri if is_address(uri) else describe_origin(run.workspace.source)


def _models(run: Run[Recipe]) -> tuple[Model, ...]:
    if run.session.faces is not None:
        return ()
    if run.session.replayed is not None:
        return tuple(Model(**model) for model in store.load_run(run.session.replayed)["detectors"])
    models = assembly.load_models(run.workspace.models)
    if models is None:  # killed between the first commit and the note of its models
        models = open_detector(run.recipe, run.session.weights).models()
    return models


def _index_faces(run: Run[Recipe], plan: Plan) -> None:
    """Index the given faces; images without an entry end the run, unless allowed."""
    if run.session.replayed is not None:
        save_face_index(load_faces(run.session.replayed), run.workspace.faces)
        match_faces(run.workspace.faces, (record.id for record in plan.records()))
        return
    file = run.session.faces
    if file is None:
        return
    save_face_index(load_faces(file), run.workspace.faces)
    ids = (record.id for record in plan.records())
    matches = match_faces(run.workspace.faces, ids, run.recipe.faces_match == "suffix")
    run.session.tell(describe_matches(matches, file))
    check_matches(matches, file, run.session.allow_missing)
    run.workspace.note(
        event="faces", lines=matches.lines, matched=matches.matched, missing=matches.missing
    )
