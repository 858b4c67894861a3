from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import fsspec
import pytest

from curate.core.errors import (
    CurateError,
    DataError,
    MissingExtraError,
    SetupError,
    SourceChangedError,
    UsageError,
    WithheldError,
)
from curate.layouts import open_folder
from curate.layouts.access import remote
from curate.layouts.access.folder import LocalFolder
from curate.layouts.access.remote import RemoteFolder

FILES = ("a.jpg", "a/b.jpg", "a-b/c.jpg", "a/é ü#?.jpg", "b/deep/er/x.png", "z.txt", "B.txt")


@pytest.fixture
def memory() -> Iterator[Any]:
    storage = fsspec.filesystem("memory")
    storage.store.clear()
    storage.pseudo_dirs[:] = [""]
    yield storage
    storage.store.clear()
    storage.pseudo_dirs[:] = [""]


def fill(memory: Any, *paths: str) -> RemoteFolder:
    for path in paths or FILES:
        memory.pipe_file(f"/set/{path}", path.encode() * 100)
    return RemoteFolder("memory://set")


def fail(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    def raise_it(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), method, raise_it)


def test_it_answers_as_the_same_folder_on_a_disk_does(memory: Any, tmp_path: Path) -> None:
    folder = fill(memory)
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode() * 100)
    local = LocalFolder(tmp_path)
    assert [(x.path, x.size, x.regular) for x in folder.leaves()] == [
        (x.path, x.size, x.regular) for x in local.leaves()
    ]
    for path in ("", "a", "a/", "b/deep", "nothing", "a.jpg"):
        assert folder.names(path) == local.names(path), path
    for path in FILES:
        assert folder.read(path) == local.read(path)
        with folder.open(path) as ours, local.open(path) as theirs:
            for offset, whence in ((3, os.SEEK_SET), (5, os.SEEK_CUR), (-7, os.SEEK_END)):
                assert ours.seek(offset, whence) == theirs.seek(offset, whence)
                assert ours.read(4) == theirs.read(4)
            assert ours.read() == theirs.read()


def test_two_open_files_do_not_disturb_each_other(memory: Any) -> None:
    folder = fill(memory)
    with folder.open("z.txt") as one, folder.open("z.txt") as other:
        assert one.read(3) == b"z.t"
        assert other.read(3) == b"z.t"
        assert one.read(3) == b"xtz"


def test_a_stamp_is_the_same_listed_and_asked_for_and_changes_with_the_file(memory: Any) -> None:
    folder = fill(memory)
    listed = {leaf.path: leaf for leaf in folder.leaves()}
    assert {path: folder.leaf(path) for path in listed} == listed
    memory.pipe_file("/set/z.txt", b"another")
    assert folder.leaf("z.txt") != listed["z.txt"]


