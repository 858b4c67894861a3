"""An image of a dataset, named but not loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

from curate.core.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a dataset; no pixels inside.

    Args:
        id: unique within the dataset, stable between runs; a relative POSIX
            path for folder layouts.
        uri: where the source finds the bytes; never written to an output.
        split: ``train``, ``val``, ``test`` … or None where the layout has none.
        category: the class label, or None.
        sensitive_features: annotated or perceived group attributes by name.
    """

    id: str
    uri: str
    split: str | None = None
    category: str | None = None
    sensitive_features: Mapping[str, str] = field(default_factory=dict)


def as_names(names: str | PurePath | Iterable[T]) -> tuple[T, ...]:
    """Return one or several names or paths as a tuple; a string is one name, not its letters.

    >>> as_names("gender"), as_names(["gender", "age"])
    (('gender',), ('gender', 'age'))
    """
    return (names,) if isinstance(names, (str, PurePath)) else tuple(names)  # type: ignore[return-value]


def set_names(options: object, *fields: str) -> None:
    """Make fields of a frozen dataclass tuples of names or paths; None stays None."""
    for name in fields:
        if (value := getattr(options, name)) is not None:
            object.__setattr__(options, name, as_names(value))


def set_paths(options: object, *fields: str) -> None:
    """Make fields of a frozen dataclass paths; None stays None.

    Raises:
        UsageError: if a value is no path, such as a table in memory.
    """
    for name in fields:
        object.__setattr__(options, name, as_path(getattr(options, name), name))


def as_path(value: Any, name: str) -> Path | None:
    """A path that a caller gave as a text or path; None stays None.

    Args:
        value: what was given.
        name: the argument.

    Raises:
        UsageError: if it can be no path, such as a table in memory or a text with NUL.
    """
    if value is None:
        return None
    if isinstance(value, str | PurePath):
        if not _is_path(str(value)):
            raise UsageError(f"{name} cannot be {ascii(str(value))[:80]}; give the path of a file")
        return Path(value)
    remedy = "give the path of a file"
    if hasattr(value, "columns"):
        remedy = f"write it to a file, as with {name}.to_csv('{name}.csv', index=False), and give"
        remedy += " its path"
    raise UsageError(f"{name} is a {type(value).__name__}, not a path; {remedy}")


def _is_path(text: str) -> bool:
    """Whether a text can be a path: not empty, no NUL, and bytes or UTF-8."""
    try:
        return b"\0" not in os.fsencode(text) and bool(text)
    except UnicodeEncodeError:
        return False


def printable(text: str) -> str:
    r"""Text that UTF-8 can hold; bytes of a file name that are no text become ``\xNN``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def escape_unprintable(text: str) -> str:
    """Text that can do nothing to a terminal: whatever has no shape of its own as an escape.

    Control characters, line ends, marks that turn the direction of writing and
    bytes that are no text would let a file name forge lines of a report.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


_CONTROLS = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escape_controls(text: str) -> str:
    r"""Text of a document whose control characters are shown as escapes.

    So are marks that turn the direction of writing, and surrogates. Tabs, line ends and what
    joins letters of a script stay.

    >>> escape_controls("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def join_lines(lines: Iterable[str]) -> str:
    """Join lines of a report for a terminal, in which names may be of any origin."""
    return "\n".join(map(escape_unprintable, lines))
