"""The main job: obfuscate every face of a dataset folder, and account for it."""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import (
    CurateError,
    PausedError,
    SetupError,
)
from curate.core.ports import Model, Source
from curate.engine.local import Finished, LocalPool, Progress
from curate.engine.lock import FolderLock
from curate.engine.shards import Shard, iter_shards, shard_name
from curate.formats import open_source
from curate.formats.faces import iter_given_faces
from curate.manifest import store
from curate.pipeline import finish
from curate.pipeline.given import check_matches, describe_matches, match_faces, save_face_index
from curate.pipeline.session import Session, Snapshot, workers_for
from curate.pipeline.shard import TALLY, ShardJob
from curate.pipeline.summary import Summary, recall, summarize
from curate.pipeline.tools import check_recipe, open_detector, pin_files
from curate.pipeline.workspace import (
    Plan,
    Workspace,
    check_places,
    save_plan,
)
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
        source: the dataset's folder; only read.
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
    recipe = pin_files(recipe or Recipe(), session)
    root, out = Path(source), Path(out)
    opened = open_source(root)
    check_places(root, out)
    check_recipe(recipe)
    workspace = Workspace(out.resolve())
    fresh = not out.exists()
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
        with FolderLock(workspace.lock) as lock:
            run = _Run(root.resolve(), opened, workspace, recipe, session, lock.descriptor)
            try:
                return _carry_out(run)
            finally:
                _tidy(workspace, fresh)
    except OSError as error:
        raise _describe_os_error(error, out) from error


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything that the steps of one run need."""

    root: Path
    source: Source
    workspace: Workspace
    recipe: Recipe
    session: Session
    lock: int


def _carry_out(run: _Run) -> Summary:
    workspace, began, done = run.workspace, time.time(), 0
    if (workspace.out / "manifest" / store.RUN).is_file():
        summary = recall(workspace.out, run.source, run.recipe)
        finish.remove_work(workspace)
        return summary
    plan = save_plan(run.source, workspace.plan)
    resumed = workspace.settle(run.recipe, plan)
    if not finish.is_gathered(workspace):
        workspace.prepare()
        workspace.note(
            event="resumed" if resumed else "started",
            time=_clock(began),
            host=socket.gethostname(),
            python=sys.version.split()[0],
            platform=sys.platform,
            workers=workers_for(run.recipe, run.session),
        )
        _index_faces(run, plan)
        done = _do_shards(run, plan)
        _gather(run, plan)
        workspace.note(event="finished", time=_clock(time.time()), images=done)
    facts = store.load_run(workspace.final / "manifest")
    finish.show(workspace)
    return summarize(workspace.out, facts, time.time() - began, done)


def _do_shards(run: _Run, plan: Plan) -> int:
    """Do every shard that is not committed; returns the images done."""
    workspace, session = run.workspace, run.session
    size = run.recipe.shard_size_for(plan.images)
    committed: Counter[str] = Counter()
    for shard in iter_shards(plan.records(), size):
        if workspace.is_committed(shard.number):
            committed.update(_load_tally(workspace, shard))
    resumed = committed["images"]
    session.watch(_snapshot(plan, committed, resumed, {}))
    in_hand: dict[int, tuple[int, int]] = {}
    pool = LocalPool(workers_for(run.recipe, session), session.stop, (run.lock,))
    waiting = (
        shard
        for shard in iter_shards(plan.records(), size)
        if not workspace.is_committed(shard.number)
    )
    for event in pool.run(_job(run), waiting):
        if isinstance(event, Progress):
            in_hand[event.shard] = event.note
        elif isinstance(event, Finished):
            in_hand.pop(event.shard, None)
            committed.update(_counts(event.result.tally))
            if not workspace.models.exists():
                finish.save_models(event.result.models, workspace.models)
        session.watch(_snapshot(plan, committed, resumed, in_hand))
    if committed["images"] < plan.images:
        raise PausedError(
            f"paused after {committed['images']} of {plan.images} images; "
            "run the same command again to go on"
        )
    return committed["images"] - resumed


def _job(run: _Run) -> ShardJob:
    return ShardJob(
        source=run.root,
        work=run.workspace.root,
        recipe=run.recipe,
        faces=run.workspace.faces if run.session.faces else None,
        weights=run.session.weights,
    )


def _gather(run: _Run, plan: Plan) -> None:
    """Bring the committed shards together and write what describes them."""
    size = run.recipe.shard_size_for(plan.images)
    finish.gather(run.workspace, shards=-(-plan.images // size))
    others = finish.carry(run.workspace, run.source)
    facts = finish.describe_run(run.workspace, run.source, run.recipe, _models(run), others)
    store.save_json(facts, run.workspace.final / "manifest" / store.RUN)


def _counts(tally: dict[str, Any]) -> dict[str, int]:
    return {name: tally[name] for name in ("images", "faces", "withheld")}


def _load_tally(workspace: Workspace, shard: Shard) -> dict[str, int]:
    """What a committed shard counted; one that is gathered already counts images only."""
    path = workspace.shards / shard_name(shard.number) / TALLY
    try:
        return _counts(store.load_json(path))
    except FileNotFoundError:
        return {"images": len(shard.records)}


def _snapshot(
    plan: Plan, committed: Counter[str], resumed: int, in_hand: dict[int, tuple[int, int]]
) -> Snapshot:
    return Snapshot(
        total=plan.images,
        images=committed["images"] + sum(images for images, _ in in_hand.values()),
        resumed=resumed,
        faces=committed["faces"] + sum(faces for _, faces in in_hand.values()),
        withheld=committed["withheld"],
    )


def _models(run: _Run) -> tuple[Model, ...]:
    if run.session.faces is not None:
        return ()
    models = finish.load_models(run.workspace.models)
    if models is None:  # killed between the first commit and the note of its models
        models = open_detector(run.recipe, run.session.weights).models()
    return models


def _index_faces(run: _Run, plan: Plan) -> None:
    """Index the given faces; images that the file does not speak of end the run, unless allowed."""
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


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _tidy(workspace: Workspace, fresh: bool) -> None:
    """Leave nothing behind of a run that ended before it had done any work."""
    if not workspace.root.is_dir() or workspace.has_work():
        return
    finish.remove_work(workspace)
    if fresh and not any(workspace.out.iterdir()):
        workspace.out.rmdir()


def _describe_os_error(error: OSError, out: Path) -> CurateError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SetupError(
            f"there is no space left for {out}; free some and run the same command again to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SetupError(f"{error.filename or out} cannot be written: {error.strerror}")
    return SetupError(f"{error.filename or out}: {error.strerror or error}")
