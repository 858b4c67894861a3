"""Errors of the operating system as one-line `CurateError` messages."""

from __future__ import annotations

import codecs
import errno
import sys
from pathlib import Path, PurePath

from curate.core.errors import CurateError, SetupError
from curate.core.records import escape_unprintable


def find_full(error: BaseException) -> str | None:
    """Why nothing more can be written and what to do, a clause; None for any other error."""
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "there is no space left; free some"
    if error.errno == errno.EFBIG:
        return "it exceeds the limit on the size of a file (see `ulimit -f`); raise the limit"
    return None


def find_wrong_encoding() -> str | None:
    """Why names of files cannot be read in this process and what to do; None where they can."""
    encoding = sys.getfilesystemencoding()
    if codecs.lookup(encoding).name == "utf-8":
        return None
    return (
        f"names of files would be read as {encoding}, not UTF-8, because of the locale; set "
        "PYTHONUTF8=1 and run the same command again"
    )


def name_target(path: str) -> str:
    """The name of a file of which a draft could not be written: drafts end in ``.partial``."""
    pure = PurePath(path)
    if pure.suffix != ".partial":
        return path
    return str(pure.with_name(pure.stem.removeprefix(".")))


def describe_os_error(error: OSError, path: str | Path, action: str) -> CurateError:
    """Convert an error of the file system to a `SetupError`.

    Args:
        error: what was raised.
        path: the folder being processed, for errors that name no file.
        action: what was being done to it: ``read`` or ``written``.
    """
    name = escape_unprintable(name_target(str(error.filename or path)))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SetupError(
            f"there is no space left for {path}; free some and run the same command again"
        )
    if reason := find_full(error):
        return SetupError(f"{name} cannot be written: {reason} and run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SetupError(f"{name} cannot be {action}: {error.strerror}")
    return SetupError(f"{name}: {error.strerror or error}")
