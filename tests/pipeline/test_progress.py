from __future__ import annotations

import io
import sys

import pytest

from curate.pipeline import progress as steps
from curate.pipeline.progress import show_steps
from curate.pipeline.session import Step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_a_line_for_each_step_and_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter([0.0, 0.5, 1.0, 61.0, 62.0])
    monkeypatch.setattr(steps.time, "monotonic", lambda: next(moments))
    with show_steps(quiet=False) as watch:
        for done in (1, 2000, 3000):
            watch(Step("comparing", "images", done, 5000))
        watch(Step("counting", "images", 7, None))
    printed = capsys.readouterr()
    lines = [
        "comparing: 1 of 5,000 images",
        "comparing: 3,000 of 5,000 images",
        "counting: 7 images",
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
