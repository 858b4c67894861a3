"""What the operating system refused, as one line that says what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from curate.core.errors import CurateError, SetupError
from curate.core.records import escape_unprintable


def describe_os_error(error: OSError, place: str | Path, deed: str) -> CurateError:
    """An error of the file system as one of ours.

    Args:
        error: what was raised.
        place: the folder in work, for errors that name no file.
        deed: what was being done to it: ``read`` or ``written``.
    """
    name = escape_unprintable(str(error.filename or place))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SetupError(
            f"there is no space left for {place}; free some and run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SetupError(f"{name} cannot be {deed}: {error.strerror}")
    return SetupError(f"{name}: {error.strerror or error}")
