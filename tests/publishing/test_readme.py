"""The examples of the package's README."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import curate
from curate.cli.main import group
from tests.conftest import ROOT
from tests.publishing.outs import make_out

TEXT = (ROOT / "curate/publishing/README.md").read_text()


def test_the_calls_of_the_readme_do_what_it_says(tmp_path: Path) -> None:
    out = make_out(tmp_path)
    assert curate.write_card(out, curate.CardOptions(check=True)).problems == ()
    options = curate.PushOptions(form="parquet", dry_run=True, workers=1)
    report = curate.push(out, "my-lab/street-scenes", options)
    assert (report.form, report.revision, report.dry_run) == ("parquet", None, True)
    assert {path for path in report.files if path.startswith("data/")} == {
        "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet",
    }  # fmt: skip


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
