"""Local executor: a pool of worker processes that recovers from crashed workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from curate.core.errors import SetupError
from curate.engine.shards import Shard

Report = Callable[[int, Any], None]
"""Called before each record of a shard with the record's index and a note for the parent."""


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of workers: parallelism comes from the pool, and sums keep their order."""
_PAUSE_S = 0.2


class Job(Protocol):
    """Work of a pool; must be picklable."""

    def open(self) -> Callable[[Shard, Report], Any]:
        """Load models and open files, once per process; return the shard function."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Record ``index`` of a shard is about to be processed; ``note`` is the shard function's."""

    shard: int
    index: int
    note: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """A shard is done; ``result`` is what the shard function returned."""

    shard: int
    result: Any


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Connection
    lifeline: int
    ready: bool = False
    shard: Shard | None = None
    index: int = -1


class Recovery:
    """Decides how shards are retried whose processes crashed.

    A shard is retried as it is once; then one record at a time, and a record at which two more
    processes crash is withheld.
    """

    def __init__(self) -> None:
        self._histories: dict[int, _History] = {}

    def forget(self, number: int) -> None:
        """A shard is done."""
        self._histories.pop(number, None)

    def retry(self, shard: Shard, index: int, cause: str) -> Shard:
        """Return a shard, adapted for its next attempt.

        Args:
            shard: the shard, as it was given to the process that crashed.
            index: the record that was being processed, or -1 if unknown.
            cause: what happened, for messages.

        Raises:
            SetupError: if too many processes have crashed for the records to be the cause.
        """
        history = self._histories.setdefault(shard.number, _History())
        # A shard without records has none to withhold.
        if history.crashes > (3 * len(shard.records) + 3 if shard.records else 1):
            raise SetupError(
                f"processes keep dying on shard {shard.name} ({cause}); "
                "is there enough memory? try fewer --workers"
            )
        history.crashes += 1
        if not shard.one_by_one:
            return replace(shard, one_by_one=history.crashes >= 2)
        if index < 0 or history.suspect != index:
            history.suspect = index
            return shard
        history.suspect = -1
        reason = f"worker: the process that worked on this image died twice ({cause})"
        return replace(shard, withhold={**shard.withhold, shard.records[index].id: reason})


@dataclass(slots=True)
class _History:
    """Crashes of workers on one shard."""

    crashes: int = 0
    suspect: int = -1


class LocalPool:
    """Runs shards on a fixed number of worker processes.

    Workers are new interpreters, not forks, and do not import the caller's main
    module. A worker that crashes is replaced and its shard retried. After two
    crashes the shard is processed one record at a time, and a record at which
    two more workers crash is withheld.

    Args:
        workers: number of processes, at least 1.
        stop: when set, no further shard is started; running shards are finished.
        inherit: file descriptors that workers inherit, such as a lock's.
    """

    def __init__(
        self, workers: int, stop: threading.Event | None = None, inherit: tuple[int, ...] = ()
    ) -> None:
        self._size = workers
        self._stop = stop or threading.Event()
        self._inherit = inherit
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def run(self, job: Job, shards: Iterable[Shard | None]) -> Iterator[Progress | Finished]:
        """Yield progress and results as they arrive; results in any order.

        Args:
            job: the work.
            shards: read as workers become idle; None where there is none at the moment, but
                may be later.

        Raises:
            SetupError: if workers crash before they are ready.
            Exception: whatever the job raised; the run ends.
        """
        queue = iter(shards)
        retries: deque[Shard] = deque()
        recovery = Recovery()
        try:
            while True:
                more = self._assign(job, queue, retries)
                if any(worker.shard for worker in self._workers):
                    yield from self._collect(retries, recovery)
                elif more:
                    time.sleep(_PAUSE_S)
                else:
                    return
        finally:
            self._shut_down()

    def _assign(self, job: Job, queue: Iterator[Shard | None], retries: deque[Shard]) -> bool:
        """Assign a shard to every idle worker, starting workers while there is work.

        Returns:
            Whether there may be more.
        """
        while not self._stop.is_set():
            idle = next((worker for worker in self._workers if worker.shard is None), None)
            if idle is None and len(self._workers) >= self._size:
                return True
            try:
                shard = retries.popleft() if retries else next(queue)
            except StopIteration:
                return False
            if shard is None:
                return True
            if idle is None:
                idle = self._start(job)
            idle.shard, idle.index = shard, -1
            # A worker that has just crashed is detected in _collect, and its shard retried.
            _send(idle.channel, shard)
        return False

    def _collect(self, retries: deque[Shard], recovery: Recovery) -> Iterator[Progress | Finished]:
        channels = {worker.channel: worker for worker in self._workers}
        for channel in wait(list(channels), timeout=_PAUSE_S):
            worker = channels[channel]  # type: ignore[index]
            try:
                kind, value = worker.channel.recv()
            except (EOFError, ConnectionError):
                retries.extend(self._remove(worker, recovery))
                continue
            if kind == "failed":
                raise value
            if kind == "ready":
                worker.ready = True
                self._failed_starts = 0
            elif kind == "at" and worker.shard is not None:
                worker.index, note = value
                yield Progress(worker.shard.number, worker.index, note)
            elif kind == "done" and worker.shard is not None:
                number, worker.shard = worker.shard.number, None
                recovery.forget(number)
                yield Finished(number, value)

    def _remove(self, worker: _Worker, recovery: Recovery) -> list[Shard]:
        """Remove a crashed worker; return its shard, adapted for the retry."""
        code = worker.process.wait()
        self._workers.remove(worker)
        _close(worker)
        shard = worker.shard
        if worker.ready:
            return [recovery.retry(shard, worker.index, _describe(code))] if shard else []
        self._failed_starts += 1
        if self._failed_starts > 2 * self._size:
            raise SetupError(
                f"worker processes die while they start ({_describe(code)}); "
                "is there enough memory? try fewer --workers"
            )
        return [shard] if shard else []

    def _start(self, job: Job) -> _Worker:
        ours, theirs = socket.socketpair()
        lifeline_read, lifeline_write = os.pipe()
        with theirs, _interrupts_blocked():
            process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [
                    sys.executable,
                    "-c",
                    _BOOTSTRAP,
                    str(theirs.fileno()),
                    str(lifeline_read),
                    *_path(),
                ],
                pass_fds=(theirs.fileno(), lifeline_read, *self._inherit),
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )
        os.close(lifeline_read)
        worker = _Worker(process, Connection(ours.detach()), lifeline_write)
        self._workers.append(worker)
        _send(worker.channel, sys.path)
        _send(worker.channel, job)
        return worker

    def _shut_down(self) -> None:
        for worker in self._workers:
            if worker.shard is not None:
                worker.process.terminate()
            _send(worker.channel, None)
        for worker in self._workers:
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close(worker)
        self._workers.clear()


