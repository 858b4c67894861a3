"""Stands in for the pool of worker processes: starting one takes a second of processor time.

Everything else is as in `LocalPool.run`: jobs and errors are pickled, a job is opened where there
is a shard, and the stop event ends the run between shards. Tests of crashes, of the number of
processes and of their memory are marked ``worker_processes`` and start real ones.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from curate.engine.local import Finished, Job, LocalPool, Progress, Report, portable
from curate.engine.shards import Shard

_PAUSE_S = 0.02


def run_in_process(
    pool: LocalPool, job: Job, shards: Iterable[Shard | None]
) -> Iterator[Progress | Finished]:
    """Run shards in this process; progress of a shard is yielded when it is done."""
    queue = iter(shards)
    work: Callable[[Shard, Report], Any] | None = None
    while not pool._stop.is_set():
        try:
            shard = next(queue)
        except StopIteration:
            return
        if shard is None:
            time.sleep(_PAUSE_S)
            continue
        events: list[Progress | Finished] = []
        try:
            work = work or pickle.loads(pickle.dumps(job)).open()  # noqa: S301 - our own object
            _finish(work, shard, events)
        except Exception as error:
            yield from events
            raise portable(error) from None
        yield from events


def _finish(
    work: Callable[[Shard, Report], Any], shard: Shard, events: list[Progress | Finished]
) -> None:
    result = work(shard, lambda at, note: events.append(Progress(shard.number, at, note)))
    events.append(Finished(shard.number, result))
