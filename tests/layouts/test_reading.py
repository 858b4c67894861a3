from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from curate.core.errors import SetupError, SourceChangedError, WithheldError
from curate.layouts.access.folder import read_file


def read(path: Path) -> bytes:
    return read_file(path, "a.jpg")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)
    (tmp_path / "a.jpg").write_bytes(data)
    assert read(tmp_path / "a.jpg") == data


def test_a_file_that_is_gone_means_that_source_has_changed(tmp_path: Path) -> None:
    with pytest.raises(SourceChangedError, match=r"'a\.jpg'.*same command"):
        read(tmp_path / "a.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(SourceChangedError):
        read(tmp_path / "file" / "a.jpg")


def test_a_special_file_is_withheld_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(WithheldError, match="unreadable: it is not a regular file"):
        read(tmp_path / "a.jpg")
    with pytest.raises(WithheldError, match="unreadable: it is not a regular file"):
        read(tmp_path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG])
def test_an_error_of_one_file_withholds_it(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", lambda *_: raise_error(code))
    with pytest.raises(WithheldError, match="unreadable"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "code",
    [
        *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
        *(errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EREMOTEIO),
    ],
)
def test_an_error_of_the_storage_ends_the_run(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", lambda *_: raise_error(code))
    with pytest.raises(SetupError, match=r"'a\.jpg'.*same command"):
        read(tmp_path / "a.jpg")


def raise_error(code: int) -> int:
    raise OSError(code, os.strerror(code))
