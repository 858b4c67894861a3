"""One output made by several processes: array jobs, a local run, killed and suspended ones."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import curate
from curate.core.errors import UsageError
from tests.conftest import InProcess

from .conftest import CURATE, OPTIONS, committed, start, wait_for

Fingerprint = Callable[[Path], dict[str, str]]
Run = Callable[..., tuple[int, str]]
ONE = ("--workers", "1")


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=240)
    return process.returncode, said


@pytest.fixture
def run(crowd: Path, in_process: InProcess) -> Run:
    """``curate blur`` in this process."""

    def blur(out: Path, *options: str) -> tuple[int, str]:
        done = in_process("blur", crowd, out, *OPTIONS, *options)
        return done.returncode, done.stderr

    return blur


def test_array_processes_and_finish_give_the_same_output(
    crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint, run: Run
) -> None:
    out = tmp_path / "out"
    code, said = run(out, "--finish")
    assert code == 1
    assert "no shards to assemble" in said
    assert not out.exists()
    first = start(crowd, out, *ONE, "--shards", "1/3")
    second = start(crowd, out, *ONE, "--shards", "2/3")
    assert {end(first)[0], end(second)[0]} <= {0, 3}
    code, said = run(out, "--finish")
    assert code == 1
    assert "6 of 20 shards are not committed (00002, 00005, 00008, 00011, 00014, …)" in said
    assert len(said.strip().splitlines()) == 1
    assert run(out, "--shards", "3/3")[0] in (0, 3)
    assert not (out / "data").exists()
    assert run(out, "--finish")[0] == 3
    assert fingerprint(out) == fingerprint(undisturbed)
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]
    assert run(out, "--shards", "3/3")[0] == 3  # as every run of a finished OUT
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]


def test_array_processes_find_the_same_faces(crowd: Path, tmp_path: Path) -> None:
    def detect(table: Path, *options: str) -> tuple[int, str]:
        command = [*CURATE, "detect", str(crowd), "-o", str(table), *OPTIONS, *options]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stderr

    whole, table = tmp_path / "whole.parquet", tmp_path / "faces.parquet"
    assert detect(whole)[0] == 3
    assert detect(table, "--shards", "2/2")[0] in (0, 3)
    code, said = detect(table, "--finish")
    assert code == 1
    assert "10 of 20 shards are not committed" in said
    assert detect(table, "--shards", "1/2")[0] in (0, 3)
    assert not table.exists()
    assert detect(table, "--finish")[0] == 3
    assert table.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_finish_checks_what_the_processes_have_left(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run(out, "--shards", "1/1")[0] == 3
    image = next((out / ".curate/shards/00003/data").rglob("*.*"))
    image.write_bytes(b"")
    code, said = run(out, "--finish")
    assert code == 1
    assert "1 of 20 shards are not committed (00003)" in said
    assert len(said.strip().splitlines()) == 1
    assert not (out / "manifest").exists()


@pytest.mark.slow
def test_array_processes_beside_a_local_run_of_which_two_are_killed(
    crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out = tmp_path / "out"
    local = start(crowd, out)
    array = [start(crowd, out, *ONE, "--shards", f"{number}/4") for number in (1, 2, 3, 4)]
    wait_for(lambda: committed(out) >= 4, 120)
    for process in array[:2]:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    code, said = end(local)
    assert code == 3, said
    for process in array[2:]:
        code, said = end(process)
        assert code in (0, 3), said
    assert fingerprint(out) == fingerprint(undisturbed)
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]
    assert list(curate.iter_problems(out)) == []


@pytest.mark.slow
def test_the_shards_of_a_suspended_process_are_taken_over(
    crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out = tmp_path / "out"
    frozen = start(crowd, out, *ONE, "--shards", "1/2")
    wait_for(lambda: committed(out) >= 2, 120)
    os.killpg(frozen.pid, signal.SIGSTOP)
    try:
        code, said = end(start(crowd, out, "--lease-timeout", "3"))
        assert code == 3, said
        assert fingerprint(out) == fingerprint(undisturbed)
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)
    _, said = end(frozen)  # it wakes up when there is nothing left
    assert len(said.strip().splitlines()) <= 1, said
    assert fingerprint(out) == fingerprint(undisturbed)
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]


def test_a_process_with_another_recipe_is_refused(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run(out, "--shards", "1/20")[0] in (0, 3)
    code, said = run(out, "--shards", "2/20", "--method", "fill")
    assert code == 2
    assert "another recipe (method 'diffuse' → 'fill'" in said
    assert committed(out) == 1


def test_a_machine_with_other_weights_is_refused(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run(out, "--shards", "1/20")[0] in (0, 3)
    models = out / ".curate/models.json"
    digest = next(part for part in models.read_text().split('"') if len(part) == 64)
    models.write_text(models.read_text().replace(digest, "0" * 64))
    code, said = run(out, "--shards", "2/20")
    assert code == 1
    assert digest[:12] in said
    assert "0" * 12 in said
    assert len(said.strip().splitlines()) == 1
    assert committed(out) == 1


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "4", "1/0", "a/b", "1/2/3", "-1/4", ""])
def test_shards_that_do_not_exist_are_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give i/n with i from 1 to n"):
        curate.blur_shards(tmp_path, tmp_path / "out", wrong)


def test_shards_and_finish_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either --shards"):
        curate.blur_shards(tmp_path, tmp_path / "out", "1/2", finish=True)
