from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.formats import walk
from curate.formats.folder import LocalFolder
from curate.formats.imagefolder import ImageFolder


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


def test_files_that_are_no_images_are_carried_or_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "labels.csv", "b/notes.txt", "clip.mp4", ".DS_Store", "._a.jpg", "x")
    others = {
        str(other.path): other.carried for other in ImageFolder(LocalFolder(tmp_path)).others()
    }
    assert others == {
        "labels.csv": True,
        "b/notes.txt": True,
        "clip.mp4": False,
        ".DS_Store": False,
        "._a.jpg": False,
        "x": False,
    }


def test_a_long_listing_is_merged_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_RUN", 7)
    names = [f"{number * 7919 % 100:02d}.png" for number in range(100)]
    touch(tmp_path, *names)
    assert [record.id for record in ImageFolder(LocalFolder(tmp_path)).records()] == sorted(names)


def test_a_link_inside_is_followed_and_a_loop_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [r.id for r in ImageFolder(LocalFolder(tmp_path)).records()] == ["a/x.png", "b/x.png"]
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    with pytest.raises(DataError, match="loop"):
        list(ImageFolder(LocalFolder(tmp_path)).records())


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=r"'gone\.png'.*nowhere"):
        list(ImageFolder(LocalFolder(tmp_path)).records())


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        ImageFolder(LocalFolder(tmp_path / "nothing"))


@given(st.lists(st.text("ab./-", min_size=1, max_size=6), max_size=4))
def test_parsing_never_fails(parts: list[str]) -> None:
    path = "/".join([*parts, "x.jpg"])
    assert ImageFolder(LocalFolder(Path())).parse(path).id == path
