from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError, WithheldError
from curate.layouts.access.folder import LocalFolder
from curate.layouts.imagefolder import ImageFolder


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_records_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["a.jpg", "a/z.png", "a-b/c.JPEG", "B.webp", "a/b/c/d.tif", "ä.bmp"]
    touch(tmp_path, *names)
    ids = [record.id for record in ImageFolder(LocalFolder(tmp_path)).records()]
    assert ids == sorted(names, key=lambda name: name.encode())


@pytest.mark.parametrize(
    ("path", "split", "category"),
    [
        ("train/n01/x.jpg", "train", "n01"),
        ("n01/x.jpg", None, "n01"),
        ("x.jpg", None, None),
        ("val/x.jpg", "val", None),
        ("train/a/b/x.jpg", "train", "b"),
        ("Test/cat/x.jpg", "Test", "cat"),
    ],
)
def test_split_and_category(path: str, split: str | None, category: str | None) -> None:
    record = ImageFolder(LocalFolder(Path())).parse(path)
    assert (record.id, record.split, record.category) == (path, split, category)


def test_sidecar_files_are_copied_or_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "labels.csv", "b/notes.txt", "clip.mp4", ".DS_Store", "._a.jpg", "x")
    others = {
        str(other.path): other.copied for other in ImageFolder(LocalFolder(tmp_path)).sidecars()
    }
    assert others == {
        "labels.csv": True,
        "b/notes.txt": True,
        "clip.mp4": False,
        ".DS_Store": False,
        "._a.jpg": False,
        "x": False,
    }


def test_only_regular_files_are_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    source = ImageFolder(LocalFolder(tmp_path))
    assert list(source.records()) == []
    assert [(other.uri, other.copied) for other in source.sidecars()] == [("a.jpg", False)]


def test_a_name_that_is_not_utf_8_is_neither_read_nor_copied(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"train/caf\xe9/x.png"), os.fsdecode(b"caf\xe9.csv"))
    source = ImageFolder(LocalFolder(tmp_path))
    [record] = source.records()
    assert record == ImageFolder(LocalFolder(Path())).parse("train/./caf\\xe9/x.png")
    assert (record.split, record.category) == ("train", "caf\\xe9")
    with pytest.raises(WithheldError, match="UTF-8"):
        source.read(record)
    assert [other.copied for other in source.sidecars()] == [False]


def test_a_source_that_is_not_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        ImageFolder(LocalFolder(tmp_path / "nothing"))


@given(st.lists(st.text("ab./-", min_size=1, max_size=6), max_size=4))
def test_parsing_never_fails(parts: list[str]) -> None:
    path = "/".join([*parts, "x.jpg"])
    assert ImageFolder(LocalFolder(Path())).parse(path).id == path
