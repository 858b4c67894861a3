from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import ROOT, InProcess, run_process
from tests.impact.predictions.files import draw, save

IDS, LABELS, LOGITS = draw()


@pytest.fixture
def curate(in_process: InProcess) -> InProcess:
    return functools.partial(in_process, "impact", "predictions")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Every tenth image is lost."""
    worse = LOGITS.copy()
    worse[::10] = -worse[::10]
    return (
        save(tmp_path / "original.parquet", IDS, LABELS, logits=LOGITS),
        save(tmp_path / "obfuscated.npz", IDS, LABELS, logits=worse),
    )


def test_reports_are_written_and_deterministic(
    tmp_path: Path, pair: tuple[Path, Path], curate: InProcess
) -> None:
    out, page = tmp_path / "impact.json", tmp_path / "impact.html"
    done = run_process("impact", "predictions", *pair, "-o", out, "--html", page)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "300 pairs of images\ntop-1: " in done.stderr
    report = json.loads(out.read_text())
    assert report["top1"]["difference"] < report["top1"]["ci95"][1] < 0
    assert page.read_text().startswith("<!doctype html>")
    again = curate(*pair, "--quiet", "--json")
    assert again.stderr == ""
    assert again.stdout == out.read_text()


def test_seed_changes_only_the_bootstrap(pair: tuple[Path, Path], curate: InProcess) -> None:
    first, second = (
        json.loads(curate(*pair, "-q", "--json", "--seed", seed).stdout) for seed in "01"
    )
    assert first["top1"]["bootstrap"] != second["top1"]["bootstrap"]
    assert first["mcnemar"] == second["mcnemar"]
    assert first["power"] == second["power"]


def test_seeds_are_joined(pair: tuple[Path, Path], curate: InProcess) -> None:
    done = curate(*pair, "--also", *pair, "--json")
    assert json.loads(done.stdout)["models"] == 2
    assert "300 pairs of images, 2 models" in done.stderr


def nan_row(logits: np.ndarray) -> np.ndarray:
    changed = logits.copy()
    changed[5, 2] = np.nan
    return changed


def test_errors_are_one_line_with_an_exit_code(
    tmp_path: Path, pair: tuple[Path, Path], curate: InProcess
) -> None:
    original, obfuscated = pair
    other = {
        "ids": save(tmp_path / "ids.npz", ["x", *IDS[1:]], LABELS, logits=LOGITS),
        "labels": save(tmp_path / "labels.npz", IDS, LABELS + 1, logits=LOGITS),
        "nan": save(tmp_path / "nan.npz", IDS, LABELS, logits=nan_row(LOGITS)),
        "model": save(tmp_path / "model.npz", IDS, LABELS % 4, logits=LOGITS[:, :4]),
    }
    (tmp_path / "names.txt").write_text("a\nb\n\nd\ne\nf\n")
    (tmp_path / "text.parquet").write_text("id,label,logits")
    for arguments, code, said in (
        ((original, other["ids"]), 1, "that are not in"),
        ((original, other["labels"]), 1, "has the class 6 for"),
        ((original, other["nan"]), 1, "that is NaN"),
        ((original, other["model"]), 1, "is it of another model?"),
        ((original, obfuscated, "--manifest", ROOT / "manifests/demo"), 1, "another dataset"),
        ((original, obfuscated, "--manifest", tmp_path), 1, "is missing"),
        ((original, obfuscated, "--classes", tmp_path / "names.txt"), 1, "an empty class at"),
        ((original, obfuscated, "--classes", "5"), 1, "where there are 5"),
        ((original, tmp_path / "text.parquet"), 1, "is not a prediction file"),
        ((original, tmp_path), 1, "contains no part-00000.parquet"),
        ((original, obfuscated, "--by", "tone"), 2, "--by needs"),
        ((original, obfuscated, "-o", tmp_path), 2, "cannot write"),
        ((original, obfuscated, "--html", tmp_path / "no/x.html"), 2, "cannot write"),
        ((original, obfuscated, "-o", original), 2, "cannot write"),
        ((original, obfuscated, "-o", "x", "--html", "./x"), 2, "cannot write"),
        (
            (original, obfuscated, "--manifest", tmp_path, "-o", tmp_path / "x"),
            2,
            "inside, the input",
        ),
        ((original, obfuscated, "--seed", "-1"), 2, "--seed must be 0 or more"),
        ((original,), 2, "missing argument"),
    ):
        done = curate(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_group_help_lists_the_commands() -> None:
    from curate.cli.impact import command

    shown = CliRunner().invoke(command, ["--help"])
    assert "predictions" in shown.output
