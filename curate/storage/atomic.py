"""Atomic and durable writes: readers see the whole file or none of it."""

from __future__ import annotations

import ctypes
import os
import secrets
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


def create_bytes(path: Path, data: bytes) -> bool:
    """Write a file unless one of that name exists, as several processes may try at once.

    Returns:
        Whether it was written.

    Raises:
        OSError: if it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{SUFFIX}")
    try:
        save_bytes(partial, data)
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder`` to the disk.

    On Linux one ``syncfs`` call flushes the whole file system instead of file by file.
    """
    if _sync_file_system(folder):
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def _sync_file_system(folder: Path) -> bool:
    try:
        syncfs = ctypes.CDLL(None).syncfs
    except (OSError, AttributeError):
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return bool(syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush one file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's directory entries to the disk."""
    sync_file(path)
