from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.layouts.access import tree
from curate.layouts.access.folder import LocalFolder, follow_links
from curate.layouts.access.tree import is_text_path, iter_files


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def paths(root: Path) -> list[str]:
    return [path for path, _ in iter_files(root)]


def test_a_long_listing_is_merged_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_RUN", 7)
    names = [f"{number * 7919 % 100:02d}.png" for number in range(100)]
    touch(tmp_path, *names, os.fsdecode(b"\xff.png"))
    assert paths(tmp_path) == ["./\\xff.png", *sorted(names)]


@contextmanager
def nested(root: Path, name: str, depth: int) -> Iterator[None]:
    """Folders in folders with a file at the end: made and removed step by step."""
    before = Path.cwd()
    os.chdir(root)
    for _ in range(depth):
        Path(name).mkdir()
        os.chdir(name)
    Path("x.png").touch()
    try:
        yield
    finally:
        Path("x.png").unlink()
        for _ in range(depth):
            os.chdir("..")
            Path(name).rmdir()
        os.chdir(before)


def test_folders_inside_each_other_are_read_to_a_limit(tmp_path: Path) -> None:
    with nested(tmp_path, "d", 100):
        assert paths(tmp_path) == ["d/" * 100 + "x.png"]


@pytest.mark.parametrize("depth", [101, 1500])
def test_folders_nested_too_deeply_are_one_clear_line(depth: int, tmp_path: Path) -> None:
    with nested(tmp_path, "d", depth), pytest.raises(DataError, match="deeper than 100 levels"):
        paths(tmp_path)


def test_a_folder_may_have_some_links_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    for number in range(100):
        (tmp_path / f"b{number:03}").symlink_to(tmp_path / "a")
    assert len(paths(tmp_path)) == 101
    (tmp_path / "c").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="'c' in SOURCE is a symbolic link to a folder"):
        paths(tmp_path)


def test_a_path_that_is_too_long_is_one_clear_line(tmp_path: Path) -> None:
    with nested(tmp_path, "d" * 200, 30), pytest.raises(DataError, match="too long"):
        paths(tmp_path)


def test_a_link_inside_is_followed_and_a_loop_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert paths(tmp_path) == ["a/x.png", "b/x.png"]
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    with pytest.raises(DataError, match="'a/up' in SOURCE is a symbolic link that forms a loop"):
        paths(tmp_path)


@pytest.mark.parametrize("target", ["nothing.png", "gone.png"])
def test_a_broken_link_is_named(target: str, tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"'gone\.png'.*broken"):
        paths(tmp_path)


def test_messages_contain_the_name_of_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere", "out/a.png")
    (tmp_path / "out/b.png").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=r"'b\.png' in OUT is a symbolic link that points outside OUT"
    ):
        list(iter_files(tmp_path / "out", "OUT"))


def make_links(root: Path) -> Path:
    """A dataset as in the Hub's cache or with DVC: links to files and folders elsewhere."""
    touch(root, "blobs/0a1b", "store/x/b.png")
    dataset = root / "snapshots/main"
    (dataset / "data").mkdir(parents=True)
    (dataset / "data/a.png").symlink_to("../../../blobs/0a1b")
    (dataset / "more").symlink_to(root / "store/x")
    return dataset


def test_links_to_other_places_are_followed_if_permitted(tmp_path: Path) -> None:
    dataset = make_links(tmp_path)
    with pytest.raises(DataError, match=r"points outside SOURCE; .*--follow-links$"):
        paths(dataset)
    expected = ["data/a.png", "more/b.png"]
    assert [path for path, _ in iter_files(dataset, follow_links=True)] == expected
    with follow_links():
        folder = LocalFolder(dataset)
    assert [info.path for info in folder.files()] == expected  # as opened, wherever it is walked
    assert not LocalFolder(dataset).follow_links
    with pytest.raises(DataError, match=r"outside OUT; replace it with the file$"):
        list(iter_files(dataset, "OUT", follow_links=True))
    (tmp_path / "store/x/loop").symlink_to(tmp_path / "snapshots")
    with pytest.raises(DataError, match="forms a loop"):
        list(folder.files())


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/x.png")
    listing = os.scandir

    def refuse(path: bytes) -> object:
        if path.endswith(b"a"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cannot list the folder 'a' in SOURCE: Permission denied"):
        paths(tmp_path)


def test_a_folder_that_is_gone_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot access SOURCE: No such file"):
        paths(tmp_path / "nothing")


NAMES = st.lists(
    st.lists(st.sampled_from([b"a", b"\\xff", b"\xff", b"\\", b".", b"-", b"\xc3\xa4"]), min_size=1)
    .map(b"".join)
    .filter(lambda name: name.strip(b".")),
    min_size=1,
    max_size=3,
).map(b"/".join)


@given(st.sets(NAMES, min_size=1, max_size=12))
def test_paths_are_text_never_shared_and_sorted(
    tmp_path_factory: pytest.TempPathFactory, names: set[bytes]
) -> None:
    root = tmp_path_factory.mktemp("walk")
    made = {name + b"/x.png" for name in names}
    touch(root, *map(os.fsdecode, made))
    found = paths(root)
    assert len(set(found)) == len(made)
    assert [path.encode() for path in found] == sorted(path.encode() for path in found)
    readable = {path.encode() for path in found if is_text_path(path)}
    assert readable == {name for name in made if name.decode(errors="ignore").encode() == name}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("../.git/annex/objects/Xk/7g/SHA256E-s9--0.jpg/0.jpg", "git-annex .*`git annex get`"),
        ("../../.dvc/cache/files/md5/ab/cdef", "DVC .*`dvc pull`"),
        ("/mnt/shared/files/md5/ab/cdef", "DVC .*`dvc pull`"),
    ],
)
def test_a_link_without_content_names_the_command(
    target: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").symlink_to(target)
    with pytest.raises(DataError, match=rf"'a\.jpg' in SOURCE is a {message}"):
        list(iter_files(tmp_path))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.jpg", "is not a folder; pass the folder that contains the file"),
        ("a.zip", "is not a folder; unpack the archive and pass the folder"),
        ("nothing", "does not exist"),
    ],
)
def test_a_file_in_place_of_a_folder_is_refused_with_advice(
    name: str, advice: str, tmp_path: Path
) -> None:
    if name != "nothing":
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{advice}$"):
        LocalFolder(tmp_path / name)
