from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.editing import name_copy
from curate.layouts.editing.changes import rename, rename_stem
from tests.layouts.examples.example import write
from tests.layouts.shards import write_tar


def names(root: Path, record_id: str, suffix: str = ".jpg", layout: str = "auto") -> list[str]:
    source = open_source(str(root), layout)
    record = source.find(record_id)
    assert record is not None
    return [name_copy(source, record, number, suffix) for number in (1, 2)]


def test_a_copy_is_in_the_folder_of_its_source(tmp_path: Path) -> None:
    for name in ("train/dog/a.jpg", "B.c.JPEG", "x.webp"):
        write(tmp_path, name, b"")
    assert names(tmp_path, "train/dog/a.jpg") == ["train/dog/a_aug1.jpg", "train/dog/a_aug2.jpg"]
    assert names(tmp_path, "B.c.JPEG")[0] == "B.c_aug1.JPEG"
    assert names(tmp_path, "x.webp", ".png")[0] == "x_aug1.png"


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    for name in ("a.jpg", "a_aug1.jpg", "a_aug2.png"):
        write(tmp_path, name, b"")
    assert names(tmp_path, "a.jpg") == ["a_aug1_.jpg", "a_aug2_.jpg"]


def test_images_that_differ_in_their_suffix_only_have_copies_of_their_own(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.bmp", "a.png"):
        write(tmp_path, name, b"")
    found = {name: names(tmp_path, name, ".png")[0] for name in ("a.jpg", "a.bmp", "a.png")}
    assert found == {
        "a.jpg": "a_jpg_aug1.png",
        "a.bmp": "a_bmp_aug1.png",
        "a.png": "a_png_aug1.png",
    }


def test_a_sample_gets_a_key_of_its_own(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("x/a.b.seg.png", b""), ("c.jpg", b"")])
    assert names(tmp_path, "0.tar/x/a.b.seg.png", ".png")[0] == "0.tar/x/a_aug1.b.seg.png"
    assert names(tmp_path, "0.tar/c.jpg")[0] == "0.tar/c_aug1.jpg"


def test_a_name_that_would_be_too_long_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, "é" * 124 + ".jpg", b"")
    with pytest.raises(DataError, match="too long to name a copy after it"):
        names(tmp_path, "é" * 124 + ".jpg")


def test_the_spelling_of_a_name_in_an_annotation_is_kept() -> None:
    assert rename("./x/a.jpg", "train/x/a.jpg", "train/x/a_aug1.jpg") == "./x/a_aug1.jpg"
    assert rename("C:\\x\\a.jpg", "a.jpg", "a_aug1.jpg") == "C:\\x\\a_aug1.jpg"
    assert rename_stem("x/a.b", "x/a.b.jpg", "x/a.b_aug1.jpg") == "x/a.b_aug1"
    with pytest.raises(ValueError, match="not in the folder"):
        rename("a.jpg", "a.jpg", "x/a.jpg")
