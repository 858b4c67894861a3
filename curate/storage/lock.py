"""Exclusive lock of an output folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from curate.core.errors import LockedError, SetupError
from curate.storage.regular import read_regular

_MAX_NOTE = 4096  # bytes
_TIMEOUT_S = 3.0  # processes of a killed run release the lock within this time


class FolderLock:
    """Exclusive lock that is released when its process ends, even by a crash.

    The kernel owns the lock (``flock``), so there are no stale locks.
    Child processes that inherit ``descriptor`` hold it until they end. A folder that was made for
    the lock is removed if an error ends the work before anything else is in it.

    Args:
        path: the lock file; created if absent, with its folder.
        mode: permissions of a new folder.

    Raises:
        LockedError: on entering, if another process holds the lock.
        SetupError: on entering, if the file system does not support locks.
    """

    def __init__(self, path: Path, mode: int = 0o777) -> None:
        self._path, self._mode = path, mode
        self.descriptor = -1
        self._is_new = False

    def __enter__(self) -> FolderLock:
        deadline = time.monotonic() + _TIMEOUT_S
        while not self._acquire():
            if time.monotonic() > deadline:
                raise LockedError(
                    f"another run is writing {str(self._path.parent.parent)!r} "
                    f"({self._holder()}); wait for it or choose another OUT"
                )
            time.sleep(0.05)
        os.ftruncate(self.descriptor, 0)
        note = {"pid": os.getpid(), "host": socket.gethostname()}
        os.pwrite(self.descriptor, json.dumps(note).encode(), 0)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None and self._is_new:
            with suppress(OSError):
                if len(list(self._path.parent.iterdir())) == 1:
                    self._path.unlink()
                    self._path.parent.rmdir()
        os.close(self.descriptor)

    def _acquire(self) -> bool:
        """Lock the current file of that name; a run that finishes removes file and folder."""
        self._is_new |= not self._path.parent.exists()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=self._mode)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            return False
        try:
            if self._try(descriptor) and self._is_current(descriptor):
                self.descriptor = descriptor
                return True
        finally:
            if self.descriptor != descriptor:
                os.close(descriptor)
        return False

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _try(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise SetupError(
                f"the file system of {str(self._path.parent.parent)!r} cannot lock files "
                f"({error.strerror}); choose an OUT on a local disk"
            ) from None
        return True

    def _holder(self) -> str:
        try:
            note = json.loads(read_regular(self._path, max_bytes=_MAX_NOTE))
            return f"process {note['pid']} on {note['host']}"
        except (ValueError, KeyError, TypeError, OSError, RecursionError):
            return "unknown process"
