"""Every error that curate raises on purpose.

::

    CurateError                     one clear line for the user
    ├── UsageError                  the request itself is wrong (exit code 2)
    ├── DataError                   the data cannot be used as it is (exit code 1)
    │   ├── ManifestError           a manifest is damaged or does not fit
    │   │   └── SchemaVersionError  a manifest is newer than this release
    │   └── SourceChangedError      SOURCE is not what an interrupted run saw
    ├── SetupError                  the environment lacks something (exit code 1)
    │   ├── MissingExtraError       an optional package; names the pip line
    │   ├── WeightsError            a model's weights are absent or altered
    │   └── LockedError             another run is writing this OUT
    ├── WithheldError               one image must not enter the output
    └── PausedError                 a run stopped as asked (exit code 130)

A message says what is wrong and what to do next, in one line.
"""

from __future__ import annotations

from collections.abc import Iterable


class CurateError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class UsageError(CurateError):
    """The request cannot be carried out as stated, whatever the data."""

    exit_code = 2


class DataError(CurateError):
    """The data cannot be used as it is."""


class ManifestError(DataError):
    """A manifest is damaged, incomplete, or belongs to another dataset."""


class SchemaVersionError(ManifestError):
    """A manifest was written by a newer release."""


class SourceChangedError(DataError):
    """SOURCE differs from what an interrupted run had seen."""


class SetupError(CurateError):
    """The environment lacks something that the request needs."""


class MissingExtraError(SetupError):
    """An optional package is not installed.

    Args:
        what: the feature that asked for it, in the user's words.
        package: the import name that is missing.
        extra: the extra of ``curate-dataset`` that brings it.
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
    """A model's weights are absent, unreadable, or not the expected ones."""


class LockedError(SetupError):
    """Another process holds the lock of an output folder."""


class WithheldError(CurateError):
    """An image must not enter the output.

    Args:
        code: a short stable word for counting, such as ``truncated``.
        detail: one line for a person.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


class PausedError(CurateError):
    """A run stopped as asked; the same command goes on from there."""

    exit_code = 130


def _rebuild(
    kind: type[CurateError], args: Iterable[object], state: dict[str, object]
) -> CurateError:
    """Rebuild an error that crosses a process boundary, whatever its signature."""
    error = kind.__new__(kind)
    error.args = tuple(args)
    error.__dict__.update(state)
    return error
