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
from curate.layouts.access import folder as access_folder
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


def test_it_behaves_like_the_same_local_folder(memory: Any, tmp_path: Path) -> None:
    folder = fill(memory)
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode() * 100)
    local = LocalFolder(tmp_path)
    assert [(x.path, x.size, x.regular) for x in folder.files()] == [
        (x.path, x.size, x.regular) for x in local.files()
    ]
    for path in ("", "a", "a/", "b/deep", "nothing", "a.jpg"):
        assert folder.list_names(path) == local.list_names(path), path
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


def test_a_stamp_is_the_same_listed_or_requested_and_changes_with_the_file(memory: Any) -> None:
    folder = fill(memory)
    listed = {info.path: info for info in folder.files()}
    assert {path: folder.info(path) for path in listed} == listed
    memory.pipe_file("/set/z.txt", b"another")
    assert folder.info("z.txt") != listed["z.txt"]


def test_a_listed_file_is_not_requested_again(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(memory)
    fail(monkeypatch, "info", AssertionError("asked for"))
    assert all(folder.info(info.path) is info for info in folder.files())
    with pytest.raises(SetupError):
        folder.info("z.txt")


def test_it_is_opened_again_by_its_uri(memory: Any) -> None:
    folder = fill(memory)
    again = open_folder(f"{folder.uri}/")
    assert isinstance(again, RemoteFolder)
    assert again.uri == "memory://set"
    assert list(again.files()) == list(folder.files())


def test_a_pattern_names_files(memory: Any) -> None:
    fill(memory, "x/s-0.tar", "x/s-1.tar", "x/s-2.tar")
    chosen = open_folder("memory://set/x/s-{0..1}.tar")
    assert [info.path for info in chosen.files()] == ["s-0.tar", "s-1.tar"]
    assert [info.path for info in open_folder("memory://set/x/s-2.tar").files()] == ["s-2.tar"]
    with pytest.raises(DataError, match=r"2 of the 4 files .* the first is 's-3\.tar'"):
        open_folder("memory://set/x/s-{1..4}.tar")


@pytest.mark.parametrize("path", ["", "../other/x.jpg", "a/../../x", "/etc/passwd", "a//b", "a\0"])
def test_a_path_outside_the_folder_is_never_requested(memory: Any, path: str) -> None:
    folder = fill(memory)
    memory.pipe_file("/other/x.jpg", b"x")
    assert folder.info(path) is None
    for act in (folder.open, folder.read):
        with pytest.raises(WithheldError, match=r"^name: "):
            act(path)


@pytest.mark.parametrize("key", ["a/../b.jpg", "a/./b.jpg", "a//b.jpg", "x" * 256])
def test_a_key_that_is_no_file_name_is_one_clear_line(memory: Any, key: str) -> None:
    folder = fill(memory)
    memory.store[f"/set/{key}"] = memory.store["/set/z.txt"]
    with pytest.raises(DataError, match="rename it"):
        list(folder.files())


def test_a_name_of_a_file_and_a_folder_is_one_clear_line(memory: Any) -> None:
    folder = fill(memory)
    memory.store["/set/a"] = memory.store["/set/z.txt"]
    with pytest.raises(DataError, match="'a' in SOURCE is both a file and a folder"):
        list(folder.files())


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://user:password@bucket/x", "s3://key@bucket", "s3://bucket/x?token=password"),
        *("https://host/x#password", "s3://user:pass/password@bucket"),
    ],
)
def test_a_uri_with_a_secret_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(
        UsageError, match="set credentials in the protocol's own configuration"
    ) as raised:
        open_folder(uri)
    assert "password" not in str(raised.value).replace("a password or", "")


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("memory://", "not a plain URI"),
        ("memory://a/../b", "not a plain URI"),
        ("zip://a.zip::memory://b", "not a plain URI"),
        ("file:///etc", "is local"),
        ("nothing://a", "unknown protocol"),
        ("memory://a.tar", "has no folder before its file"),
    ],
)
def test_an_invalid_uri_is_one_clear_line(uri: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        open_folder(uri)


def test_a_missing_folder_is_one_clear_line(memory: Any) -> None:
    fill(memory)
    for uri in ("memory://nothing", "memory://set/a/b.jpg"):
        with pytest.raises(DataError, match="is not a folder"):
            open_folder(uri)


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_names_its_extra(
    protocol: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise ImportError(f"install {package}")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(MissingExtraError, match=rf"{package}.*curate-dataset\[{protocol}\]"):
        open_folder(f"{protocol}://bucket/x")


def test_a_removed_file_means_that_source_has_changed(memory: Any) -> None:
    folder = fill(memory)
    for act in (folder.open, folder.read):
        with pytest.raises(SourceChangedError, match=r"'no\.jpg' was removed.*same command"):
            act("no.jpg")


def test_a_file_truncated_while_open_means_that_source_has_changed(memory: Any) -> None:
    folder = fill(memory)
    with folder.open("z.txt") as file:
        memory.pipe_file("/set/z.txt", b"short")
        with pytest.raises(SourceChangedError, match="truncated"):
            file.read()


def test_a_file_that_may_not_be_read_is_withheld_if_the_storage_is_accessible(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(memory)
    fail(monkeypatch, "cat_file", PermissionError("secret"))
    with pytest.raises(WithheldError, match=r"^unreadable: Permission denied$"):
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
def test_an_unavailable_storage_ends_the_run_with_one_line(
    memory: Any, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    folder = fill(memory)
    act = {"cat_file": folder.read, "ls": folder.list_names, "info": folder.info}[method]
    fail(monkeypatch, method, error)
    with pytest.raises(SetupError, match=r"memory://set cannot be .* same command") as raised:
        act("z.txt")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_range_that_cannot_be_read_ends_the_run_with_one_line(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(memory)
    with folder.open("z.txt") as file:
        fail(monkeypatch, "cat_file", TimeoutError())
        with pytest.raises(CurateError, match="cannot be read: TimeoutError"):
            file.read()


def test_a_file_is_read_in_ranges(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_AHEAD", 16)
    folder, data = fill(memory), os.urandom(1000)
    memory.pipe_file("/set/big", data)
    with folder.open("big") as file:
        assert b"".join(iter(lambda: file.read(7), b"")) == data
        file.seek(990)
        assert file.read(100) == data[990:]
        assert file.read(1) == b""


def test_no_more_than_the_limit_of_a_file_is_requested(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(memory)
    cat_file, sizes = memory.cat_file, []

    def count(*args: Any, **options: Any) -> bytes:
        data: bytes = cat_file(*args, **options)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(memory, "cat_file", count)
    monkeypatch.setattr(remote, "MAX_IMAGE", 100)
    monkeypatch.setattr(access_folder, "MAX_IMAGE", 100)
    memory.pipe_file("/set/b", bytes(100))
    assert folder.read("b") == bytes(100)
    memory.pipe_file("/set/b", bytes(5000))
    with pytest.raises(WithheldError, match="bomb"):
        folder.read("b")
    assert sizes == [100, 101]


def test_an_empty_file_of_a_storage_without_empty_ranges_is_read(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(memory)
    memory.pipe_file("/set/b", b"")
    fail(monkeypatch, "cat_file", OSError(errno.EINVAL, "The requested range is not satisfiable"))
    assert folder.read("b") == b""
