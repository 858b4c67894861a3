from __future__ import annotations

import pickle

import pytest

from curate.core.errors import MissingExtraError, UsageError, WithheldError
from curate.core.registry import Plugin, Registry


def test_a_name_resolves_to_what_it_stands_for() -> None:
    registry = Registry("thing", [("box", Plugin("curate.core.geometry:Box", "a rectangle"))])
    assert registry.resolve("box").__name__ == "Box"
    assert list(registry.describe()) == [("box", "a rectangle")]


def test_an_unknown_name_lists_the_known_ones() -> None:
    registry = Registry("thing", [("a", Plugin("m:a", "")), ("b", Plugin("m:b", ""))])
    with pytest.raises(UsageError, match=r"unknown thing 'c'; choose one of: a, b"):
        registry.resolve("c")


def test_duplicate_names_raise() -> None:
    with pytest.raises(ValueError, match="twice"):
        Registry("thing", [("a", Plugin("m:a", "")), ("a", Plugin("m:b", ""))])


def test_a_missing_package_names_its_pip_command() -> None:
    plugin = Plugin("m:a", "", requires=("no_such_package",), extra="some")
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[some\]'"):
        Registry("thing", [("a", plugin)]).resolve("a")


@pytest.mark.parametrize(
    "error", [WithheldError("truncated", "the file ends early"), MissingExtraError("x", "y", "z")]
)
def test_errors_survive_pickling(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
