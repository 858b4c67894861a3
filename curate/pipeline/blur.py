"""The main job: obfuscate every face of a dataset, and record what was done."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from curate.core.arguments import checked
from curate.core.errors import UsageError
from curate.core.protocols import Source, iter_containers
from curate.layouts.access.address import is_address, is_hub_uri
from curate.layouts.access.hub import describe_origin
from curate.manifest import store
from curate.manifest.signature import check_key, sign
from curate.pipeline import assembly
from curate.pipeline.given_faces import (
    check_matches,
    describe_matches,
    load_faces,
    load_given,
    match_faces,
    save_face_index,
)
from curate.pipeline.hub_source import check_hub_origin, open_or_download
from curate.pipeline.label_maps import search_label_maps
from curate.pipeline.object_output import open_output
from curate.pipeline.other_files import drop_withheld, write_other_files
from curate.pipeline.output import (
    ShardsSummary,
    Summary,
    load_summary,
    summarize,
    summarize_shards,
)
from curate.pipeline.progress import show_progress
from curate.pipeline.recipe_changes import describe_recipe_clash
from curate.pipeline.run import Run, begin, clock, hold
from curate.pipeline.session import Session, configure
from curate.pipeline.shard import ShardJob
from curate.pipeline.shard_queue import run_shards
from curate.pipeline.sidecars import Sidecars, rewrite_sidecars
from curate.pipeline.tools import load_provenance, prepare_recipe
from curate.pipeline.update import check_options, prepare_update, report_changes
from curate.pipeline.workspace import Plan, Workspace, check_containers, check_paths
from curate.recipe import Recipe


@checked
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
    from a finished one. With ``update`` a finished one is brought up to date with corrected
    ``faces``: it becomes what a new run with them would write.

    >>> curate.blur("photos", "out", method="fill", workers=4)   # doctest: +SKIP
    <Summary of 'out': 128 written, 0 withheld, 231 faces hidden>

    Args:
        source: path or URI of the dataset, or ``hf:NAME[@REVISION]``; only read.
        out: the output folder, created if absent, or a URI such as ``s3://bucket/out``.
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
    recipe, session = _configure(recipe, session, options, out)
    if session.shards is not None:
        raise UsageError("use curate.blur_shards to process some of the shards")
    with show_progress(session, quiet) as session:
        if is_address(str(out)):
            done = _blur_to_objects(source, str(out), recipe, session)
        else:
            done = _blur(source, out, recipe, session)
    return replace(done, seconds=round(time.time() - began, 3)) if done.images_now else done


def _blur(source: str | Path, out: str | Path, recipe: Recipe, session: Session) -> Summary:
    opener, workspace = open_or_download(source, out, session)
    if is_hub_uri(str(source)) and _is_finished(workspace.out):
        check_hub_origin(str(source), workspace.out)
        if not session.update:
            summary = load_summary(workspace.out, None, recipe)
            _sign_finished(workspace.out, session)
            return summary
    with hold(opener, workspace, recipe, session) as run:
        return _execute(run)


@checked
def blur_shards(
    source: str | Path,
    out: str | Path,
    shards: str | tuple[int, int],
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> ShardsSummary:
    """Obfuscate every n-th shard of a dataset, as one of n processes on any number of machines.

    The processes share OUT; each takes shards that no other works on, and takes over those of
    processes that have stopped. Afterwards ``curate.blur(source, out, finish=True)`` assembles
    OUT. The recipe must be the same everywhere.

    >>> curate.blur_shards("photos", "out", "3/16")              # doctest: +SKIP
    <ShardsSummary of 'out', 3/16: 128 images in 4 shards, 0 withheld>

    Args:
        source: path or URI of the dataset, or ``hf:NAME[@REVISION]``; only read.
        out: the output folder, which every process can write; created if absent.
        shards: ``i/n``, or both numbers: every n-th shard from the i-th, with i from 1 to n.
        recipe: what to do, or None for the defaults.
        session: how to run, or None for the defaults.
        quiet: show no progress and no messages.
        options: fields of `Recipe` and of `Session`; they override both.

    Raises:
        UsageError: if the options contradict each other, or OUT holds another run.
        DataError: if SOURCE or the run in OUT cannot be used.
        SetupError: if something is missing from the environment, or differs from the other
            processes' environment.
    """
    recipe, session = _configure(recipe, session, {**options, "shards": shards}, out)
    with show_progress(session, quiet) as session:
        if is_address(str(out)):
            with _hold_objects(source, str(out), recipe, session) as (run, plan):
                if plan is None and run.remote is not None:
                    facts = run.remote.load_run(run.workspace.out)
                    return summarize_shards(out, session, None, facts["counts"], facts["others"])
                done = None if plan is None else run_shards(run, plan, _make_job(run))
            return summarize_shards(out, session, done)
        opener, workspace = open_or_download(source, out, session)
        if _is_finished(workspace.out):
            finished = load_summary(workspace.out, None, recipe)
            return summarize_shards(out, session, None, asdict(finished), finished.others)
        with hold(opener, workspace, recipe, session) as run:
            plan = begin(run)
            _index_faces(run, plan)
            done = run_shards(run, plan, _make_job(run))
            workspace.note(event="shards", time=clock(), images=done.now)
    return summarize_shards(out, session, done)


def _blur_to_objects(source: str | Path, uri: str, recipe: Recipe, session: Session) -> Summary:
    """Obfuscate a dataset to an object storage; see `ObjectOutput`."""
    began = time.time()
    with _hold_objects(source, uri, recipe, session) as (run, plan):
        remote, out = run.remote, run.workspace.out
        assert remote is not None  # noqa: S101 - narrows the type
        if plan is None:
            facts = remote.load_run(out)
            return replace(summarize(out, facts, 0.0, 0, already_done=True), out=uri)
        sidecars = _rewrite_sidecars(run)
        run.notify_notes()
        done = run_shards(run, plan, _make_job(run)).now
        _assemble(run, plan, sidecars)
        run.workspace.note(event="finished", time=clock(), images=done)
        facts = store.load_run(run.workspace.final / store.MANIFEST)
        assembly.move_to_output(run.workspace, session.sign)
        remote.finish(out)
        return replace(summarize(out, facts, time.time() - began, done), out=uri)


@contextmanager
def _hold_objects(
    source: str | Path, uri: str, recipe: Recipe, session: Session
) -> Iterator[tuple[Run[Recipe], Plan | None]]:
    """Begin or join a run on an object storage; the plan is None if it was finished before.

    Raises:
        UsageError: if SOURCE is on the Hub.
    """
    if is_hub_uri(str(source)):
        raise UsageError(
            "OUT must be a local path: a dataset of the Hub is copied to the work folder first"
        )
    if session.engine not in ("local", "ray"):
        raise UsageError(
            "OUT is a URI, and the nodes of a Ray cluster share no work folder; use --shards on "
            "each machine instead"
        )
    remote = open_output(str(source), uri)
    with tempfile.TemporaryDirectory(prefix="curate-out-") as folder:
        opener, workspace = open_or_download(source, Path(folder, "out"), session)
        workspace.name = uri
        with hold(opener, workspace, recipe, session) as run:
            run = replace(run, remote=remote)
            if remote.is_finished():
                facts = remote.load_run(workspace.out)
                if facts["recipe_sha256"] != recipe.digest:
                    raise UsageError(describe_recipe_clash(uri, facts["recipe"], recipe))
                yield run, None
                return
            remote.loose = next(iter_containers(run.source), None) is None
            joined = remote.fetch_state(workspace)
            plan = begin(run, hold_notes=session.shards is None)
            if not joined:
                remote.save_state(workspace)
            remote.fetch_shards(workspace)
            _index_faces(run, plan)
            yield run, plan


def obfuscate_source(source: Source, out: str | Path, recipe: Recipe, session: Session) -> Summary:
    """Obfuscate an opened dataset; raises as `blur` does."""
    check_paths(source.uri, out)
    with hold(lambda: source, Workspace(Path(out).resolve()), recipe, session) as run:
        return _execute(run)


def _configure(
    recipe: Recipe | None, session: Session | None, options: dict[str, Any], out: str | Path
) -> tuple[Recipe, Session]:
    """The recipe, with the digests of the user's files, and the session, both checked."""
    recipe, session = configure(recipe, session, options)
    if session.replayed is not None:
        raise UsageError("use curate.replay to repeat a run with its recorded faces")
    if session.update:
        check_options(out, session)
    recipe = prepare_recipe(recipe, session)
    if session.sign is not None:
        check_key(session.sign)
    return recipe, session