def test_a_listed_file_is_not_asked_for_again(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(memory)
    fail(monkeypatch, "info", AssertionError("asked for"))
    assert all(folder.leaf(leaf.path) is leaf for leaf in folder.leaves())
    with pytest.raises(SetupError):
        folder.leaf("z.txt")


def test_it_is_opened_again_by_its_place(memory: Any) -> None:
    folder = fill(memory)
    again = open_folder(f"{folder.place}/")
    assert isinstance(again, RemoteFolder)
    assert again.place == "memory://set"
    assert list(again.leaves()) == list(folder.leaves())


def test_a_pattern_names_files(memory: Any) -> None:
    fill(memory, "x/s-0.tar", "x/s-1.tar", "x/s-2.tar")
    chosen = open_folder("memory://set/x/s-{0..1}.tar")
    assert [leaf.path for leaf in chosen.leaves()] == ["s-0.tar", "s-1.tar"]
    assert [leaf.path for leaf in open_folder("memory://set/x/s-2.tar").leaves()] == ["s-2.tar"]
    with pytest.raises(DataError, match=r"2 of the 4 files .* the first is 's-3\.tar'"):
        open_folder("memory://set/x/s-{1..4}.tar")


@pytest.mark.parametrize("path", ["", "../other/x.jpg", "a/../../x", "/etc/passwd", "a//b", "a\0"])
def test_a_path_that_leads_out_is_never_asked_for(memory: Any, path: str) -> None:
    folder = fill(memory)
    memory.pipe_file("/other/x.jpg", b"x")
    assert folder.leaf(path) is None
    for act in (folder.open, folder.read):
        with pytest.raises(WithheldError, match=r"^name: "):
            act(path)


@pytest.mark.parametrize("key", ["a/../b.jpg", "a/./b.jpg", "a//b.jpg", "x" * 256])
def test_a_key_that_no_disk_can_have_is_one_clear_line(memory: Any, key: str) -> None:
    folder = fill(memory)
    memory.store[f"/set/{key}"] = memory.store["/set/z.txt"]
    with pytest.raises(DataError, match="rename it"):
        list(folder.leaves())


def test_a_name_of_a_file_and_a_folder_is_one_clear_line(memory: Any) -> None:
    folder = fill(memory)
    memory.store["/set/a"] = memory.store["/set/z.txt"]
    with pytest.raises(DataError, match="'a' in SOURCE is a file and a folder"):
        list(folder.leaves())


@pytest.mark.parametrize(
    "place",
    [
        *("s3://user:password@bucket/x", "s3://key@bucket", "s3://bucket/x?token=password"),
        *("https://host/x#password", "s3://user:pass/password@bucket"),
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(place: str) -> None:
    with pytest.raises(UsageError, match="credentials by the protocol's own settings") as raised:
        open_folder(place)
    assert "password" not in str(raised.value).replace("a password or", "")


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("memory://", "no plain address"),
        ("memory://a/../b", "no plain address"),
        ("zip://a.zip::memory://b", "no plain address"),
        ("file:///etc", "is on this machine"),
        ("nothing://a", "unknown protocol"),
        ("memory://a.tar", "has no folder before its file"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_clear_line(place: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        open_folder(place)


def test_a_folder_that_is_not_there_is_one_clear_line(memory: Any) -> None:
    fill(memory)
    for place in ("memory://nothing", "memory://set/a/b.jpg"):
        with pytest.raises(DataError, match="is not a folder"):
            open_folder(place)


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_names_its_extra(
    protocol: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise ImportError(f"install {package}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(MissingExtraError, match=rf"{package}.*curate-dataset\[{protocol}\]"):
        open_folder(f"{protocol}://bucket/x")


def test_a_file_that_has_gone_means_that_source_has_changed(memory: Any) -> None:
    folder = fill(memory)
    for act in (folder.open, folder.read):
        with pytest.raises(SourceChangedError, match=r"'no\.jpg' is gone.*same command"):
            act("no.jpg")


def test_a_file_cut_off_while_it_is_open_means_that_source_has_changed(memory: Any) -> None:
    folder = fill(memory)
    with folder.open("z.txt") as file:
        memory.pipe_file("/set/z.txt", b"short")
        with pytest.raises(SourceChangedError, match="cut off"):
            file.read()


def test_a_file_that_may_not_be_read_is_withheld_if_the_rest_answers(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(memory)
    fail(monkeypatch, "cat_file", PermissionError("secret"))
    with pytest.raises(WithheldError, match=r"^unreadable: PermissionError$"):
        folder.read("z.txt")
    fail(monkeypatch, "info", PermissionError("secret"))
    with pytest.raises(SetupError, match="same command"):
        folder.read("z.txt")


@pytest.mark.parametrize(
    "error",
    [
        *(TimeoutError("secret"), ConnectionResetError("secret"), RuntimeError("secret")),
        *(OSError(errno.EREMOTEIO, "secret"), ValueError("secret")),
    ],
)
@pytest.mark.parametrize("method", ["cat_file", "ls", "info"])
def test_a_storage_that_does_not_answer_ends_the_run_with_one_line(
    memory: Any, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    folder = fill(memory)
    act = {"cat_file": folder.read, "ls": folder.names, "info": folder.leaf}[method]
    fail(monkeypatch, method, error)
    with pytest.raises(SetupError, match=r"memory://set cannot be .* same command") as raised:
        act("z.txt")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_piece_that_does_not_come_ends_the_run_with_one_line(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(memory)
    with folder.open("z.txt") as file:
        fail(monkeypatch, "cat_file", TimeoutError())
        with pytest.raises(CurateError, match="cannot be read: TimeoutError"):
            file.read()


def test_a_file_is_read_in_pieces(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_AHEAD", 16)
    folder, data = fill(memory), os.urandom(1000)
    memory.pipe_file("/set/big", data)
    with folder.open("big") as file:
        assert b"".join(iter(lambda: file.read(7), b"")) == data
        file.seek(990)
        assert file.read(100) == data[990:]
        assert file.read(1) == b""
