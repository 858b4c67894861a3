"""Names of any origin cannot move the cursor, forge a line or turn the direction of writing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import curate
from curate import Recipe
from curate.cli.main import main
from curate.cli.output import write_report
from curate.cli.printing import echo, echo_json, print_summary
from curate.core.records import join_lines
from curate.manifest.checksums import Coverage, WrittenChecksums
from curate.manifest.signature import Signature
from curate.manifest.store import Tally
from curate.pipeline.output import ShardsSummary, Summary
from curate.pipeline.person_names import Names
from curate.pipeline.preview import Preview
from curate.pipeline.recipe_changes import describe_recipe_clash
from curate.pipeline.sidecar_summary import describe_content

HOSTILE = "a\x1b[31m\nExit: 0\r\x9b2J\u202egpj.\u2028x\x07\udcff\U000e0041.jpg"


def is_harmless(text: str, lines: int) -> bool:
    return len(text.split("\n")) == lines and text.replace("\n", "").isprintable()


def test_all_commands_print_through_one_module() -> None:
    folder = Path(curate.__file__).parent / "cli"
    direct = re.compile(r"click\.s?echo\(|(?<![\w.])print\(|std(?:out|err)\.write")
    found = {path.name for path in folder.rglob("*.py") if direct.search(path.read_text())}
    assert found == {"main.py", "printing.py"}


def test_lines_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"leak: {HOSTILE}", HOSTILE)
    assert is_harmless(capsys.readouterr().out.removesuffix("\n"), 2)
    assert is_harmless(join_lines([HOSTILE, HOSTILE]), 2)
    print_summary(join_lines([HOSTILE]))
    assert is_harmless(capsys.readouterr().err.removesuffix("\n"), 1)


class _Report:
    def to_json(self) -> str:
        return json.dumps({"name": HOSTILE.replace("\udcff", "")}, ensure_ascii=False) + "\n"

    def save(self, **_: Any) -> None:
        pass


def test_json_on_the_terminal_has_the_same_value(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"name": HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": HOSTILE}
    assert out.isascii()
    report: Any = _Report()
    write_report(report, {"output": None, "html": None, "as_json": True, "quiet": True})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": HOSTILE.replace("\udcff", "")}
    assert out.replace("\n", "").isprintable()


CONTENT = {"found": {HOSTILE: {"names": {HOSTILE: 3}}}, "dropped": {HOSTILE: {HOSTILE: 1}}}
SUMMARY = Summary(
    out=HOSTILE, images=1, written=0, withheld=1, images_with_faces=0, faces=0, routes={},
    reasons={HOSTILE: 1}, others={"carried": 0, "left_out": 1, "included": 0},
    left_out=(HOSTILE,), hints=(HOSTILE,), content=CONTENT, seconds=1.0, images_now=0,
    already_done=False, recipe_sha256="", records_sha256="",
)  # fmt: skip
PREVIEW = Preview(1, 0, 0, {HOSTILE: 1}, 1, Tally(), 1.0, Recipe(), (HOSTILE,))


def test_summaries_have_a_line_for_each_statement() -> None:
    plain = replace(
        SUMMARY, out="out", reasons={"a": 1}, left_out=("a",), hints=("a",),
        content={"found": {"a": {"names": {"a": 3}}}, "dropped": {"a": {"a": 1}}},
    )  # fmt: skip
    assert is_harmless(SUMMARY.to_text(), plain.to_text().count("\n") + 1)
    assert all(is_harmless(line, 1) for line in describe_content(CONTENT))
    lines = replace(PREVIEW, withheld=("a",)).to_text().count("\n") + 1
    assert is_harmless(PREVIEW.to_text(), lines)
    assert is_harmless(Names(1, 1, (HOSTILE,)).to_text(), 1)
    written = WrittenChecksums(Coverage(1, None, (HOSTILE,), Signature()), (HOSTILE, HOSTILE))
    assert is_harmless(written.to_text(), 4)


def test_a_process_without_shards_says_how_many_there_are() -> None:
    text = ShardsSummary("out", 15, 16, 0, 0, 0, 0, total_shards=5).to_text()
    assert text.startswith("Shards 15/16: there is nothing to do; the dataset has only 5 shards.")
    assert "--finish" in text


def test_a_recipe_that_differs_in_a_file_names_the_option() -> None:
    now = Recipe(faces_sha256="8" * 64)
    text = describe_recipe_clash("out", Recipe().to_dict(), now, updates=True)
    assert "(--faces not given → a file with SHA-256 888888888888…; " in text
    assert "faces_sha256" not in text


def test_a_terminal_wraps_errors_and_a_pipe_has_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["curate", "verify", "nowhere/" + "long/" * 12 + "folder"])
    monkeypatch.setenv("COLUMNS", "80")
    lines = {}
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=is_terminal: answer, raising=False)
        with pytest.raises(SystemExit):
            main()
        lines[is_terminal] = capsys.readouterr().err.splitlines()
    assert len(lines[False]) == 1
    assert len(lines[True]) > 1
    assert max(map(len, lines[True])) <= 80
    assert " ".join(lines[True]) == lines[False][0]
