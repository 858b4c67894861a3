from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import curate
from curate.cli.verify import command
from curate.manifest.files import Problem
from curate.pipeline import verify as check
from tests.conftest import ROOT, InProcess


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An OUT of which nothing but the manifest is left."""
    shutil.copytree(ROOT / "manifests/demo", tmp_path / "out/manifest")
    curate.write_checksums(tmp_path / "out")
    return tmp_path / "out"


def find(monkeypatch: pytest.MonkeyPatch, problems: Iterator[Problem]) -> None:
    monkeypatch.setattr(check, "iter_run_problems", lambda *arguments: problems)


STRANGE = Problem("extra", "data/\x1b[2J\n\u202e\udcff.jpg", "is not known")


def test_names_cannot_write_to_the_terminal(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, iter([STRANGE]))
    shown = CliRunner().invoke(command, [str(out)])
    assert shown.exit_code == 1
    assert shown.stdout == "extra: data/\\x1b[2J\\n\\u202e\\udcff.jpg: is not known\n"


def test_names_are_unchanged_in_json_lines_of_ascii(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(monkeypatch, iter([STRANGE]))
    shown = CliRunner().invoke(command, [str(out), "--json"])
    assert shown.stdout.isascii()
    line, result = shown.stdout.splitlines()
    assert json.loads(line)["path"] == STRANGE.path
    assert json.loads(result)["ok"] is False


def test_an_interrupted_check_reports_that_nothing_was_changed(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> Iterator[Problem]:
        yield STRANGE
        raise KeyboardInterrupt

    find(monkeypatch, stop())
    shown = CliRunner().invoke(command, [str(out)])
    assert shown.exit_code == 130
    assert shown.stderr == "curate: interrupted; nothing was changed\n"


def forge(out: Path, **values: Any) -> None:
    path = out / "manifest/run.json"
    run = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in run.items() if value is not ...}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": ...}, "run.json: recipe is missing"),
        ({"recipe": 5}, "run.json: recipe is not an object"),
        ({"recipe": {"method": "smudge"}}, "unknown method 'smudge'"),
        ({"schema_version": True}, "has no schema version"),
        ({"counts": ...}, "run.json: counts is missing"),
    ],
)
def test_a_run_that_cannot_be_read_is_one_line_and_exit_code_1(
    values: dict[str, Any], message: str, out: Path, in_process: InProcess
) -> None:
    forge(out, **values)
    done = in_process("verify", out)
    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
