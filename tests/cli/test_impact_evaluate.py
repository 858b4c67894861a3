from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import CURATE, ROOT, InProcess, run_process
from tests.impact.evaluate import trials

COLOURS = ("--model", "python:tests.impact.evaluate.trials:Colors")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trials.make_dataset(tmp_path_factory.mktemp("trial") / "photos")


@pytest.fixture(scope="module")
def out(source: Path) -> Path:
    return trials.obfuscate(source, source.parent / "out")


def test_reports_are_written_and_deterministic(
    source: Path, out: Path, tmp_path: Path, in_process: InProcess
) -> None:
    report, page = tmp_path / "impact.json", tmp_path / "impact.html"
    done = run_process("impact", "evaluate", source, out, *COLOURS, "-o", report, "--html", page)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "36 pairs of images\ntop-1: 100.00 % → 55.56 %" in done.stderr
    assert "That the hidden regions are faces accounts for" in done.stderr
    assert json.loads(report.read_text())["arms"]["steps"]
    assert page.read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["impact.html", "impact.json"]
    again = in_process("impact", "evaluate", source, out, *COLOURS, "--quiet", "--json")
    assert again.stderr == ""
    assert again.stdout == report.read_text()


def test_kept_predictions_are_read_by_impact_predictions(
    source: Path, out: Path, tmp_path: Path, in_process: InProcess
) -> None:
    kept = tmp_path / "kept"
    given = (source, out, *COLOURS, "-q", "--json", "--predictions", kept, "--arms", "none")
    done = in_process("impact", "evaluate", *given)
    assert sorted(path.name for path in kept.iterdir()) == ["obfuscated", "original", "state.json"]
    files = (kept / "original", kept / "obfuscated")
    again = in_process("impact", "predictions", *files, "-q", "--json", "--manifest", out)
    first, second = json.loads(done.stdout), json.loads(again.stdout)
    assert first["top1"] == second["top1"]
    assert first["predictions"] == second["predictions"]


def test_errors_are_one_line_with_an_exit_code(
    source: Path, out: Path, tmp_path: Path, in_process: InProcess
) -> None:
    (tmp_path / "names.txt").write_text("blue\n\nred\n")
    (tmp_path / "text").write_text("no network")
    for arguments, code, said in (
        ((source, out), 2, "name a classifier with --model"),
        ((source, out, "--model", "nothing"), 2, "unknown model 'nothing'; choose one of: imag"),
        ((source, out, "--model", f"onnx:{tmp_path}/text"), 1, "as ONNX"),
        ((source, out, *COLOURS, "--classes", tmp_path / "names.txt"), 1, "an empty class"),
        (
            (source, out, *COLOURS, "--classes", "imagenet"),
            1,
            "names 1,000; is the list for another",
        ),
        ((source, out, *COLOURS, "--arms", "blurred"), 2, "unknown control arm 'blurred'"),
        ((source, out / "data", *COLOURS, "--arms", "reencoded"), 2, "need a manifest"),
        ((source, ROOT / "manifests", *COLOURS), 1, "have no image in common"),
        ((source, out, *COLOURS, "--by", "tone"), 2, "--by needs"),
        ((source, out, *COLOURS, "--batch", "0"), 2, "--batch cannot be 0"),
        ((source, out, *COLOURS, "--seed", "-1"), 2, "--seed must be 0 or more"),
        ((source, out, *COLOURS, "-o", out / "x.json"), 2, "inside, the input"),
        ((source, out, *COLOURS, "-o", source / "x.json"), 2, "the input"),
        ((source, out, *COLOURS, "--predictions", source / "x"), 2, "the input"),
        ((source, out, *COLOURS, "--predictions", tmp_path / "text"), 2, "give a folder"),
        ((source, out, *COLOURS, "--device", "tpu"), 2, "is not one of"),
        ((source,), 2, "missing argument"),
    ):
        done = in_process("impact", "evaluate", *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert said in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_killed_run_resumes(source: Path, out: Path, tmp_path: Path, in_process: InProcess) -> None:
    kept = tmp_path / "kept"
    arguments = ["impact", "evaluate", source, out, *COLOURS, "-q", "--json", "--predictions", kept]
    whole = in_process(*arguments[:-1], tmp_path / "whole").stdout
    command = [*CURATE, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    while process.poll() is None and not (kept / "state.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert in_process(*arguments).stdout == whole


def test_help_lists_every_kind_of_model() -> None:
    from curate.cli.impact import command
    from curate.impact.models import MODELS

    shown = CliRunner().invoke(command, ["evaluate", "--help"], terminal_width=200).output
    shown = " ".join(shown.split())
    for name, line in MODELS.describe():
        assert name in shown
        assert line in shown


@pytest.mark.parametrize("command", ["evaluate", "train", "explain"])
def test_swapped_datasets_are_recognized(
    source: Path, out: Path, command: str, in_process: InProcess
) -> None:
    done = in_process("impact", command, out, source)
    assert done.returncode == 2
    assert "swap them" in done.stderr
