"""Reading of untrusted paths: regular files only, never pipes, devices or links."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from curate.core.documents import MAX_JSON, parse_json
from curate.core.errors import DataError

MAX_BYTES = 64 << 20
"""Maximum size of a file that is read whole."""
_MAX_LINE = 1 << 20
_NOT_REGULAR = "it is not a regular file"


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


def open_text(
    path: Path, encoding: str = "utf-8", errors: str = "strict", newline: str | None = None
) -> TextIO:
    """Open a regular file as text; symbolic links are followed.

    Raises:
        OSError: if it cannot be opened or is anything but a regular file.
    """
    file = open_regular(path, follow_links=True)
    return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=newline)


def read_regular(path: Path, follow_links: bool = False, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a regular file.

    Raises:
        OSError: if it cannot be read, is too large or is anything but a regular file.
    """
    with open_regular(path, follow_links) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes >> 20} MB, which is too large")
    return data


def load_json(path: Path) -> Any:
    """Load a JSON document of at most 64 MB; symbolic links are followed.

    Raises:
        OSError: if it cannot be read or is anything but a regular file.
        ValueError: if it is not valid JSON.
        DataError: if it is too large.
    """
    with open_regular(path, follow_links=True) as file:
        return parse_json(file.read(MAX_JSON + 1), path)


def iter_text_lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """Iterate over the lines of a text file in UTF-8, of at most 1 MB each, without line ends.

    Args:
        path: the file; symbolic links are followed.
        errors: how bytes that are not UTF-8 are decoded.

    Raises:
        OSError: if it cannot be opened or is anything but a regular file.
        DataError: if a line is longer.
    """
    with open_regular(path, follow_links=True) as file:
        try:
            for line in iter_short_lines(file):
                yield line.decode("utf-8", errors).rstrip("\r\n")
        except ValueError as error:
            raise DataError(f"{path} has a line that cannot be read: {error}") from None


def iter_short_lines(file: BinaryIO) -> Iterator[bytes]:
    """Iterate over the lines of a file, of at most 1 MB each.

    Raises:
        ValueError: if a line is longer.
    """
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise ValueError(f"it is longer than {_MAX_LINE >> 20} MB")
        yield line
