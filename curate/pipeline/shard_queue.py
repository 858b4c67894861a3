"""The shards of a run: claimed one by one among several processes, and done by workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from curate.core.errors import DataError, PausedError, SetupError
from curate.core.stages import format_times
from curate.engine.local import Finished, Job, Progress
from curate.engine.ray_cluster import import_ray
from curate.engine.shards import Shard, shard_name
from curate.manifest import store
from curate.pipeline.damaged_shards import discard_damaged
from curate.pipeline.environment import run_job
from curate.pipeline.run import Run
from curate.pipeline.session import Done, Snapshot, count_workers
from curate.pipeline.shard import TALLY
from curate.pipeline.workspace import Plan
from curate.recipe import Options

R = TypeVar("R", bound=Options)

_ATTEMPTS = 3  # at a run whose files change after they were written
_VISIBLE_S = 60.0  # a shard committed on another machine is visible within this time
_RECHECK_S = 1.0  # between two checks at shards that other processes hold


class ShardQueue:
    """The shards that this process is to do, each claimed before it is handed out.

    Args:
        run: the run.
        plan: the list of the dataset.
    """

    def __init__(self, run: Run[Any], plan: Plan) -> None:
        self._workspace, self._leases, self._plan = run.workspace, run.leases, plan
        self._remote = run.remote
        self._index, self._step = run.session.shards or (1, 1)
        self._size = run.recipe.shard_size_for(plan.images)
        self._counted = bytearray(-(-plan.images // self._size))
        self.counts: Counter[str] = Counter()
        numbers = range(self._index - 1, len(self._counted), self._step)
        self.shards, self.total = len(numbers), len(self._counted)
        self.images = sum(plan.size_of(number, self._size) for number in numbers[-1:])
        self.images += max(self.shards - 1, 0) * self._size
        for number in sorted(self._workspace.list_committed()):
            if number < len(self._counted) and self._is_ours(number):
                self._count(number)

    def __iter__(self) -> Iterator[Shard | None]:
        """Yield shards that are not committed; None while other processes hold the rest."""
        held = []
        for number, position in self._plan.positions(self._size):
            if self._is_ours(number) and not self._is_done(number):
                shard = self._claim(number, position)
                if shard is None:
                    held.append((number, position))
                else:
                    yield shard
        checked = time.monotonic()
        while held:
            if time.monotonic() - checked < _RECHECK_S:
                yield None
                continue
            waiting, held, checked = held, [], time.monotonic()
            for number, position in waiting:
                if self._is_done(number):
                    continue
                shard = self._claim(number, position)
                if shard is None:
                    held.append((number, position))
                else:
                    yield shard

    def finish(self, number: int) -> int:
        """Count a shard that was done for this process, and give its lease back.

        It is done when it is on the storage, whatever a worker has answered.

        Returns:
            Number of its images.
        """
        deadline = time.monotonic() + _VISIBLE_S
        while not self._is_done(number):
            if time.monotonic() > deadline:
                raise SetupError(
                    f"shard {shard_name(number)} was done, but is not in {self._workspace.out}; "
                    "OUT must be on storage that every worker mounts at the same path"
                )
            time.sleep(0.1)
        if self._remote is not None:
            self._remote.commit(self._workspace, number)
        self._leases.release(shard_name(number))
        return self._plan.size_of(number, self._size)

    def list_missing(self) -> list[int]:
        """Numbers of the shards that are not committed."""
        return [number for number, counted in enumerate(self._counted) if not counted]

    def _is_ours(self, number: int) -> bool:
        return number % self._step == self._index - 1

    def _is_done(self, number: int) -> bool:
        if not self._counted[number] and self._workspace.is_committed(number):
            self._count(number)
        return bool(self._counted[number])

    def _count(self, number: int) -> None:
        self._counted[number] = 1
        self.counts.update(self._load_tally(number))

    def _load_tally(self, number: int) -> dict[str, int]:
        """Counts of a committed shard; only of its images if they are moved to OUT, or damaged."""
        path = self._workspace.shards / shard_name(number) / TALLY
        try:
            return _counts(store.load_json(path))
        except (TypeError, DataError, OSError):
            return {"images": self._plan.size_of(number, self._size)}

    def _claim(self, number: int, position: int) -> Shard | None:
        """Claim a shard and load its records, or return None if another process holds it."""
        name = shard_name(number)
        if not self._leases.claim(name):
            return None
        if self._remote is not None:
            self._remote.fetch_shard(self._workspace, number)
        if self._workspace.is_committed(number):  # its holder was done between two checks
            self._leases.release(name)
            return None
        return self._plan.shard(number, position, self._size)


def _counts(tally: dict[str, Any]) -> dict[str, int]:
    names = ("images", "faces", "withheld", "removed", "added")
    return {name: tally[name] + 0 for name in names if name in tally}  # TypeError if no number


def run_shards(run: Run[R], plan: Plan, job: Job, *, corrects: bool = False) -> Done:
    """Run every shard that is not committed and not in work elsewhere, and wait for the others.

    Before the output is assembled, shards of which a file is not what was written are done again.
    On an object storage they are not: what was uploaded is checked by `verify`.

    Args:
        run: the run.
        plan: the list of the dataset.
        job: what is done with a shard.
        corrects: whether images are removed and added, which the progress shows instead of faces.

    Raises:
        PausedError: if the session stopped the run.
        DataError: if the session only finishes a run, and shards are missing; or if files of
            shards change each time that they are done.
    """
    session, images = run.session, 0
    for _ in range(_ATTEMPTS):
        done = _run_once(run, plan, job, corrects)
        images += done.now
        if session.shards is not None or run.remote is not None:
            return done
        damage = discard_damaged(run, done.total)
        if not damage:
            return replace(done, now=images)
        session.notify(_describe_damage(damage))
    raise DataError(
        f"files of {run.workspace.root} are not what was written: {next(iter(damage.values()))}; "
        "check the disk, then run the same command again"
    )


def _describe_damage(damage: dict[int, str]) -> str:
    number, what = next(iter(damage.items()))
    shards = "1 shard" if len(damage) == 1 else f"{len(damage):,} shards"
    return (
        f"To be done again, as files are not what was written: {shards} (first "
        f"{shard_name(number)}: {what})."
    )


def _run_once(run: Run[R], plan: Plan, job: Job, corrects: bool) -> Done:
    session = run.session
    queue = ShardQueue(run, plan)
    resumed = queue.counts["images"]
    if session.finish:
        _check_complete(run, queue)
    session.watch(_snapshot(queue, resumed, {}, corrects))
    in_work: dict[int, tuple[int, int]] = {}
    times: Counter[str] = Counter()
    done = 0
    for event in _start_pool(run, job, queue):
        if isinstance(event, Progress):
            in_work[event.shard] = event.note
        elif isinstance(event, Finished):
            in_work.pop(event.shard, None)
            done += queue.finish(event.shard)
            times.update(event.result.times if event.result is not None else {})
        session.watch(_snapshot(queue, resumed, in_work, corrects))
    if session.profile_time:
        session.notify(format_times(times, done))
    if queue.counts["images"] < queue.images:
        raise PausedError(
            f"paused after {queue.counts['images']} of {queue.images} images; "
            "run the same command again to continue"
        )
    return Done(queue.shards, dict(queue.counts), done, queue.total)


def _start_pool(run: Run[Any], job: Job, queue: ShardQueue) -> Iterator[Progress | Finished]:
    """Run the job on the session's engine, which is not started for nothing."""
    session, workspace = run.session, run.workspace
    if session.engine != "local":
        import_ray()
        if queue.counts["images"] == queue.images:
            return
    yield from run_job(
        job,
        queue,
        session,
        workspace.state,
        count_workers(run.recipe, session),
        gpus=float(run.recipe.device == "cuda"),
        marks=workspace.marks,
        is_committed=workspace.is_committed,
    )


def _check_complete(run: Run[Any], queue: ShardQueue) -> None:
    missing = queue.list_missing()
    if missing:
        first = ", ".join(map(shard_name, missing[:5])) + (", …" if len(missing) > 5 else "")
        at_work = "; other processes are still at work" if run.leases.others() else ""
        raise DataError(
            f"{len(missing)} of {queue.shards} shards are not committed ({first}){at_work}; run "
            "their --shards again, or the same command without --finish"
        )


def _snapshot(
    queue: ShardQueue, resumed: int, in_work: dict[int, tuple[int, int]], corrects: bool
) -> Snapshot:
    counts = queue.counts
    return Snapshot(
        total=queue.images,
        images=counts["images"] + sum(images for images, _ in in_work.values()),
        resumed=resumed,
        faces=None if corrects else counts["faces"] + sum(faces for _, faces in in_work.values()),
        withheld=counts["withheld"],
        removed=counts["removed"] if corrects else None,
        added=counts["added"] if corrects else None,
    )
