"""Open files that somebody else may have laid out: regular ones only.

A pipe would make a reader wait for ever, a device never end, a link lead elsewhere.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

_NOT_REGULAR = "not a regular file"


def open_regular(path: Path, follow_links: bool = False) -> io.BufferedReader:
    """Open a file for reading, without waiting for anyone.

    Args:
        path: the file.
        follow_links: whether the last part of the path may be a link.

    Raises:
        OSError: if it cannot be opened or is anything but a regular file.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to returns at once.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise OSError(error.errno, _NOT_REGULAR, str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NOT_REGULAR, str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, follow_links: bool = False) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: if it cannot be read or is anything but a regular file.
    """
    with open_regular(path, follow_links) as file:
        return file.read()
