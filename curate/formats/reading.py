"""Read a file of SOURCE, and tell its own trouble from that of the whole of SOURCE."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from curate.core.errors import CurateError, SetupError, SourceChangedError, WithheldError

_OF_THE_FILE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.ENXIO, errno.ENODEV, errno.EOVERFLOW, errno.EFBIG),
    }
)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


def open_file(path: Path, name: str) -> BinaryIO:
    """Open a regular file for reading, without waiting for anyone.

    Args:
        path: where the file is.
        name: what the user calls it.

    Raises:
        WithheldError: ``unreadable``, if this very file cannot be read.
        SourceChangedError: if it is no longer there.
        SetupError: if opening fails for a reason that is not this file's, such
            as a disk or a network that is gone.
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise _explain(error, name) from None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise WithheldError("unreadable", "it is not a regular file")


def read_file(path: Path, name: str) -> bytes:
    """The bytes of a regular file; raises as ``open_file`` does."""
    with open_file(path, name) as file:
        try:
            return file.read()
        except OSError as error:
            raise _explain(error, name) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe in the file's place may have nobody to write to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _explain(error: OSError, name: str) -> CurateError:
    cause = error.strerror or "cannot be read"
    if error.errno in _OF_THE_FILE:
        return WithheldError("unreadable", cause)
    if error.errno in _GONE:
        return SourceChangedError(
            f"{name!r} is gone from SOURCE since the run began; "
            "put SOURCE back as it was and run the same command again to go on"
        )
    return SetupError(
        f"{name!r} in SOURCE cannot be read: {cause}; "
        "mend that and run the same command again to go on"
    )
