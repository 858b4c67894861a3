"""A correction survives being killed at any moment."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import curate
from curate.pipeline.session import Session
from curate.pipeline.verify import verify
from tests.balance.correct.conftest import files, save_photo

CURATE = [sys.executable, "-c", "from curate.cli.main import main; main()"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A correction of 30 small pictures that makes 20 more."""
    folder = tmp_path_factory.mktemp("killed")
    rows = []
    for number in range(30):
        save_photo(folder / f"photos/train/a/{number:02d}.jpg", number)
        (folder / f"photos/train/a/{number:02d}.txt").write_text(f"photo number {number:02d}\n")
        rows.append(f"train/a/{number:02d}.jpg,{'f' if number < 5 else 'm'}")
    (folder / "people.csv").write_text("file,gender\n" + "\n".join(rows) + "\n")
    (folder / "photos/labels.csv").write_text("file,gender\n" + "\n".join(rows) + "\n")
    recipe = curate.Recipe(profile="fast", include=("*.txt", "*.csv"))
    curate.blur(folder / "photos", folder / "out", recipe, Session(workers=1))
    return [
        *CURATE, "balance", str(folder / "out"), "--groups", str(folder / "people.csv"),
        "--by", "gender", "--strategy", "augment", "--shard-size", "4", "--workers", "2",
        "--drop-keys", "none", "-o",
    ]  # fmt: skip


def test_array_processes_give_the_same_correction(command: list[str], tmp_path: Path) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, str(out), "--quiet", *options], capture_output=True, text=True
        )

    out, whole = tmp_path / "out", tmp_path / "whole"
    subprocess.run([*command, str(whole), "--quiet"], check=True)
    early = run("--finish")
    assert early.returncode == 1
    assert "no shards to assemble" in early.stderr
    first = subprocess.Popen([*command, str(out), "--quiet", "--shards", "1/2"])
    assert run("--shards", "2/2").returncode == 0
    assert first.wait() == 0
    assert not (out / "data").exists()
    done = run("--finish")
    assert done.returncode == 0, done.stderr
    assert files(out) == files(whole)
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]
    assert run("--shards", "1/2").returncode == 0


def test_a_correction_without_images_has_no_shards(command: list[str], tmp_path: Path) -> None:
    for option in ("--list-only", "--dry-run"):
        done = subprocess.run(
            [*command, str(tmp_path / "out"), "--shards", "1/2", option],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2
        assert "--shards" in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [1, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_a_killed_correction_goes_on_to_the_same_bytes(
    attempts: int, command: list[str], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    began = time.monotonic()
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    length = time.monotonic() - began
    chance = random.Random(0)  # noqa: S311 - moments to kill at
    kills = 0
    for attempt in range(attempts):
        out = tmp_path / f"killed{attempt}"
        for _ in range(2):
            process = subprocess.Popen(
                [*command, str(out)], stderr=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(chance.uniform(0.2, 0.8) * length)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not (out / "manifest/balance.json").exists() or files(out) == files(whole)
        done = subprocess.run([*command, str(out)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert files(out) == files(whole)
        assert not list(verify(out, None, 1).problems)
        shutil.rmtree(out)
    assert kills
