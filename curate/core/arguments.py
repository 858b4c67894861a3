"""Arguments of public functions, checked where they enter."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from curate.core.errors import UsageError

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


def check_path(value: Any, name: str) -> None:
    """Check that a value can be a path.

    Raises:
        UsageError: if it cannot.
    """
    text = value if isinstance(value, str) else os.fspath(value)
    try:
        is_path = bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise UsageError(f"{name} cannot be {ascii(text)[:80]}; give the path of a file or folder")


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
        if not isinstance(value, (str, Path)):
            raise UsageError(f"{name} cannot be {ascii(value)[:80]}; give a path as str or Path")
        check_path(value, name)
    elif expected == ["str"]:
        if not isinstance(value, str):
            raise UsageError(f"{name} cannot be {ascii(value)[:80]}; give a text")
    elif known and len(known) == len(expected) and not isinstance(value, known):
        raise UsageError(f"{name} cannot be {ascii(value)[:80]}; give {' or '.join(expected)}")
