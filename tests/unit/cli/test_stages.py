from __future__ import annotations

import io
import sys

import pytest

from curate.cli.impact import stages
from curate.cli.impact.stages import watching_stages


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter([0.0, 1.0, 61.0, 62.0])
    monkeypatch.setattr(stages.time, "monotonic", lambda: next(moments))
    with watching_stages(quiet=False) as watch:
        for done in (1, 2000, 3000):
            watch("compared", done, 5000)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "2,000 of 5,000 images compared\n")


def test_a_terminal_gets_a_bar_for_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with watching_stages(quiet=False) as watch:
        watch("compared", 3, 3)
        watch("explained", 2, 2)
    assert "compared: 100%" in terminal.getvalue()
    assert "explained: 100%" in terminal.getvalue()


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with watching_stages(quiet=True) as watch:
        watch("compared", 3, 3)
    assert capsys.readouterr().err == ""
