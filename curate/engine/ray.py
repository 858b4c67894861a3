"""Ray executor: actors on the nodes of a cluster that hold a job and take shard after shard.

Ray's core, not Ray Data: the driver knows which actor has which shard and since when, and a
shard is done when it is committed on storage, whatever an actor has answered. An actor that dies
is restarted by Ray; one that makes no progress, as on a frozen node, is replaced.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from curate.core.errors import DataError, SetupError
from curate.engine.local import (
    ONE_THREAD,
    Finished,
    Job,
    Progress,
    Recovery,
    Report,
    portable,
)
from curate.engine.ray_cluster import (
    RayOptions,
    connected,
    count_actors,
    describe_ray_error,
    fit,
    import_ray,
)
from curate.engine.shards import Shard

_POLL_S = 0.2
_START_S = 300.0  # an actor loads its models, after Ray has found resources for it
_MAX_STARTS = 3
_CPUS = 0.9  # of a core per actor, so that Ray's own tasks can always run


@dataclass(slots=True)
class _Slot:
    """An actor, and what it does now."""

    actor: Any = None
    opening: Any = None
    working: Any = None
    asking: Any = None
    shard: Shard | None = None
    state: tuple[int, int, Any] = (-1, -1, None)
    since: float = 0.0
    starts: int = 0


@dataclass(slots=True)
class RayPool:
    """Runs shards on actors; used as `LocalPool` is.

    Args:
        options: how to run.
        is_committed: whether a shard is committed on the storage.
        load_index: the record that was in work when a process stopped, of a shard that is done
            one record at a time, or -1 if unknown.
        stop: when set, no further shard is started; running shards are finished.
    """

    options: RayOptions
    is_committed: Callable[[int], bool]
    load_index: Callable[[int], int]
    stop: threading.Event = field(default_factory=threading.Event)
    _slots: list[_Slot] = field(default_factory=list)
    _retries: deque[Shard] = field(default_factory=deque)
    _recovery: Recovery = field(default_factory=Recovery)

    def run(self, job: Job, shards: Iterable[Shard | None]) -> Iterator[Progress | Finished]:
        """Yield progress and results as they arrive; see `LocalPool.run`.

        Raises:
            MissingExtraError: if Ray is not installed.
            SetupError: if no cluster answers, no actor starts, or a node has another environment.
            Exception: whatever the job raised; the run ends.
        """
        ray = import_ray()
        with connected(ray, self.options):
            self._slots = [_Slot() for _ in range(count_actors(ray, self.options))]
            share = _CPUS if self.options.gpus == 0 else _CPUS / 2
            make = ray.remote(_Actor).options(
                num_cpus=fit(ray, share, len(self._slots)),
                num_gpus=self.options.gpus,
                max_restarts=-1,
                max_task_retries=0,
                max_concurrency=2,  # one thread works, the other answers how far it is
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": ONE_THREAD},
            )
            try:
                yield from self._run(ray, lambda: make.remote(job), iter(shards))
            finally:
                for slot in self._slots:
                    _kill(ray, slot)

    def _run(
        self, ray: Any, make: Callable[[], Any], queue: Iterator[Shard | None]
    ) -> Iterator[Progress | Finished]:
        more = True
        while True:
            if more or self._retries:
                more = self._assign(make, queue)
            busy = any(slot.shard for slot in self._slots)
            if not busy and (self.stop.is_set() or not (more or self._retries)):
                return
            calls = {
                call: slot
                for slot in self._slots
                for call in (slot.opening, slot.working, slot.asking)
                if call is not None
            }
            for call in _wait(ray, list(calls)):
                yield from self._receive(ray, calls[call], call)
            for slot in self._slots:
                yield from self._check_time(ray, slot)

    def _assign(self, make: Callable[[], Any], queue: Iterator[Shard | None]) -> bool:
        """Start actors, and give every idle one a shard; returns whether there may be more."""
        for slot in self._slots:
            if self.stop.is_set():
                return False
            if slot.actor is None:
                slot.actor, slot.since = make(), time.monotonic()
                slot.opening = slot.actor.open.remote()
                slot.starts += 1
            if slot.opening is not None or slot.shard is not None:
                continue
            try:
                shard = self._retries.popleft() if self._retries else next(queue)
            except StopIteration:
                return False
            if shard is None:
                return True
            slot.shard, slot.state, slot.since = shard, (-1, -1, None), time.monotonic()
            slot.working = slot.actor.work.remote(shard)
            slot.asking = slot.actor.tell.remote()
        return True

    def _receive(self, ray: Any, slot: _Slot, call: Any) -> Iterator[Progress | Finished]:
        try:
            kind, value = ray.get(call)
        except ray.exceptions.RayTaskError as error:
            raise SetupError(f"a Ray worker failed: {describe_ray_error(error)}") from error
        except ray.exceptions.RayError as error:
            yield from self._lose(ray, slot, call, error)
            return
        if kind == "failed":
            raise value
        if call is slot.opening:
            slot.opening, slot.starts = None, 0
        elif call is slot.asking:
            slot.asking = None
            if slot.shard is not None and value[0] == slot.shard.number and value != slot.state:
                slot.state, slot.since = value, time.monotonic()
                if value[1] >= 0:
                    yield Progress(*value)
        elif call is slot.working and slot.shard is not None:
            number, slot.shard, slot.working = slot.shard.number, None, None
            self._recovery.forget(number)
            yield Finished(number, value)

    def _lose(self, ray: Any, slot: _Slot, call: Any, error: Exception) -> Iterator[Finished]:
        """An actor died: Ray restarts it; its shard is tried again, unless it is committed."""
        if call is slot.asking:
            slot.asking = None  # the answer about the shard itself follows
        elif call is slot.opening:
            self._fail_to_start(ray, slot, describe_ray_error(error))
        elif slot.shard is not None:
            yield from self._take_back(slot, describe_ray_error(error))
            _kill(ray, slot)

    def _check_time(self, ray: Any, slot: _Slot) -> Iterator[Progress | Finished]:
        """Ask a working actor how far it is; replace one that makes no progress."""
        waited = time.monotonic() - slot.since
        if slot.opening is not None and waited > _START_S:
            others = any(s.opening is None and s.actor is not None for s in self._slots)
            if others:  # there may be no resources for it since a node was lost
                slot.since = time.monotonic()
            else:
                self._fail_to_start(ray, slot, f"none started within {_START_S:.0f} s")
        elif slot.shard is not None and waited > self.options.timeout:
            cause = f"no progress within {self.options.timeout:g} s"
            yield from self._take_back(slot, cause)
            _kill(ray, slot)
        elif slot.shard is not None and slot.asking is None:
            slot.asking = slot.actor.tell.remote()

    def _fail_to_start(self, ray: Any, slot: _Slot, cause: str) -> None:
        _kill(ray, slot)
        if slot.starts >= _MAX_STARTS:
            raise SetupError(
                f"Ray workers die while they start ({cause}); see `ray status`: is there a free "
                "core and enough memory? try fewer --workers"
            )

    def _take_back(self, slot: _Slot, cause: str) -> Iterator[Finished]:
        """Put the shard of a lost actor into the queue again, unless it is committed."""
        shard, slot.shard = slot.shard, None
        if shard is None:
            return
        if self.is_committed(shard.number):
            self._recovery.forget(shard.number)
            yield Finished(shard.number, None)
        else:
            index = self.load_index(shard.number) if shard.one_by_one else -1
            self._retries.append(self._recovery.retry(shard, index, cause))


class _Actor:
    """An actor's side; opens its job again after Ray has restarted it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._work: Callable[[Shard, Report], Any] | None = None
        self._state: tuple[int, int, Any] = (-1, -1, None)

    def open(self) -> tuple[str, Any]:
        try:
            self._work = self._work or self._job.open()
        except Exception as error:
            return "failed", _of_node(error, opening=True)
        return "ready", None

    def work(self, shard: Shard) -> tuple[str, Any]:
        kind, value = self.open()
        if self._work is None:
            return kind, value
        self._state = (shard.number, -1, None)
        try:
            return "done", self._work(shard, lambda i, note: self._note(shard.number, i, note))
        except Exception as error:
            return "failed", _of_node(error)

    def tell(self) -> tuple[str, tuple[int, int, Any]]:
        time.sleep(_POLL_S)  # in the actor's other thread: answers come five times a second
        return "at", self._state

    def _note(self, number: int, index: int, note: Any) -> None:
        self._state = (number, index, note)


def _wait(ray: Any, calls: list[Any]) -> list[Any]:
    """The calls that are answered, as soon as there is one: an idle actor gets its next shard."""
    if not calls:
        time.sleep(_POLL_S)
        return []
    first, _ = ray.wait(calls, num_returns=1, timeout=_POLL_S)
    return list(ray.wait(calls, num_returns=len(calls), timeout=0)[0]) if first else []


def _kill(ray: Any, slot: _Slot) -> None:
    """Give an actor up; it may be gone, or on a node that does not answer."""
    if slot.actor is not None:
        with contextlib.suppress(Exception):
            ray.kill(slot.actor, no_restart=True)
    slot.actor = slot.opening = slot.working = slot.asking = slot.shard = None


def _of_node(error: Exception, opening: bool = False) -> Exception:
    """An error that names the node, where it is one of what the node has or sees."""
    kinds = (SetupError, DataError) if opening else (SetupError,)
    for kind in kinds:
        if type(error) is kind:
            return portable(kind(f"on node {socket.gethostname()}: {error}"))
    return portable(error)