def _is_finished(out: Path) -> bool:
    return (out / store.MANIFEST / store.RUN).is_file()


def _execute(run: Run[Recipe]) -> Summary:
    workspace, began, done = run.workspace, time.time(), 0
    is_complete = prepare_update(run) if run.session.update else _is_finished(workspace.out)
    if is_complete:
        summary = load_summary(workspace.out, run.source, run.recipe)
        assembly.remove_work(workspace)
        _sign_finished(workspace.out, run.session)
        return summary
    plan = begin(run, hold_notes=True)
    if not assembly.is_assembled(workspace):
        sidecars = _rewrite_sidecars(run)
        run.notify_notes()
        _index_faces(run, plan)
        done = run_shards(run, plan, _make_job(run)).now
        _assemble(run, plan, sidecars)
        workspace.note(event="finished", time=clock(), images=done)
    run.notify_notes()
    outdated = report_changes(run) if run.session.update else ()
    facts = store.load_run(workspace.final / store.MANIFEST)
    run.check_unchanged()
    assembly.move_to_output(workspace, run.session.sign)
    summary = summarize(workspace.out, facts, time.time() - began, done)
    return replace(summary, outdated=outdated)


def _rewrite_sidecars(run: Run[Recipe]) -> Sidecars:
    """Write the files beside the images; faces are searched in label maps first."""
    maps = search_label_maps(run)
    return rewrite_sidecars(run.workspace, run.source, run.recipe, maps.check)


