from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from curate.core.errors import CurateError, DataError, LockedError, PausedError, SetupError
from curate.impact.train.work import PREFIX, RowForm, Work, forward_stop, hold_work
from curate.storage.lock import FolderLock

FORM = RowForm((4, 4, 3), "uint8")


@pytest.mark.parametrize(
    ("error", "stays"), [(DataError("x"), False), (PausedError("x"), True), (SetupError("x"), True)]
)
def test_folder_is_kept_only_for_resuming(tmp_path: Path, error: CurateError, stays: bool) -> None:
    with pytest.raises(type(error)), hold_work(tmp_path, "0" * 64):
        raise error
    assert (tmp_path / f"{PREFIX}{'0' * 12}").is_dir() == stays


def test_concurrent_runs_are_refused(tmp_path: Path) -> None:
    root = tmp_path / f"{PREFIX}{'a' * 12}"
    with (
        FolderLock(root / "lock"),
        pytest.raises(LockedError, match="another run with the same options is writing"),
        hold_work(tmp_path, "a" * 64),
    ):
        pass


def test_unfinished_results_are_removed(tmp_path: Path) -> None:
    root = tmp_path / f"{PREFIX}{'b' * 12}"
    (root / "staging/00000.1").mkdir(parents=True)
    (root / "pause").touch()
    with hold_work(tmp_path, "b" * 64) as (work, _):
        assert not list((root / "staging").iterdir())
        assert not work.pause.exists()
    assert not root.exists()


def test_rows_are_allocated_and_read_back(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.reserve("original", FORM, 5)
    assert work.rows("original").stat().st_size == 5 * 48
    with work.rows("original").open("r+b") as file:
        file.seek(48)
        file.write(bytes([7]) * 48)
    work.reserve("original", FORM, 5)  # taking a run up again loses nothing
    rows = work.open_rows("original", FORM, 5)
    assert rows.shape == (5, 4, 4, 3)
    assert np.array_equal(rows.sum(axis=(1, 2, 3)), [0, 7 * 48, 0, 0, 0])


def test_full_disk_is_reported_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(SetupError, match=r"the images need 0\.1 GB in .* with --work"):
        Work(tmp_path).reserve("original", RowForm((1024, 1024), "uint8"), 50)


def test_unwritable_folder_is_a_one_line_error(tmp_path: Path) -> None:
    with (
        pytest.raises(SetupError, match="No such file"),
        hold_work(tmp_path / "absent", "c" * 64),
    ):
        pass


def test_stop_is_forwarded_by_a_file(tmp_path: Path) -> None:
    work, stop = Work(tmp_path), threading.Event()
    with forward_stop(stop, work):
        time.sleep(0.15)
        assert not work.pause.exists()
        stop.set()
        deadline = time.monotonic() + 20
        while not work.pause.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
