from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.access.selection import expand_braces
from tests.layouts.shards import picture, read_all, write_tar


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{098..101}.tar", ["a-098.tar", "a-099.tar", "a-100.tar", "a-101.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{train,val}-{0..1}", ["train-0", "train-1", "val-0", "val-1"]),
    ],
)
def test_braces_are_expanded_as_in_a_shell(pattern: str, names: list[str]) -> None:
    assert expand_braces(pattern) == names


@pytest.mark.parametrize(
    "pattern", ["{a", "a}", "{a,{b,c}}", "{3..1}", "{0..99999999}", "{x}", "{0..9999}{0..9999}"]
)
def test_what_cannot_be_expanded_is_named(pattern: str) -> None:
    with pytest.raises(DataError):
        expand_braces(pattern)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        write_tar(tmp_path / f"in/x/train-{number:03d}.tar", [("1.jpg", picture(number))])
    (tmp_path / "in/x/labels.csv").write_text("a\n")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("pattern", "containers"),
    [
        ("x/train-{001..002}.tar", ["train-001.tar", "train-002.tar"]),
        ("x/train-000.tar", ["train-000.tar"]),
    ],
)
def test_only_selected_files_are_the_dataset(
    root: Path, pattern: str, containers: list[str]
) -> None:
    source = open_source(str(root / pattern))
    assert list(source.containers()) == containers
    assert list(source.sidecars()) == []
    again = open_source(source.uri, source.layout)
    assert read_all(again) == read_all(source) != {}


def test_a_missing_shard_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"1 of the 3 files.*train-003\.tar"):
        open_source(str(root / "x/train-{001..003}.tar"))
    with pytest.raises(DataError, match="1 of the 1 files"):
        open_source(str(root / "x/nothing.tar"))
    with pytest.raises(DataError, match=r"contains '\.\.'"):
        open_source(str(root / "no/../x/train-{000..001}.tar"))


def test_a_folder_with_braces_in_its_name_is_a_folder(root: Path) -> None:
    (root / "x").rename(root / "x{1,2}")
    assert len(list(open_source(str(root / "x{1,2}")).containers())) == 3
    source = open_source(str(root / "x{1,2}" / "train-{000..001}.tar"))
    assert len(read_all(open_source(source.uri))) == 2
