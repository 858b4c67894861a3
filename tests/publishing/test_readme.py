"""The examples of the package's README."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from curate.cli.main import group
from tests.conftest import ROOT
from tests.publishing.outs import make_out

TEXT = (ROOT / "curate/publishing/README.md").read_text()


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == "keep 15\n"
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("readme", ["README.md", "curate/publishing/README.md"])
def test_every_command_line_is_understood(readme: str) -> None:
    lines = re.findall(r"^curate (?:card|push|pull|verify) .*$", (ROOT / readme).read_text(), re.M)
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line.partition("  #")[0])[1:]
        command = group.get_command(None, words[0])  # type: ignore[arg-type]
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("command", ["card", "push", "pull", "verify"])
def test_help_explains_every_option(command: str) -> None:
    shown = CliRunner().invoke(group, [command, "--help"])
    assert shown.exit_code == 0
    found = group.get_command(None, command)  # type: ignore[arg-type]
    assert found is not None
    for parameter in found.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None)
