"""Training in a real process that is killed, or asked to stop, and run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli.main import group
from tests.impact.train.datasets import make_dataset

CURATE = [sys.executable, "-c", "from curate.cli.main import main; main()"]
OPTIONS = ["--epochs", "6", "--size", "16", "--batch", "4", "--seeds", "2", "--device", "cpu",
           "--workers", "2"]  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    return (
        make_dataset(folder / "original"),
        make_dataset(folder / "obfuscated", exchanged=True),
    )


def start(pair: tuple[Path, Path], out: Path) -> subprocess.Popen[str]:
    command = [*CURATE, "impact", "train", *map(str, pair), *OPTIONS, "-o", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def undisturbed(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("undisturbed") / "train.json"
    command = ["impact", "train", *map(str, pair), *OPTIONS, "-o", str(out)]
    done = CliRunner().invoke(group, command)
    assert done.exit_code == 0, done.output
    return out.read_bytes()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, "it was over before it came to that"
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        "checkpoints/*.pt",
        *(
            pytest.param(each, marks=pytest.mark.exhaustive)
            for each in ("done/00000.json", "results/0*")
        ),
    ],
)
def test_killed_training_resumes_with_the_same_bytes(
    pair: tuple[Path, Path], undisturbed: bytes, tmp_path: Path, moment: str
) -> None:
    out = tmp_path / "train.json"
    process = start(pair, out)
    wait_for(lambda: list(tmp_path.glob(f".curate-train-*/{moment}")), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    (work,) = tmp_path.glob(".curate-train-*")
    again = start(pair, out)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert "reading images: 66 of 66" in said
    assert out.read_bytes() == undisturbed
    assert not work.exists()


@pytest.mark.slow
def test_the_first_ctrl_c_pauses_and_the_next_run_goes_on(
    pair: tuple[Path, Path], undisturbed: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "train.json"
    process = start(pair, out)
    wait_for(lambda: list(tmp_path.glob(".curate-train-*/checkpoints/*.pt")), process)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130, said
    assert "Finishing the epochs in progress; press Ctrl-C again to stop now." in said
    assert "epochs; run the same command again to resume" in said.splitlines()[-1]
    again = start(pair, out)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert out.read_bytes() == undisturbed
