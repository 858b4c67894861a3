"""The layout that CONTRIBUTING shows is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from curate import layouts as formats
from curate.core.errors import DataError
from curate.core.registry import Plugin, Registry
from curate.layouts import LAYOUTS, open_source
from curate.report.text import typeset
from tests.conftest import ROOT
from tests.layouts.examples.example import jpeg, write


@pytest.fixture
def tsv(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition("## A new layout")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    module = ModuleType("curate.layouts.tsv")
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)  # noqa: S102
    monkeypatch.setitem(sys.modules, "curate.layouts.tsv", module)
    [line] = re.findall(r"`(\(\"tsv\", .*?\)\)),`", section)
    plugins = [(name, LAYOUTS.check(name)) for name in LAYOUTS]
    new = eval(line, {"Plugin": Plugin})  # noqa: S307
    monkeypatch.setattr(formats, "LAYOUTS", Registry("layout", [*plugins, new]))


@pytest.mark.usefixtures("tsv")
def test_the_layout_of_contributing_works(tmp_path: Path) -> None:
    write(tmp_path, "x/a.jpg", jpeg(1))
    write(tmp_path, "b.jpg", jpeg(2))
    write(tmp_path, "splits.tsv", "x/a.jpg\tval\nc.jpg\ttrain\n")
    source = open_source(str(tmp_path))
    assert source.layout == "tsv"
    assert [(r.id, r.split) for r in source.records()] == [("b.jpg", None), ("x/a.jpg", "val")]
    [other] = source.sidecars()
    assert (str(other.path), other.copied, other.format) == ("splits.tsv", True, "tsv")
    assert list(source.check()) == ["1 images of splits.tsv are absent, such as 'c.jpg'."]


@pytest.mark.usefixtures("tsv")
@pytest.mark.parametrize("line", ["../a.jpg\tval", "x/a.jpg\ttest"])
def test_malformed_input_is_refused(line: str, tmp_path: Path) -> None:
    write(tmp_path, "x/a.jpg", jpeg(1))
    write(tmp_path, "splits.tsv", f"x/a.jpg\tval\n{line}\n")
    [note] = open_source(str(tmp_path)).check()
    assert typeset(note).startswith("1 problem in splits.tsv; the first: splits.tsv, line 2")
    with pytest.raises(DataError, match=r"^splits\.tsv, line 2"):
        list(open_source(str(tmp_path)).check(strict=True))