def _sign_finished(out: Path, session: Session) -> None:
    """Sign an output that was finished before, unless it is signed."""
    manifest = out / store.MANIFEST
    if session.sign is not None and not (manifest / store.SIGNATURE).exists():
        sign(manifest / store.CHECKSUMS, session.sign)


def _make_job(run: Run[Recipe]) -> ShardJob:
    return ShardJob(
        uri=run.source.uri,
        layout=run.source.layout,
        work=run.workspace.root,
        recipe=run.recipe,
        faces=run.workspace.faces if run.session.faces or run.session.replayed else None,
        weights=run.session.weights,
        updated=run.workspace.out if run.session.update else None,
        follow_links=run.source.follow_links,
    )


def _assemble(run: Run[Recipe], plan: Plan, sidecars: Sidecars) -> None:
    """Assemble the output from the committed shards, and write its ``run.json``."""
    size = run.recipe.shard_size_for(plan.images)
    loose = next(iter_containers(run.source), None) is None
    assembly.gather(run.workspace, -(-plan.images // size), loose, run.check_unchanged)
    if run.session.finish:
        assembly.check_records(run.workspace, plan, size)
    sidecars = drop_withheld(run.workspace, run.source, run.recipe, sidecars)
    others = write_other_files(run.workspace, run.source, sidecars, run.recipe, run.remote)
    if not loose:  # the images and what is around them were read from the same files
        check_containers(run.source, plan)
    run.check_unchanged()
    facts = assembly.describe_run(
        run.workspace,
        run.source,
        run.recipe,
        _describe_detection(run),
        others,
        sidecars.content,
        _find_origin(run),
    )
    store.save_json(facts, run.workspace.final / store.MANIFEST / store.RUN)


def _find_origin(run: Run[Recipe]) -> str | None:
    """The URI of a remote dataset; a local path would differ between machines."""
    uri = run.source.uri
    return uri if is_address(uri) else describe_origin(run.workspace.source)


def _describe_detection(run: Run[Recipe]) -> dict[str, Any]:
    """How the faces were found: the keys ``detectors`` and ``given_faces`` of ``run.json``."""
    if run.session.faces is not None:
        return load_provenance(run.session.faces)
    if run.session.replayed is not None:
        recorded = store.load_run(run.session.replayed)
        return {key: recorded[key] for key in ("detectors", "given_faces") if key in recorded}
    return {"detectors": [asdict(model) for model in assembly.load_models(run.workspace)]}


def _index_faces(run: Run[Recipe], plan: Plan) -> None:
    """Index the given faces, unless another process has; see `_save_faces`."""
    if run.session.faces is None and run.session.replayed is None:
        return
    _describe_detection(run)  # malformed facts end the run before its work
    index = run.workspace.faces
    with run.alone_in_setup():
        if run.session.shards is not None and index.exists():
            return
        partial = index.with_name(f"{index.name}.{run.leases.token}.partial")
        try:
            _save_faces(run, plan, partial)
            partial.replace(index)  # another process may have it open
        finally:
            partial.unlink(missing_ok=True)


def _save_faces(run: Run[Recipe], plan: Plan, index: Path) -> None:
    """Write the index of the given faces; images without an entry end the run, unless allowed."""
    ids = (record.id for record in plan.records())
    if run.session.replayed is not None:
        save_face_index(load_faces(run.session.replayed), index)
        match_faces(index, ids)
        return
    file = run.session.faces
    assert file is not None  # noqa: S101 - narrows the type
    save_face_index(load_given(file), index)
    matches = match_faces(index, ids, run.recipe.faces_match == "suffix")
    run.session.notify(describe_matches(matches, file))
    check_matches(matches, file, run.session.allow_missing)
    run.workspace.note(
        event="faces", lines=matches.lines, matched=matches.matched, missing=matches.missing
    )