_BOOTSTRAP = """\
import sys
sys.path[:] = sys.argv[3:]
from curate.engine.local import serve
serve(int(sys.argv[1]), int(sys.argv[2]))
"""


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and from the first instruction in processes that it starts.

    Ctrl-C reaches the whole process group, and a worker that still imports its modules would
    print a traceback. In this process the signal is delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _path() -> list[str]:
    return [entry or str(Path.cwd()) for entry in sys.path]


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _send(channel: Connection, message: object) -> None:
    try:
        channel.send(message)
    except (BrokenPipeError, ConnectionError):
        return  # the crash is detected when its reply is awaited


def _close(worker: _Worker) -> None:
    worker.channel.close()
    os.close(worker.lifeline)


def serve(channel: int, lifeline: int) -> None:
    """Run the worker's side of the pool until the parent stops it or has ended.

    Args:
        channel: descriptor of a socket shared with the parent.
        lifeline: descriptor of a pipe that the parent keeps open while it runs.
    """
    # Ctrl-C reaches the whole process group; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    parent = Connection(channel)
    try:
        sys.path[:] = parent.recv()
        _process_shards(parent)
    except (EOFError, ConnectionError):
        pass


class _NoPandas(MetaPathFinder):
    """Import hook that makes ``import pandas`` fail."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse pandas, and leave every other module to the next finder."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not used in workers", name=name)


def _keep_arrow_from_pandas() -> None:
    """Let Arrow find out, once, that there is no pandas.

    The first list that Arrow converts makes it import pandas, which takes 0.3 seconds and 40 MB
    that no worker needs.
    """
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def _process_shards(parent: Connection) -> None:
    _keep_arrow_from_pandas()
    try:
        work = parent.recv().open()
    except Exception as error:  # reported by the parent
        parent.send(("failed", portable(error)))
        return
    parent.send(("ready", None))
    while (shard := parent.recv()) is not None:
        try:
            result = work(shard, lambda index, note: parent.send(("at", (index, note))))
        except Exception as error:  # the parent stops the run and reports it
            parent.send(("failed", portable(error)))
            return
        parent.send(("done", result))


def portable(error: Exception) -> Exception:
    """An error that survives pickling, with its traceback as a note for bug reports."""
    import pickle
    import traceback

    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object
    except Exception:  # an exception class with its own signature
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note("".join(traceback.format_exception(error)))
    return copy  # type: ignore[no-any-return]


def _die_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns only when the parent has ended
    os._exit(1)
