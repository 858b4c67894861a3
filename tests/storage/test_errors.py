from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from curate.core.errors import SetupError
from curate.storage.errors import describe_os_error, find_wrong_encoding


@pytest.mark.parametrize(
    ("number", "name", "line"),
    [
        (errno.ENOSPC, "out/a", "there is no space left for out; free some"),
        (errno.EACCES, "out/a", "out/a cannot be read: Permission denied"),
        (errno.EACCES, None, "out cannot be read: Permission denied"),
        (
            errno.EFBIG,
            "out/.a.partial",
            "out/a cannot be written: it exceeds the limit on the size",
        ),
        (errno.EROFS, "out/.p.partial", "out/p cannot be read: Read-only file system"),
        (errno.EROFS, "out/a.json.partial", "out/a.json cannot be read: Read-only file system"),
        (errno.EIO, "out/a\n\x1b", r"out/a\n\x1b: Input/output error"),
    ],
)
def test_os_errors_become_one_line(number: int, name: str | None, line: str) -> None:
    error = OSError(number, os.strerror(number), name)
    described = describe_os_error(error, Path("out"), "read")
    assert isinstance(described, SetupError)
    assert str(described).startswith(line)
    assert str(described).isprintable()


def test_names_of_files_are_read_as_utf_8_or_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_wrong_encoding() is None
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    assert "set PYTHONUTF8=1" in str(find_wrong_encoding())
