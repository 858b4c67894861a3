"""The main job as a process that is killed, interrupted, locked out, or out of disk space."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import InProcess

from .conftest import CURATE, OPTIONS, committed, start, wait_for

Fingerprint = Callable[[Path], dict[str, str]]


@pytest.mark.slow
@pytest.mark.parametrize("moments", [2, pytest.param(30, marks=pytest.mark.exhaustive)])
def test_a_run_killed_at_random_moments_and_resumed_gives_the_same_output(
    moments: int, crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    draw = random.Random(20261123)  # noqa: S311 - a seed to repeat the moments
    expected = fingerprint(undisturbed)
    began = time.monotonic()
    start(crowd, tmp_path / "timed").communicate()
    longest = 1.3 * (time.monotonic() - began)  # moments from the start to beyond the end
    kills = rounds = 0
    while kills < moments:
        out = tmp_path / str(rounds)
        rounds += 1
        while True:
            process = start(crowd, out)
            try:
                code = process.wait(timeout=draw.uniform(0.05, longest))
            except subprocess.TimeoutExpired:
                before = committed(out)
                process.kill()
                process.communicate()
                kills += 1
                assert committed(out) >= before or (out / ".curate/final").exists()
                assert not list(out.rglob("*.partial")) or (out / ".curate").exists()
                continue
            process.communicate()
            assert code == 3
            break
        assert fingerprint(out) == expected
        assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]


@pytest.mark.slow
@pytest.mark.parametrize("step", [20, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_a_run_killed_during_assembly_and_resumed_gives_the_same_output(
    step: int, crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    """Kill before the renames of a run, every attempt ``step`` renames later than the last."""
    script = """
import os, signal, sys
from pathlib import Path
import curate
from curate import Recipe, Session
from curate.core.errors import CurateError
left = int(sys.argv[3])
rename = Path.rename
def counted(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = counted
curate.blur(sys.argv[1], sys.argv[2], Recipe(profile="fast", shard_size=2), Session(workers=2))
"""
    expected = fingerprint(undisturbed)
    out = tmp_path / "out"
    kills = 0
    for attempt in range(60):
        allowed = step * attempt
        code = subprocess.run(
            [sys.executable, "-c", script, str(crowd), str(out), str(allowed)]
        ).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 2
    assert fingerprint(out) == expected


def test_ctrl_c_pauses_and_the_same_command_continues(
    crowd: Path,
    undisturbed: Path,
    tmp_path: Path,
    fingerprint: Fingerprint,
    in_process: InProcess,
) -> None:
    out = tmp_path / "out"
    process = start(crowd, out)
    wait_for(lambda: committed(out) >= 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "same command" in said
    assert "Traceback" not in said
    assert not (out / "data").exists()
    left = {path.name for path in (out / ".curate/staging").iterdir()}
    assert left <= {"sidecars", "sidecars.jsonl"}  # no shard
    assert in_process("blur", crowd, out, *OPTIONS).returncode == 3
    assert fingerprint(out) == fingerprint(undisturbed)


def test_a_worker_that_is_killed_is_replaced(
    crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out = tmp_path / "out"
    process = start(crowd, out)
    wait_for(lambda: committed(out) >= 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3, said
    assert fingerprint(out) == fingerprint(undisturbed)


def test_a_second_writer_is_refused_but_not_by_a_stale_lock(
    crowd: Path, tmp_path: Path, in_process: InProcess
) -> None:
    out = tmp_path / "out"
    first = start(crowd, out)
    wait_for(lambda: committed(out) >= 1)
    os.killpg(first.pid, signal.SIGSTOP)  # it holds its lock as long as the test needs
    second = in_process("blur", crowd, out, *OPTIONS)
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert any((out / ".curate/leases").iterdir())
    assert in_process("blur", crowd, out, *OPTIONS).returncode == 3


def limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_failed_write_is_one_clear_line_and_leaves_no_output(crowd: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.run(
        [*CURATE, "blur", str(crowd), str(out), *OPTIONS],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit_file_size,
    )
    assert process.returncode == 1
    assert len(process.stderr.strip().splitlines()) == 1, process.stderr
    assert not (out / "data").exists()
    assert not (out / "manifest").exists()


def test_a_full_disk_is_one_clear_line_and_the_run_continues_afterwards(
    crowd: Path,
    tmp_path: Path,
    undisturbed: Path,
    fingerprint: Fingerprint,
    in_process: InProcess,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        out = disk / "out"
        full = start(crowd, out)
        _, said = full.communicate(timeout=120)
        assert full.returncode == 1
        assert "no space left" in said
        assert len(said.strip().splitlines()) == 1, said
        assert not (out / "data").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert in_process("blur", crowd, out, *OPTIONS).returncode == 3
        assert fingerprint(out) == fingerprint(undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
