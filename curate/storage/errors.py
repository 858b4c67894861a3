"""Errors of the operating system as one-line `CurateError` messages."""

from __future__ import annotations

import errno
from pathlib import Path

from curate.core.errors import CurateError, SetupError
from curate.core.records import escape_unprintable


def describe_os_error(error: OSError, path: str | Path, action: str) -> CurateError:
    """Convert an error of the file system to a `SetupError`.

    Args:
        error: what was raised.
        path: the folder being processed, for errors that name no file.
        action: what was being done to it: ``read`` or ``written``.
    """
    name = escape_unprintable(str(error.filename or path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SetupError(
            f"there is no space left for {path}; free some and run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SetupError(f"{name} cannot be {action}: {error.strerror}")
    return SetupError(f"{name}: {error.strerror or error}")
