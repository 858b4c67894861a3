"""Run one command in a fresh process and measure it, its descendants included."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_EVERY = 0.1  # seconds between two readings of memory


class BenchError(Exception):
    """A measurement that could not be made; one line for a person."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one command took.

    Args:
        seconds: wall time from start to exit.
        cpu_seconds: user and system time of the command and all its descendants.
        main_mb: peak resident memory of the command's own process, MiB.
        worker_mb: peak resident memory of its largest descendant, MiB; 0 without any.
        together_mb: largest sum over all its processes at one moment, MiB; pages
            that they share count once for each.
    """

    seconds: float
    cpu_seconds: float
    main_mb: float
    worker_mb: float
    together_mb: float

    @property
    def peak_mb(self) -> float:
        """Peak resident memory of its largest process, MiB."""
        return max(self.main_mb, self.worker_mb)


@dataclass(slots=True)
class _Watch:
    """Looks at a tree of processes until told to stop."""

    root: int
    peaks: dict[int, float] = field(default_factory=dict)
    together: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while True:
            now = 0.0
            for pid in _tree(self.root):
                peak, current = _memory(pid)
                self.peaks[pid] = max(self.peaks.get(pid, 0.0), peak)
                now += current
            self.together = max(self.together, now)
            if self.stop.wait(_EVERY):
                return


def measure(command: Sequence[str], accept: Sequence[int] = (0,)) -> Usage:
    """Run a command to its end, alone, with its output thrown away.

    Time is the kernel's account of the process and of all descendants that were
    waited for (``wait4``); memory is ``VmHWM`` of every process of the tree, read
    ten times a second.

    Args:
        command: program and arguments.
        accept: exit codes that are no failure.

    Raises:
        BenchError: if it ends otherwise.
    """
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_environment(),
        )
        watch = _Watch(process.pid)
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            watch.stop.set()
            thread.join()
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in accept:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines() or ["nothing"]
            name = Path(command[0]).name
            raise BenchError(f"{name} ended with {process.returncode}: {said[-1].strip()}")
    workers = [peak for pid, peak in watch.peaks.items() if pid != process.pid]
    return Usage(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        main_mb=watch.peaks.get(process.pid, 0.0),
        worker_mb=max(workers, default=0.0),
        together_mb=watch.together,
    )


def _environment() -> Mapping[str, str]:
    """The caller's, without what would lead a tool into another environment's packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _tree(root: int) -> Iterator[int]:
    """A process and its living descendants."""
    yield root
    try:
        threads = list(Path(f"/proc/{root}/task").glob("*/children"))
    except OSError:  # the process is gone
        return
    for children in threads:
        try:
            pids = children.read_text().split()
        except OSError:  # the thread is gone
            continue
        for pid in pids:
            yield from _tree(int(pid))


def _memory(pid: int) -> tuple[float, float]:
    """Peak and present resident memory, MiB; zeros of a process that is gone."""
    values = {"VmHWM": 0.0, "VmRSS": 0.0}
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in values:
                values[name] = int(value.split()[0]) / 1024
    except OSError:
        pass
    return values["VmHWM"], values["VmRSS"]
