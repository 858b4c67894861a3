from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.yolo.config import Config
from curate.layouts.yolo.read import check_line, label_of
from tests.layouts.examples.example import jpeg, write


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.png", "train/labels/a.b.txt"),
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("my_images/a.jpg", "my_images/a.txt"),
    ],
)
def test_the_last_folder_of_images_is_replaced(image: str, label: str) -> None:
    assert label_of(image) == label


def test_a_dataset_as_roboflow_exports_it(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path, f"{split}/images/a.jpg", jpeg(1))
        write(tmp_path, f"{split}/labels/a.txt", "0 0.5 0.5 1 1\n")
    write(
        tmp_path, "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: [x]\n"
    )
    source = open_source(str(tmp_path))
    assert source.layout == "yolo"
    assert list(source.check()) == []
    assert [record.split for record in source.records()] == ["train", "valid"]


def test_trees_without_a_configuration_are_recognized(tmp_path: Path) -> None:
    write(tmp_path, "images/val/a.jpg", jpeg(1))
    write(tmp_path, "labels/val/a.txt", "5 0.5 0.5 1 1\n")
    source = open_source(str(tmp_path))
    assert source.layout == "yolo"
    assert list(source.check()) == []


def test_names_by_number_say_how_many_classes_there_are(tmp_path: Path) -> None:
    write(tmp_path, "images/a.jpg", jpeg(1))
    write(tmp_path, "labels/a.txt", "7 0.5 0.5 1 1\n")
    write(tmp_path, "data.yaml", "train: images\nnames: {0: a, 7: b}\n")
    assert list(open_source(str(tmp_path)).check()) == []
    write(tmp_path, "labels/a.txt", "8 0.5 0.5 1 1\n")
    with pytest.raises(DataError, match="class 8 is none of the 8"):
        list(open_source(str(tmp_path)).check(strict=True))


def test_poses_have_their_keypoints() -> None:
    config = Config(classes=1, keypoints=6)
    check_line("0 .5 .5 .1 .1 .2 .2 2 .3 .3 0", "x", config)
    with pytest.raises(DataError, match="kpt_shape differs"):
        check_line("0 .5 .5 .1 .1 .2 .2 2", "x", config)


ALIASES = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
)
MERGED = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60))]
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{ALIASES}\nnames: *a59", r"contains the YAML alias \*a0"),
        (f"{ALIASES}\nkpt_shape: [*a59, 1]\nnames: [x]", r"contains the YAML alias \*a0"),
        (f"{MERGED}\nnames: *a59", r"contains the YAML alias \*a0"),
        (f"names: {'[' * 5000}", "nested deeper than 16 levels"),
        (f"names: {'{a: ' * 5000}", "nested deeper than 16 levels"),
    ],
)
def test_a_configuration_that_expands_is_refused(text: str, line: str, tmp_path: Path) -> None:
    write(tmp_path, "images/a.jpg", jpeg(1))
    write(tmp_path, "data.yaml", f"{text}\ntrain: images\n")
    with pytest.raises(DataError, match=line):
        list(open_source(str(tmp_path)).check(strict=True))


def test_labels_that_only_differ_a_little_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a.jpg", jpeg(1))
    write(tmp_path, "labels/train/a.txt", "0 1.0004 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2 0.93\n")
    config = "names: [x]\ntrain: ../train/images\nval: /content/val/images\ntest: ../test/images\n"
    write(tmp_path, "data.yaml", config)
    configured, labels = open_source(str(tmp_path)).check()
    assert configured.startswith("1 problems in data.yaml; the first: ")
    assert "val is '/content/val/images'" in configured
    assert labels.startswith("2 problems in lines of labels; the first: ")
    assert "line 1: 1.0004 is not between 0 and 1" in labels


@pytest.mark.data
def test_real_photos(shared_data: Path, tmp_path: Path) -> None:
    for number, photo in enumerate(sorted((shared_data / "animals").glob("*.jpg"))[:12]):
        write(tmp_path, f"images/train/{photo.name}", photo.read_bytes())
        write(tmp_path, f"labels/train/{photo.stem}.txt", f"{number} 0.5 0.5 1 1\n")
    source = open_source(str(tmp_path))
    assert list(source.check()) == []
    assert sum(record.split == "train" for record in source.records()) == 12


CAPTION = "a man on a horse\n"
DOTA = "imagesource:GoogleEarth\ngsd:0.14\n937.0 913.0 921.0 912.0 923.0 874.0 940.0 875.0 ship 0\n"
LIST = "banded/banded_0002.jpg banded\n"


@pytest.mark.parametrize("text", [CAPTION, DOTA, LIST])
@pytest.mark.parametrize("place", ["labels/a.txt", "labels/train/a.txt", "labels/list.txt"])
def test_texts_that_are_no_labels_do_not_make_it_yolo(
    text: str, place: str, tmp_path: Path
) -> None:
    write(tmp_path, place.replace("labels", "images").replace(".txt", ".jpg"), jpeg(1))
    write(tmp_path, place, text)
    assert open_source(str(tmp_path)).layout == "imagefolder"


