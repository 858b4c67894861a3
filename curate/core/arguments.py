"""Arguments of public functions, checked where they enter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from curate.core.errors import UsageError
from curate.core.records import as_path

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check paths, texts and options of a public function, by their annotations, when it is called.

    Arguments of other kinds are the function's own to check.

    Raises:
        UsageError: from the function, naming the argument that is not valid.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _check(name, value, str(signature.parameters[name].annotation), function)
        return function(*args, **kwargs)

    return call


def _check(name: str, value: Any, annotation: str, function: Callable[..., Any]) -> None:
    kinds = annotation.split(" | ")
    if "Sequence[" in annotation or annotation == "Paths":
        if not isinstance(value, (Iterable, Path)) or isinstance(value, (bytes, bytearray)):
            if value is not None or not annotation.endswith("None"):
                raise UsageError(f"{name} cannot be {ascii(value)[:80]}; give one or several")
        elif "Path" in annotation and isinstance(value, (str, Path, list, tuple)):
            for each in [value] if isinstance(value, (str, Path)) else value:
                _check(name, each, "str | Path", function)
        return
    if value is None and "None" in kinds:
        return
    options = [getattr(function, "__globals__", {}).get(kind) for kind in kinds]
    known = tuple(each for each in options if isinstance(each, type) and is_dataclass(each))
    expected = [kind for kind in kinds if kind != "None"]
    if "Path" in kinds and set(kinds) <= {"str", "Path", "None"}:
        if value is None:
            raise UsageError(f"{name} cannot be None; give the path of a file")
        as_path(value, name)
    elif expected == ["str"]:
        if not isinstance(value, str):
            raise UsageError(f"{name} cannot be {ascii(value)[:80]}; give a text")
    elif known and len(known) == len(expected) and not isinstance(value, known):
        raise UsageError(f"{name} cannot be {ascii(value)[:80]}; give {' or '.join(expected)}")
