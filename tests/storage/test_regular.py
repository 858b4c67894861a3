from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.storage.regular import load_json, open_text, read_regular


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_link(path: Path) -> None:
    path.with_name("target").write_bytes(b"x")
    path.symlink_to("target")


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_link, Path.mkdir])
def test_non_regular_files_raise_without_blocking(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = Path("odd")
    make(path)
    readers = [read_regular] if make is make_link else [read_regular, load_json, open_text]
    for read in readers:
        with pytest.raises(OSError, match="not a regular file"):
            read(path)


def test_documents_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\ufeff[1]")
    assert load_json(tmp_path / "a.json") == [1]
    (tmp_path / "a.json").write_text("[" * 200)
    with pytest.raises(ValueError, match="nested"):
        load_json(tmp_path / "a.json")


def test_a_link_to_a_file_is_followed_where_asked(tmp_path: Path) -> None:
    make_link(tmp_path / "link")
    assert read_regular(tmp_path / "link", follow_links=True) == b"x"
