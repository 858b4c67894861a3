"""Run commands in this process: heavy libraries are then imported once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.cli.main import main
from tests.conftest import ROOT

InProcess = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """``curate`` with the given arguments, as a completed process."""
    monkeypatch.chdir(ROOT)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = ["curate", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code if isinstance(ended.value.code, int) else 0
        return subprocess.CompletedProcess(command, code, printed.out, printed.err)

    return run
