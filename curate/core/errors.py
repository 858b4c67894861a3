"""Exceptions of curate.

::

    CurateError                     one-line message for the user
    ├── UsageError                  invalid options or arguments (exit code 2)
    ├── DataError                   unusable data (exit code 1)
    │   ├── ManifestError           a damaged or non-matching manifest
    │   │   └── SchemaVersionError  a manifest of a newer release
    │   ├── SourceChangedError      SOURCE changed since the interrupted run
    │   └── ProblemsError           several faults of one input, a line each
    ├── SetupError                  an incomplete environment (exit code 1)
    │   ├── MissingExtraError       missing optional package; names the pip command
    │   ├── WeightsError            model weights absent or altered
    │   └── LockedError             another run is writing to OUT
    ├── WithheldError               one image is kept out of the output
    └── PausedError                 a run was interrupted (exit code 130)

A message states in one line what is wrong and what to do next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


class CurateError(Exception):
    """Base class of all exceptions of curate."""

    exit_code = 1


class UsageError(CurateError):
    """Invalid options or arguments, independent of the data."""

    exit_code = 2


class DataError(CurateError):
    """Data that cannot be used as it is."""


class ManifestError(DataError):
    """A manifest is damaged, incomplete, or belongs to another dataset."""


class SchemaVersionError(ManifestError):
    """A manifest was written by a newer release."""


class SourceChangedError(DataError):
    """SOURCE changed since the interrupted run."""


class SetupError(CurateError):
    """The environment lacks something that is required."""


class ProblemsError(DataError):
    """An input has several faults.

    Args:
        what: the input and what to do.
        problems: the faults, one line each.
    """

    def __init__(self, what: str, problems: Iterable[str]) -> None:
        self.what, self.problems = what, tuple(problems)
        super().__init__(f"{what}: {'; '.join(self.problems)}")

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.what, self.problems))


class MissingExtraError(SetupError):
    """An optional package is not installed.

    Args:
        what: the feature that needs it, as named in the user interface.
        package: the import name that is missing.
        extra: the extra of ``curate-dataset`` that installs it.
    """

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package {package!r}, which is not installed; "
            f"run: pip install 'curate-dataset[{extra}]'"
        )
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


class WeightsError(SetupError):
    """Model weights are absent, unreadable, or not the expected ones."""


class LockedError(SetupError):
    """Another process holds the lock of an output folder."""


WITHHELD_CODES = frozenset(
    {
        "bomb", "corrupt", "detector", "detector_failed", "empty", "external", "faces", "frames",
        "internal", "name", "not-looked-at", "other-file", "pointer", "sparse", "truncated",
        "unreadable", "unsupported", "withdrawn", "worker",
    }
)  # fmt: skip
"""Codes of the reasons why curate withholds images; a file of faces may state others."""


class WithheldError(CurateError):
    """An image is kept out of the output (withheld).

    Args:
        code: short stable identifier for counting, such as ``truncated``.
        detail: one-line description.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


class PausedError(CurateError):
    """A run was interrupted; the same command resumes it."""

    exit_code = 130


_BUILT_IN = (TypeError, AttributeError, IndexError, OverflowError, UnicodeError)
_VALUE_ERROR = re.compile(
    r"(?:not enough|too many) values to unpack|could not convert string|invalid literal for|"
    r"Exceeds the limit \(\d+ digits\) for integer|"
    r"operands could not be broadcast|.* for islice\(\) must be|'.*' is not a valid [A-Z]\w+$"
)
"""How the messages of Python and NumPy begin that are raised as `ValueError`, as ours may be."""


def one_line(error: BaseException) -> str:
    """Return the message of an error of another library in one line, or its type if it is empty."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def name_error(error: BaseException) -> str:
    """Return the type and the message of an error in one line."""
    line, name = one_line(error), type(error).__name__
    return name if line == name else f"{name}: {line}"


def describe_malformed(error: Exception) -> str:
    """Describe why a file could not be parsed, in one line without the words of Python.

    Args:
        error: what was raised while the entries of the file were read.
    """
    if isinstance(error, KeyError):
        return f"it has no key {ascii(error.args[0] if error.args else '')[:80]}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())[:200]
    is_of_python = isinstance(error, _BUILT_IN) or (
        type(error) is ValueError and _VALUE_ERROR.match(text) is not None
    )
    if not text or is_of_python:
        return "a value has another type or form than expected"
    return text


def _rebuild(
    kind: type[CurateError], args: Iterable[object], state: dict[str, object]
) -> CurateError:
    """Rebuild an error that crosses a process boundary, whatever its signature."""
    error = kind.__new__(kind)
    error.args = tuple(args)
    error.__dict__.update(state)
    return error


def describe_choice(kind: str, given: str, known: Iterable[str]) -> str:
    """Return the message about a value that is not one of the known ones.

    >>> describe_choice("strategy", "subst", ["subset", "split"])
    "unknown strategy 'subst'; choose one of: subset, split; did you mean 'subset'?"
    """
    names = list(known)
    return (
        f"unknown {kind} {given!r}; choose one of: {', '.join(names)}"
        f"{suggest(given[:100], names) if isinstance(given, str) else ''}"
    )


def suggest(given: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'NAME'?`` for a misspelled name, or nothing.

    >>> suggest("gendr", ["age", "gender"])
    "; did you mean 'gender'?"
    """
    names = {name.lower().lstrip("-"): name for name in known}
    close = get_close_matches(given.lower().lstrip("-"), names, 1)
    return f"; did you mean {names[close[0]]!r}?" if close else ""
