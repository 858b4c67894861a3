from __future__ import annotations

import doctest
import importlib
import inspect
import pydoc
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pandas
import pytest
from click.testing import CliRunner

import curate
from curate.cli.group import DefaultGroup
from curate.core.errors import DataError, UsageError
from curate.pipeline.session import configure
from tests.conftest import ROOT


def test_all_public_names_resolve_and_are_sorted() -> None:
    assert curate.__all__ == sorted(curate.__all__)
    assert set(curate.__all__) == set(curate._TARGETS)
    assert dir(curate) == sorted([*curate.__all__, "__version__"])
    for name in curate.__all__:
        assert getattr(curate, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        curate.no_such  # noqa: B018


FUNCTIONS = [name for name in curate.__all__ if inspect.isfunction(getattr(curate, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_describes_every_parameter(name: str) -> None:
    function = getattr(curate, name)
    text = pydoc.plain(pydoc.render_doc(function))
    assert function.__doc__
    assert function.__doc__.splitlines()[0].endswith((".", ":"))
    if "Args:" in text:
        for parameter in inspect.signature(function).parameters:
            assert f"{parameter}:" in function.__doc__, parameter


@pytest.mark.parametrize(
    "module", sorted({target.partition(":")[0] for target in curate._TARGETS.values()} | {"curate"})
)
def test_examples_in_docstrings_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(importlib.import_module(module), extraglobs={"curate": curate})
    assert result.failed == 0


def test_an_unknown_option_is_named_with_the_closest_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown option 'metod'; did you mean 'method'"):
        curate.blur(tmp_path, tmp_path / "out", metod="fill")
    with pytest.raises(UsageError, match="recipe key 'seed' cannot be 'x'"):
        curate.detect(tmp_path, tmp_path / "faces.parquet", seed="x")
    assert not list(tmp_path.iterdir())


def test_every_result_has_a_short_line_and_its_text_for_a_notebook() -> None:
    results = [inspect.signature(getattr(curate, name), eval_str=True) for name in FUNCTIONS]
    classes = {each.return_annotation for each in results} - {None}
    own = [each for each in classes if inspect.isclass(each) and each.__module__[:6] == "curate"]
    for each in own:
        if not getattr(each, "_is_protocol", False):
            assert "to_text" in dir(each), each
            assert "_repr_html_" in dir(each), each
            assert each.__repr__ is not object.__repr__, each
            assert not hasattr(each.__repr__, "__wrapped__"), each  # dataclasses wrap theirs


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (curate.AuditOptions, "targets"),
        (curate.BalanceInputs, "targets"),
        (partial(curate.BalanceOptions, strategy="subset", by="gender"), "splits"),
        (partial(curate.BalanceOptions, strategy="subset", by="gender"), "include"),
        (partial(curate.BalanceOptions, strategy="subset", by="gender"), "drop_keys"),
        (curate.CardOptions, "reports"),
        (curate.EvaluateOptions, "by"),
        (curate.EvaluationOptions, "by"),
        (curate.PredictionOptions, "by"),
        (curate.PushOptions, "reports"),
        (curate.PushOptions, "withdraw"),
        (partial(curate.SplitOptions, groups=Path("people.csv")), "by"),
        (partial(curate.TrainOptions, groups=Path("people.csv")), "by"),
    ],
)
def test_one_name_is_not_a_list_of_letters(options: Any, field: str) -> None:
    assert getattr(options(**{field: "gps"}), field) == ("gps",)
    assert getattr(options(**{field: ("exif", "gps")}), field) == ("exif", "gps")


def test_functions_take_one_name(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("id,gender\na.jpg,female\nb.jpg,male\n")
    assert curate.audit(table, by="gender", quiet=True).to_dict() == (
        curate.audit(table, by=["gender"], quiet=True).to_dict()
    )
    recipe, _ = configure(None, None, {"include": "*.txt", "drop_keys": ["gps"]})
    assert (recipe.include, recipe.drop_keys) == (("*.txt",), ("gps",))
    by_text = curate.BalanceOptions(strategy="subset", by="gender,age")
    assert by_text.by == (("gender", "age"),)


def test_every_function_whose_name_is_no_command_is_in_the_table_of_commands() -> None:
    from curate.cli.main import COMMANDS

    text = (ROOT / "curate/README.md").read_text(encoding="utf-8")
    missing = {name for name in FUNCTIONS if f"`{name}" not in text} - set(COMMANDS)
    assert missing == {"make_detector", "obfuscate"}  # for arrays, without a command


def test_help_starts_with_every_function_by_task() -> None:
    assert curate.__doc__ is not None
    listed = set(re.findall(r"\w+", curate.__doc__.partition("``help")[0]))
    assert listed >= set(FUNCTIONS)


def _commands(group: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(group, click.Group):
        yield words
        return
    if isinstance(group, DefaultGroup):
        yield words
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from _commands(command, (*words, name))


def test_every_command_names_its_function_and_no_function_is_without_a_command() -> None:
    from curate.cli.main import group

    named = set[str]()
    for words in _commands(group):
        shown = CliRunner().invoke(group, [*words, "--help"]).output
        assert "In Python: curate." in shown, words
        named.update(re.findall(r"curate\.(\w+)", shown.partition("In Python:")[2][:120]))
    assert set(FUNCTIONS) - named == {"make_detector", "obfuscate", "propagate_boxes"}


@pytest.mark.parametrize(
    "call",
    [
        lambda table: curate.audit(None, by="gender", groups=table, quiet=True),
        lambda table: curate.BalanceInputs(groups=table),
        lambda table: curate.EvaluateOptions(groups=table),
        lambda table: curate.EvaluationOptions(groups=table),
        lambda table: curate.PredictionOptions(groups=table),
        lambda table: curate.ReviewOptions(groups=table),
        lambda table: curate.SplitOptions(groups=table),
        lambda table: curate.TrainOptions(groups=table),
    ],
)
def test_a_table_in_memory_is_taken_for_groups(call: Callable[[Any], Any]) -> None:
    table = pandas.DataFrame({"id": ["a.jpg"], "gender": ["f"]})
    call(table)
    with pytest.raises(UsageError, match="groups is a dict, not a path or a table; give the path"):
        call({"id": ["a.jpg"]})
    with pytest.raises(DataError, match="groups cannot be read as a table"):
        call(table.assign(gender=[object()]))


def test_a_table_in_memory_is_no_source() -> None:
    table: Any = pandas.DataFrame({"id": ["a.jpg"], "gender": ["f"]})
    with pytest.raises(UsageError, match=r"is a DataFrame, not a path; write it .*\.to_csv\("):
        curate.audit(table, by="gender", quiet=True)
