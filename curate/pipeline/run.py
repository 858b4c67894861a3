"""Long runs over a dataset: one writer at a time, shards, resuming, clean-up."""

from __future__ import annotations

import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from curate.core.errors import PausedError
from curate.core.protocols import Source
from curate.core.records import escape_unprintable
from curate.core.stages import format_times
from curate.engine.local import Finished, Job, LocalPool, Progress
from curate.engine.shards import Shard, iter_shards, shard_name
from curate.layouts import LAYOUTS, describe
from curate.manifest import store
from curate.pipeline import assembly
from curate.pipeline.session import Session, Snapshot, workers_for
from curate.pipeline.shard import TALLY
from curate.pipeline.workspace import Plan, Workspace, save_plan
from curate.recipe import Options
from curate.storage.errors import describe_os_error
from curate.storage.lock import FolderLock

R = TypeVar("R", bound=Options)


@dataclass(frozen=True, slots=True)
class Run(Generic[R]):
    """A run: its dataset, work folder, recipe and session.

    Args:
        source: the dataset.
        workspace: the work folder.
        recipe: what to do.
        session: how to run.
        lock: descriptor of the lock file, which worker processes keep open.
    """

    source: Source
    workspace: Workspace
    recipe: R
    session: Session
    lock: int


@contextmanager
def hold(
    opener: Callable[[], Source], workspace: Workspace, recipe: R, session: Session
) -> Iterator[Run[R]]:
    """Lock a work folder for a run; one without any work is removed afterwards.

    Args:
        opener: opens the dataset; may write to the work folder.
        workspace: the work folder.
        recipe: what to do.
        session: how to run.

    Raises:
        SetupError: if the folder cannot be written, or another run is writing it.
    """
    created = [path for path in (workspace.root, *workspace.root.parents) if not path.exists()]
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
        with FolderLock(workspace.lock) as lock:
            try:
                yield Run(opener(), workspace, recipe, session, lock.descriptor)
            finally:
                _clean_up(workspace, created)
    except OSError as error:
        raise describe_os_error(error, workspace.out, "written") from error


def begin(run: Run[R], facts: str = store.RUN, strict: bool = False) -> Plan:
    """List the dataset and begin a run, or continue an interrupted one.

    Args:
        run: the run.
        facts: the file of the manifest that is written last.
        strict: whether malformed annotations end the run; see `Source.check`.
    """
    workspace = run.workspace
    notes = list(run.source.check(strict))
    plan = save_plan(run.source, workspace.plan)
    resumed = workspace.settle(run.recipe, plan)
    for line in (*_describe(run.source), *notes):
        run.session.tell(escape_unprintable(line))
    if not assembly.is_assembled(workspace, facts):
        workspace.prepare()
        workspace.note(
            event="resumed" if resumed else "started",
            time=clock(),
            host=socket.gethostname(),
            python=sys.version.split()[0],
            platform=sys.platform,
            workers=workers_for(run.recipe, run.session),
        )
    return plan


def run_shards(run: Run[R], plan: Plan, job: Job) -> int:
    """Run every shard that is not committed.

    Returns:
        Number of images that were processed.

    Raises:
        PausedError: if the session stopped the run.
    """
    workspace, session = run.workspace, run.session
    size = run.recipe.shard_size_for(plan.images)
    committed: Counter[str] = Counter()
    for shard in iter_shards(plan.records(), size):
        if workspace.is_committed(shard.number):
            committed.update(_load_tally(workspace, shard))
    resumed = committed["images"]
    session.watch(_snapshot(plan, committed, resumed, {}))
    in_work: dict[int, tuple[int, int]] = {}
    times: Counter[str] = Counter()
    pool = LocalPool(workers_for(run.recipe, session), session.stop, (run.lock,))
    waiting = (
        shard
        for shard in iter_shards(plan.records(), size)
        if not workspace.is_committed(shard.number)
    )
    for event in pool.run(job, waiting):
        if isinstance(event, Progress):
            in_work[event.shard] = event.note
        elif isinstance(event, Finished):
            in_work.pop(event.shard, None)
            committed.update(_counts(event.result.tally))
            times.update(event.result.times)
            if not workspace.models.exists():
                assembly.save_models(event.result.models, workspace.models)
        session.watch(_snapshot(plan, committed, resumed, in_work))
    if session.profile_time:
        session.tell(format_times(times, committed["images"] - resumed))
    if committed["images"] < plan.images:
        raise PausedError(
            f"paused after {committed['images']} of {plan.images} images; "
            "run the same command again to continue"
        )
    return committed["images"] - resumed


def _describe(source: Source) -> Iterator[str]:
    """Describe the recognized layout of a dataset; nothing for a table of groups."""
    if source.layout in LAYOUTS:
        yield describe(source)


def _counts(tally: dict[str, Any]) -> dict[str, int]:
    return {name: tally[name] for name in ("images", "faces", "withheld")}


def _load_tally(workspace: Workspace, shard: Shard) -> dict[str, int]:
    """Counts of a committed shard; after its files were gathered, only of its images."""
    path = workspace.shards / shard_name(shard.number) / TALLY
    try:
        return _counts(store.load_json(path))
    except FileNotFoundError:
        return {"images": len(shard.records)}


def _snapshot(
    plan: Plan, committed: Counter[str], resumed: int, in_work: dict[int, tuple[int, int]]
) -> Snapshot:
    return Snapshot(
        total=plan.images,
        images=committed["images"] + sum(images for images, _ in in_work.values()),
        resumed=resumed,
        faces=committed["faces"] + sum(faces for _, faces in in_work.values()),
        withheld=committed["withheld"],
    )


def clock() -> str:
    """The time in UTC, for the log."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _clean_up(workspace: Workspace, created: list[Path]) -> None:
    """Remove the folders of a run that ended before it had done any work."""
    if not workspace.root.is_dir() or workspace.has_work():
        return
    assembly.remove_work(workspace)
    for path in created[1:]:  # those above the work folder, the innermost first
        if any(path.iterdir()):
            return
        path.rmdir()
