from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli.impact import command as impact
from tests.conftest import InProcess, run_process
from tests.impact.train.datasets import make_dataset

QUICK = ["--epochs", "2", "--size", "16", "--batch", "8", "--seeds", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("exchanged"), exchanged=True)


@pytest.mark.slow
def test_reports_are_written_and_deterministic(
    tmp_path: Path, original: Path, exchanged: Path, in_process: InProcess
) -> None:
    out, page = tmp_path / "train.json", tmp_path / "train.html"
    done = run_process("impact", "train", original, exchanged, *QUICK, "-o", out, "--html", page)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "reading images: 0 of 66 images\ntraining: 0 of 4 epochs\n" in done.stderr
    assert "deployment gap: " in done.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.html", "train.json"]
    again = in_process(
        "impact", "train", original, exchanged, *QUICK, "-q", "--json", "--work", tmp_path
    )
    assert again.stderr == ""
    assert again.stdout == out.read_text()
    assert json.loads(again.stdout)["training"]["epochs"] == 2


def test_errors_are_one_line_with_an_exit_code(
    tmp_path: Path, original: Path, exchanged: Path, in_process: InProcess
) -> None:
    both = (original, exchanged)
    for arguments, code, said in (
        ((original, tmp_path / "absent"), 1, "OBFUSCATED"),
        ((tmp_path / "absent", original), 1, "ORIGINAL"),
        ((*both, "--epochs", "0"), 2, "--epochs must be"),
        ((*both, "--lr", "nan"), 2, "--lr must be"),
        ((*both, "--seeds", "0"), 2, "--seeds must be"),
        ((*both, "--by", "tone"), 2, "--by needs"),
        ((*both, "--holdout", "0.5"), 2, "ORIGINAL has train, val"),
        ((*both, "--probe", "imagenet", "--epochs", "3"), 2, "leave it out with --probe"),
        ((*both, "--probe", "unheard-of"), 2, "unheard-of"),
        ((*both, "-o", tmp_path), 2, "cannot write"),
        ((*both, "-o", original / "x.json"), 2, "inside, the input"),
        ((*both, "--work", exchanged), 2, "inside, the input"),
        ((*both, "--work", tmp_path / "absent"), 2, "is not a folder; create it first"),
        ((*both, "--predictions", tmp_path / "a/b"), 2, "is not in an existing folder"),
        (
            (*both, "--weights", tmp_path / "w.parquet", "-o", tmp_path / "w.parquet"),
            2,
            "cannot write",
        ),
        ((original,), 2, "missing argument"),
    ):
        done = in_process("impact", "train", *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_help_describes_the_command() -> None:
    shown = CliRunner().invoke(impact, ["--help"])
    assert "train on original and on obfuscated images" in shown.output
    shown = CliRunner().invoke(impact, ["train", "--help"])
    for word in ("deployment", "--weights", "--probe", "no sampler"):
        assert word in shown.output
