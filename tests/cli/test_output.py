"""Where results are written: what is replaced, and what is refused before any work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from curate.cli.output import RESULTS, check_outputs
from curate.core.errors import UsageError
from curate.report.page import render_page
from curate.report.values import Page
from tests.conftest import ROOT

SCHEMAS = {"audit labels": "labels", "balance": "balance-report", "impact explain": "explain"}


@pytest.mark.parametrize("command", RESULTS)
def test_the_signs_of_results_are_those_of_schemas_and_pages(command: str) -> None:
    title, keys = RESULTS[command]
    done = subprocess.run(
        ["grep", "-rqF", "-e", f'"{title}"', "-e", f'f"{title}', ROOT / "curate"], check=False
    )
    assert done.returncode == 0
    if keys:
        name = SCHEMAS.get(command, command.split(" ")[-1 if "train" in command else 0])
        schema = json.loads((ROOT / f"manifests/{name}-1.schema.json").read_text())
        assert keys <= {*schema["required"]}


@pytest.mark.parametrize("command", RESULTS)
def test_only_results_of_the_same_command_are_replaced(command: str, tmp_path: Path) -> None:
    for other, (title, keys) in RESULTS.items():
        page, report = tmp_path / "a.html", tmp_path / "a.json"
        page.write_text(render_page(Page(f"{title} and more", (), (), "")))
        report.write_text(json.dumps(dict.fromkeys(keys)) if keys else "[]")
        for outputs in ({"html": page}, {"json": report}):
            if other == command and (keys or "html" in outputs):
                check_outputs((), outputs, command)
            else:
                with pytest.raises(UsageError, match=f"not a result of curate {command}; name"):
                    check_outputs((), outputs, command)


@pytest.mark.parametrize("text", ["precious", "{", "[]", "{}", "<title>Plan of a run</title>"])
@pytest.mark.parametrize("form", ["json", "html"])
def test_a_file_of_the_user_is_not_replaced(text: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text(text)
    with pytest.raises(UsageError, match="result exists and is not a result of curate plan"):
        check_outputs((), {form: path}, "plan")
    assert path.read_text() == text
    path.write_text("")  # as mktemp makes it
    check_outputs((), {form: path}, "plan")