@pytest.mark.parametrize("text", ["", "\n", "0 .5 .5 .1 .1\n", "car .5 .5 .1 .1\n"])
def test_one_text_with_labels_is_enough(text: str, tmp_path: Path) -> None:
    write(tmp_path, "images/b.jpg", jpeg(1))
    write(tmp_path, "labels/a.txt", CAPTION)
    write(tmp_path, "labels/b.txt", text)
    assert open_source(str(tmp_path)).layout == "yolo"


@pytest.mark.parametrize("text", [CAPTION, DOTA, LIST])
@pytest.mark.parametrize("name", ["labels/b.txt", "labels/other.txt"])
def test_a_text_without_labels_is_left_out_and_counted(
    name: str, text: str, tmp_path: Path
) -> None:
    for stem in "ab":
        write(tmp_path, f"images/{stem}.jpg", jpeg(1))
    write(tmp_path, "labels/a.txt", "0 .5 .5 .1 .1\n")
    write(tmp_path, name, text)
    source = open_source(str(tmp_path))
    note = f"Text files without labels left out: 1, such as '{name}'."
    assert note in list(source.check(strict=True))
    files = {file.uri: file.format for file in source.sidecars()}
    assert files == {"labels/a.txt": "labels", name: ""}
    rows = [row for _, row in source.annotations(("category",))]
    assert rows == [{"category": "0"}]


def test_the_folders_of_darknet_are_read(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, f"data/obj/{name}.jpg", jpeg(1))
        write(tmp_path, f"data/obj/{name}.txt", "0 .5 .5 .1 .1\n")
    write(tmp_path, "data/obj.names", "face\n")
    write(tmp_path, "data/obj.data", "classes = 1\ntrain = data/train.txt\nvalid = data/test.txt\n")
    write(tmp_path, "data/train.txt", "data/obj/a.jpg\n")
    write(tmp_path, "data/test.txt", "data/obj/b.jpg\n")
    source = open_source(str(tmp_path))
    assert source.layout == "yolo"
    assert list(source.check(strict=True)) == []
    assert [record.split for record in source.records()] == ["train", "test"]
    formats = {file.uri: file.format for file in source.sidecars()}
    assert formats == {
        "data/obj.data": "names",
        "data/obj.names": "names",
        "data/obj/a.txt": "labels",
        "data/obj/b.txt": "labels",
        "data/test.txt": "list",
        "data/train.txt": "list",
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [("train2017.txt", "train"), ("val2017.txt", "val"), ("test-dev2017.txt", "test")],
)
def test_lists_may_have_a_year(name: str, split: str, tmp_path: Path) -> None:
    write(tmp_path, "images/x/a.jpg", jpeg(1))
    write(tmp_path, "labels/x/a.txt", "0 .5 .5 .1 .1\n")
    write(tmp_path, name, "./images/x/a.jpg\n")
    source = open_source(str(tmp_path))
    assert [record.split for record in source.records()] == [split]
    assert list(source.check(strict=True)) == []


def test_a_list_asks_once_for_each_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists have millions of lines, which no image need have."""
    write(tmp_path, "images/a.jpg", jpeg(1))
    write(tmp_path, "labels/a.txt", "0 .5 .5 .1 .1\n")
    write(tmp_path, "data.yaml", "train: train.txt\nval: val.txt\nnames: [x]\n")
    lines = "".join(f"./images/{number}.jpg\n" for number in range(200))
    write(tmp_path, "train.txt", f"./images/a.jpg\n{lines}./images/7.jpg\n")
    write(tmp_path, "val.txt", "images/a.jpg\nimages/8.jpg\nimages/8.jpg\n")
    source = open_source(str(tmp_path))
    asked: list[str] = []
    info = source.folder.info  # type: ignore[attr-defined]
    monkeypatch.setattr(
        source.folder,  # type: ignore[attr-defined]
        "info",
        lambda path: (asked.append(path), info(path))[1],
    )
    notes = list(source.check())
    assert len([path for path in asked if path.startswith("images/")]) <= 206
    assert [record.split for record in source.records()] == ["train"]
    assert (
        "1 problems in train.txt; the first: train.txt, line 202 names './images/7.jpg'" in notes[0]
    )
    assert "1 problems in val.txt; the first: val.txt, line 3 names 'images/8.jpg'" in notes[1]


@pytest.mark.parametrize("line", ["images/a.jpg", "../x/images/a.jpg", "data/images/a.jpg"])
def test_a_line_of_a_list_means_the_image_beside_it_first(line: str, tmp_path: Path) -> None:
    write(tmp_path, "lists/images/a.jpg", jpeg(1))
    write(tmp_path, "images/a.jpg", jpeg(2))
    write(tmp_path, "images/b.jpg", jpeg(3))
    write(tmp_path, "data.yaml", "train: lists/train.txt\nnames: [x]\n")
    source = open_source(str(tmp_path))
    if line.startswith(".."):
        with pytest.raises(DataError, match="leaves its folder"):
            source.find_listed(line, "lists/train.txt", "here")  # type: ignore[attr-defined]
        return
    found = source.find_listed(line, "lists/train.txt", "here")  # type: ignore[attr-defined]
    assert found == ("images/a.jpg" if line.startswith("data/") else "lists/images/a.jpg")
