from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.core.errors import CurateError, UsageError

FUNCTIONS = [
    name
    for name in curate.__all__
    if inspect.isfunction(getattr(curate, name)) and name not in ("obfuscate", "start_review")
]
BAD = (5, 1.5, b"x", ["\0"], object(), True, "\0", "/nonexistent/\ud800", "")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_that_are_no_paths_are_one_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(curate, name)
    parameters = inspect.signature(function).parameters.values()
    count = max(1, sum(each.default is each.empty and each.kind == 1 for each in parameters))
    for value in BAD:
        with pytest.raises(CurateError) as caught:
            function(*[value] * count)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: curate.blur("a\0", "out"), r"source cannot be 'a\\x00'; give the path"),
        (lambda: curate.blur("a", out="\ud800"), r"out cannot be '\\ud800'; give the path"),
        (lambda: curate.plan(b"x"), r"source is a bytes, not a path; give the path of a file"),  # type: ignore[arg-type]
        (lambda: curate.pull(None, "o"), "repo_id cannot be None; give a text"),  # type: ignore[arg-type]
        (lambda: curate.make_detector("x"), "options cannot be 'x'; give DetectorOptions"),  # type: ignore[arg-type]
        (lambda: curate.rebalance("a", "b", ""), "options cannot be ''; give BalanceOptions"),  # type: ignore[arg-type]
        (lambda: curate.merge_audits(["a", "\0"]), "paths cannot be"),
        (lambda: curate.audit("a", None), "by cannot be None; give one or several"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_the_message_names_the_argument(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_one_path_stands_for_several(tmp_path: Path) -> None:
    for paths in (tmp_path / "a.npz", str(tmp_path / "a.npz"), [tmp_path / "a.npz"]):
        with pytest.raises(CurateError, match=r"a\.npz"):
            curate.measure_impact(paths, paths)


def test_names_that_are_not_utf_8_are_paths(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="does not exist"):
        curate.plan(str(tmp_path / "caf\udce9"))
