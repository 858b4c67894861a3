from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import LockedError
from curate.engine.leases import Leases

WAITER = """
import sys, time
from pathlib import Path
from curate.engine.leases import Leases
with Leases(Path(sys.argv[1]), float(sys.argv[2])) as leases:
    print(leases.claim("a"), flush=True)
    time.sleep(600)
"""


def start(folder: Path, timeout: float = 60) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITER, str(folder), str(timeout)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def age(folder: Path, token: str, seconds: float) -> None:
    """Make a process look as if its last heartbeat were long ago, on another machine."""
    path = folder / "owners" / token
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "machine": "another"}))
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_lease_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    with Leases(tmp_path) as one, Leases(tmp_path) as two:
        assert one.claim("a")
        assert not two.claim("a")
        assert two.claim("b")
        assert two.describe_holder("a") == f"process {os.getpid()} on {os.uname().nodename}"
        one.release("a")
        assert two.claim("a")
        with pytest.raises(LockedError):
            one.check("a")
        two.check("a")


def test_of_many_that_want_a_lease_one_gets_it(tmp_path: Path) -> None:
    got: list[str] = []
    gate = threading.Barrier(8)

    def want() -> None:
        with Leases(tmp_path) as leases:
            gate.wait()
            got.extend(name for name in map(str, range(20)) if leases.claim(name))
            gate.wait()

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(map(str, range(20)))


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    process = start(tmp_path)
    with Leases(tmp_path) as leases:
        assert leases.others()
        assert not leases.claim("a")
        process.kill()
        process.communicate()
        assert not leases.others()
        assert leases.claim("a")


def test_the_lease_of_another_machine_is_taken_over_after_the_timeout(tmp_path: Path) -> None:
    with Leases(tmp_path, 600) as gone, Leases(tmp_path, 60) as leases:
        assert gone.claim("a")
        age(tmp_path, gone.token, 30)
        assert not leases.claim("a")
        age(tmp_path, gone.token, 90)
        assert leases.claim("a")
        leases.check("a")
        with pytest.raises(LockedError, match="suspended"):
            gone.check("a")
        gone.release("a")  # it wakes up, and takes nothing from the new holder
        leases.check("a")
        assert not gone.claim("a")


def test_two_that_find_a_dead_holder_do_not_both_take_over(tmp_path: Path) -> None:
    with Leases(tmp_path, 600) as gone:
        assert gone.claim("a")
        age(tmp_path, gone.token, 9999)
        with Leases(tmp_path) as one, Leases(tmp_path) as two:
            assert [one.claim("a"), two.claim("a")] == [True, False]
            one.release("a")
            assert two.claim("a")


def test_the_heartbeat_keeps_a_lease(tmp_path: Path) -> None:
    process = start(tmp_path, timeout=0.6)
    try:
        with Leases(tmp_path, 0.6) as leases:
            tokens = {path.name for path in (tmp_path / "owners").iterdir()}
            [token] = tokens - {leases.token}
            age(tmp_path, token, 0)
            time.sleep(1.5)
            assert not leases.claim("a")
    finally:
        process.kill()
        process.communicate()


def test_waiting_names_the_holder_and_can_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.engine.leases._PATIENCE_S", 0.1)

    def refuse(holder: str) -> None:
        raise LockedError(holder)

    with Leases(tmp_path) as one, Leases(tmp_path) as two:
        with one.hold("a", refuse), pytest.raises(LockedError, match=f"process {os.getpid()}"):
            two.hold("a", refuse).__enter__()
        with two.hold("a", refuse):
            two.check("a")


def test_a_removed_folder_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    with Leases(folder) as leases:
        assert leases.claim("a")
        (folder / "a.0/owner").unlink()
        (folder / "a.0").rmdir()
        (folder / "owners" / leases.token).unlink()
        (folder / "owners").rmdir()
        folder.rmdir()
        with pytest.raises(LockedError, match="was removed"):
            leases.claim("b")


@pytest.mark.parametrize("removed", ["owners", "."])
def test_a_folder_that_is_removed_meanwhile_is_a_clear_error(tmp_path: Path, removed: str) -> None:
    folder = tmp_path / "leases"
    with Leases(folder) as leases:
        shutil.rmtree(folder / removed)
        with pytest.raises(LockedError, match="was removed by another process"):
            leases.others()


@pytest.mark.parametrize("step", ["mkdir", "write_text"])
def test_a_folder_that_is_removed_at_the_start_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder, done = tmp_path / "leases", getattr(Path, step)

    def do_and_lose(path: Path, *args: Any, **options: Any) -> None:
        done(path, *args, **options)
        shutil.rmtree(folder, ignore_errors=True)

    monkeypatch.setattr(Path, step, do_and_lose)
    with pytest.raises(LockedError, match="was removed by another process"):
        Leases(folder).__enter__()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"pid": "x"}', b"{" * 9999])
def test_damaged_files_of_others_are_no_sign_of_life(content: bytes, tmp_path: Path) -> None:
    with Leases(tmp_path) as one, Leases(tmp_path) as two:
        assert one.claim("a")
        assert one.claim("b")
        (tmp_path / "b.0/owner").write_bytes(content)
        path = tmp_path / "owners" / one.token
        path.write_bytes(content)
        os.utime(path, (1, 1))
        assert two.claim("a")
        assert two.claim("b")
