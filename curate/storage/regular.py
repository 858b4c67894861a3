"""Reading of untrusted paths: regular files only, never pipes, devices or links."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

_NOT_REGULAR = "not a regular file"


def open_regular(path: Path, follow_links: bool = False) -> io.BufferedReader:
    """Open a regular file for reading, without blocking.

    Args:
        path: the file.
        follow_links: whether the last component of the path may be a symbolic link.

    Raises:
        OSError: if it cannot be opened or is anything but a regular file.
    """
    # O_NONBLOCK: opening a pipe without a writer returns immediately.
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
    """Read a regular file.

    Raises:
        OSError: if it cannot be read or is anything but a regular file.
    """
    with open_regular(path, follow_links) as file:
        return file.read()
