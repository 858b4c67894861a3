from __future__ import annotations

import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from curate.core.errors import LockedError
from curate.storage import lock
from curate.storage.lock import FolderLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / ".curate" / "lock"


def hold(path: Path) -> int:
    """Lock the file as another process would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_lock_that_is_held_names_its_holder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_TIMEOUT_S", 0.1)
    with (
        FolderLock(path),
        pytest.raises(LockedError, match=f"process {os.getpid()} on"),
        FolderLock(path),
    ):
        pytest.fail("two runs hold one lock")


def test_a_released_lock_can_be_acquired(path: Path) -> None:
    with FolderLock(path):
        pass
    with FolderLock(path) as again:
        assert again.descriptor >= 0


def test_a_waiter_locks_the_current_file(path: Path) -> None:
    """A run that finishes removes its work folder, lock included, and then lets go."""
    descriptor = hold(path)

    def finish() -> None:
        shutil.rmtree(path.parent)
        os.close(descriptor)

    threading.Timer(0.3, finish).start()
    with FolderLock(path) as taken:
        assert os.path.samestat(path.stat(), os.fstat(taken.descriptor))
        with pytest.raises(BlockingIOError):
            fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_was_replaced_while_it_was_taken_is_not_held(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking, a finishing run takes the file away and another begins."""
    flock = fcntl.flock
    first = []

    def slow_flock(descriptor: int, operation: int) -> None:
        if not first:
            first.append(descriptor)
            path.unlink()
            path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow_flock)
    with FolderLock(path) as taken:
        assert os.path.samestat(path.stat(), os.fstat(taken.descriptor))
