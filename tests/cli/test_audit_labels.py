from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from tests.conftest import InProcess, run_process
from tests.report.checks import check_page

ROWS = "".join(f"kind,{name},safe\nrude,{name},offensive\n" for name in "abc")


@pytest.fixture
def run(in_process: InProcess) -> InProcess:
    return functools.partial(in_process, "audit", "labels")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text("kind\nrude\nnew\n")
    return tmp_path / "words.txt"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "first.csv").write_text(f"label,annotator,safety\n{ROWS}")
    return tmp_path / "first.csv"


def test_a_report_goes_to_stdout_and_its_figures_to_stderr(words: Path, table: Path) -> None:
    done = run_process("audit", "labels", words, "--judgments", table, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["labels"]["rude"]["decision"] == "remove"
    assert "rude                                     offensive" in done.stderr
    assert "1 kept, 1 removed, 1 undecided" in done.stderr
    assert "too few judgments of safety" in done.stderr


def test_a_report_can_go_to_files(words: Path, table: Path, tmp_path: Path, run: InProcess) -> None:
    report, page = tmp_path / "labels.json", tmp_path / "labels.html"
    done = run(words, "--judgments", table, "-q", "-o", report, "--html", page,
               "--undecided", "remove", "--unsafe-share", "0.4", "--offensive-share", "0.5",
               "--min-imageability", "3", "--imageability", "median", "--seed", "4",
               "--min-annotators", "2")  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rules = json.loads(report.read_text())["rules"]
    assert rules == {
        "questions": ["safety"], "offensive_share": 0.5, "unsafe_share": 0.4,
        "least_imageability": 3.0, "imageability": "median", "least_annotators": 2,
        "undecided": "remove",
    }  # fmt: skip
    assert "<script" not in page.read_text()
    check_page(page.read_text(), words.name, table.name)
    assert not list(tmp_path.glob("*.partial"))


def test_the_same_question_gives_the_same_report(words: Path, table: Path, run: InProcess) -> None:
    first = run(words, "--judgments", table, "--json", "-q")
    assert first.stdout == run(words, "--judgments", table, "--json", "-q").stdout
    assert str(words.parent) not in first.stdout


def test_labels_cannot_write_to_the_page_or_the_terminal(tmp_path: Path, run: InProcess) -> None:
    evil = "<script>alert(1)</script>\x1b[2J"
    (tmp_path / "v.json").write_text(json.dumps([evil]))
    rows = [{"label": evil, "annotator": n, "safety": "offensive"} for n in range(3)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(tmp_path / "v.json", "--judgments", tmp_path / "t.jsonl",
               "--html", tmp_path / "p.html", "-o", tmp_path / "r.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "<script>" not in (tmp_path / "p.html").read_text()
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "missing option '--judgments'"),
        (["--judgments", "none.csv"], 1, "none.csv cannot be read"),
        (["--judgments", "first.csv", "--unsafe-share", "2"], 2, "--unsafe-share must be above 0"),
        (["--judgments", "first.csv", "--undecided", "ask"], 2, "'ask' is not one of"),
        (["--judgments", "first.csv", "--source", "nowhere"], 1, "nowhere"),
        (["--judgments", "first.csv", "-o", "first.csv"], 2, "is, or is inside, the input"),
        (["--judgments", "first.csv", "--html", "words.txt"], 2, "is, or is inside, the input"),
        (["--judgments", "first.csv", "--judgments", "first.csv"], 2, "is given twice"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: Path,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    said: str,
    run: InProcess,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = run(words, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
