"""Atomic writes: a reader sees the whole file or none of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".partial"
"""Ending of the temporary name beside the file."""


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` when the block ends without an error.

    The data is on the disk before the rename. On an error the temporary file is removed and
    ``path`` is left as it was.

    Args:
        path: the file; its folder must exist.

    Yields:
        A binary file.

    Raises:
        OSError: if it cannot be written.
    """
    partial = path.with_name(path.name + SUFFIX)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def save_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically; raises `OSError` if it cannot be written."""
    with open_atomic(path) as file:
        file.write(data)


def save_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; raises `OSError` if it cannot be written."""
    save_bytes(path, text.encode("utf-8"))
