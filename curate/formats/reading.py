"""Read a file of SOURCE, and tell its own trouble from that of the whole of SOURCE."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import CurateError, SetupError, SourceChangedError, WithheldError

_BLOCK = 1 << 20
_OF_THE_FILE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.ENXIO, errno.ENODEV, errno.EOVERFLOW, errno.EFBIG),
    }
)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


def iter_blocks(path: Path, name: str) -> Iterator[bytes]:
    """The bytes of a regular file, in blocks.

    Args:
        path: where the file is.
        name: what the user calls it.

    Raises:
        WithheldError: ``unreadable``, if this very file cannot be read.
        SourceChangedError: if it is no longer there.
        SetupError: if reading fails for a reason that is not this file's, such
            as a disk or a network that is gone.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise WithheldError("unreadable", "it is not a regular file")
            while block := file.read(_BLOCK):
                yield block
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
