from __future__ import annotations

import io
import sys

import pytest

from curate.pipeline import progress as steps
from curate.pipeline.progress import counted, make_notifier, show_snapshots, show_steps
from curate.pipeline.session import Snapshot, Step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_a_line_for_each_step_of_known_length_and_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter([0.0, 0.5, 1.0, 61.0, 62.0, 63.0, 122.0])
    monkeypatch.setattr(steps.time, "monotonic", lambda: next(moments))
    with show_steps(quiet=False) as watch:
        for done in (1, 2000, 3000):
            watch(Step("comparing", "images", done, 5000))
        for done in (7, 8, 9):
            watch(Step("counting", "images", done, None))
    printed = capsys.readouterr()
    lines = [
        "comparing: 1 of 5,000 images",
        "comparing: 3,000 of 5,000 images",
        "counting: 9 images",
    ]
    assert (printed.out, printed.err.splitlines()) == ("", lines)


def test_a_terminal_gets_a_bar_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show_steps(quiet=False) as watch:
        watch(Step("comparing", "images", 3, 3))
        watch(Step("explaining", "images", 2, 2))
    assert "comparing: 100%" in terminal.getvalue()
    assert "explaining: 100%" in terminal.getvalue()


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with show_steps(quiet=True) as watch:
        watch(Step("comparing", "images", 3, 3))
    assert capsys.readouterr().err == ""


def test_many_items_are_counted_and_few_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Step] = []
    assert list(counted(range(5), steps.append, "counting", "records")) == list(range(5))
    assert steps == []
    assert sum(1 for _ in counted(range(2500), steps.append, "counting", "records")) == 2500
    assert [(step.what, step.done) for step in steps] == [("counting", 1000), ("counting", 2000)]


def test_messages_fit_the_terminal_and_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    with show_steps(quiet=False) as watch:
        watch(Step("comparing", "images", 3, 9))
        make_notifier(quiet=False)("1 images have no annotation, such as that of id " + "7 " * 30)
        watch(Step("comparing", "images", 9, 9))
    lines = terminal.getvalue().replace("\r", "\n").splitlines()
    told = [line for line in lines if "annotation" in line or line.startswith("7 ")]
    assert told[0].startswith("1 image has no annotation")
    assert max(map(len, told)) <= 40


def test_a_correction_shows_what_is_removed_and_added(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with show_snapshots(quiet=False) as watch:
        watch(Snapshot(total=9, images=9, faces=None, removed=2, added=3))
    assert "removed=2, added=3" in terminal.getvalue()
    assert "faces" not in terminal.getvalue()
    assert "withheld" not in terminal.getvalue()
