"""Ray executor: actors on the nodes of a cluster that hold a job and take shard after shard.

Ray's core, not Ray Data: the driver knows which actor has which shard and since when, and a
shard is done when it is committed on storage, whatever an actor has answered. An actor that dies
is restarted by Ray; one that makes no progress, as on a frozen node, is replaced.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from curate.core.errors import CurateError, MissingExtraError, SetupError
from curate.engine.local import (
    ONE_THREAD,
    Finished,
    Job,
    Progress,
    Recovery,
    Report,
    portable,
)
from curate.engine.shards import Shard

_POLL_S = 0.2
_CONNECT_S = 5.0
_START_S = 300.0  # an actor loads its models, after Ray has found room for it
_MAX_STARTS = 3
_CPUS = 0.9  # of a core per actor, so that Ray's own tasks always find room
_OBJECT_STORE_BYTES = 80 << 20  # shards are small, and images never pass through Ray


@dataclass(frozen=True, slots=True)
class RayOptions:
    """How to run on Ray.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto`` for a running cluster; an
            empty string starts a local one.
        workers: number of actors, or None for one per core, or per GPU.
        gpus: GPUs per actor, or 0.
        timeout: seconds without progress on a shard after which an actor is replaced.
    """

    address: str = ""
    workers: int | None = None
    gpus: float = 0.0
    timeout: float = 300.0


@dataclass(slots=True)
class _Slot:
    """A place for an actor, and what the actor does now."""

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
        with _connected(ray, self.options):
            self._slots = [_Slot() for _ in range(_count_actors(ray, self.options))]
            share = _CPUS if self.options.gpus == 0 else _CPUS / 2
            make = ray.remote(_Actor).options(
                num_cpus=_fit(ray, share, len(self._slots)),
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
            ready: list[Any] = []
            if calls:
                ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=_POLL_S)
            if not ready or len(ready) == len(calls):
                time.sleep(_POLL_S if not calls else 0.02)
            for call in ready:
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
            raise SetupError(f"a Ray worker failed: {_describe(error)}") from error
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
            self._fail_to_start(ray, slot, _describe(error))
        elif slot.shard is not None:
            yield from self._take_back(slot, _describe(error))
            _kill(ray, slot)

    def _check_time(self, ray: Any, slot: _Slot) -> Iterator[Progress | Finished]:
        """Ask a working actor how far it is; replace one that makes no progress."""
        waited = time.monotonic() - slot.since
        if slot.opening is not None and waited > _START_S:
            others = any(s.opening is None and s.actor is not None for s in self._slots)
            if others:  # there may be no room for it since a node was lost
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
            return "failed", _of_node(error)
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


def import_ray() -> Any:
    """Import Ray; it reports nothing to its makers and is silent.

    Raises:
        MissingExtraError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray", "ray", "ray") from None
    # Ray prints what nodes report to stdout, where a command prints its result; there is no
    # setting for it. Lost nodes and actors are noticed by themselves.
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    return ray


@contextlib.contextmanager
def _connected(ray: Any, options: RayOptions) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, unless this process has a connection."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if not options.address:
            ray.init(
                address="local",
                num_cpus=options.workers,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            _check_answer(options.address)
            ray.init(address=options.address, **quiet)
    except CurateError:
        raise
    except Exception as error:
        where = f"at {options.address}" if options.address else "on this machine"
        raise SetupError(
            f"no Ray cluster can be used {where} ({_describe(error)}); start one with "
            "`ray start --head`, or use --engine ray for one on this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Refuse an address at which nothing listens, at once: Ray itself waits for a long time."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SetupError(
            f"{address!r} is not the address of a Ray cluster; give HOST:PORT, ray://HOST:PORT or "
            "auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise SetupError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); check the address "
            "with `ray status --address HOST:PORT` on that machine"
        ) from None


def _count_actors(ray: Any, options: RayOptions) -> int:
    if options.workers is not None:
        return options.workers
    resources = ray.cluster_resources()
    if options.gpus:
        found = int(resources.get("GPU", 0) / options.gpus)
        if not found:
            raise SetupError("the Ray cluster has no GPU; use --device cpu")
        return found
    return max(int(resources.get("CPU", 1)), 1)


def _fit(ray: Any, share: float, actors: int) -> float:
    """CPUs per actor, so that all actors fit on the smallest number of nodes that there is."""
    total = ray.cluster_resources().get("CPU", 1.0)
    return float(max(min(share, math.floor(1000 * share * total / actors) / 1000), 0.001))


def _kill(ray: Any, slot: _Slot) -> None:
    """Give an actor up; it may be gone, or on a node that does not answer."""
    if slot.actor is not None:
        with contextlib.suppress(Exception):
            ray.kill(slot.actor, no_restart=True)
    slot.actor = slot.opening = slot.working = slot.asking = slot.shard = None


def _of_node(error: Exception) -> Exception:
    """An error that names the node, where it is one of the node's environment."""
    if isinstance(error, SetupError) and type(error) is SetupError:
        return portable(SetupError(f"on node {socket.gethostname()}: {error}"))
    return portable(error)


def _describe(error: Exception) -> str:
    """The first line of an error of Ray; its messages have many."""
    text = str(error)
    if "No module named 'curate" in text:
        return "a node has no package curate-dataset; install the same release on every node"
    return " ".join((text.strip() or type(error).__name__).splitlines()[0].split())[:200]
