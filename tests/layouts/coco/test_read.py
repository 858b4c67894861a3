from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.layouts import open_folder, open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.coco.parse import is_coco
from curate.layouts.coco.read import Finder, image_folders
from tests.layouts.editing.outputs import edit, plan_for
from tests.layouts.examples.example import jpeg, write


@pytest.mark.parametrize(
    ("json_path", "image_path", "file_name", "split"),
    [
        ("instances.json", "a.jpg", "a.jpg", None),
        ("instances.json", "images/a.jpg", "a.jpg", None),
        ("instances.json", "images/a.jpg", "images/a.jpg", None),
        ("annotations/instances_val2017.json", "images/val2017/a.jpg", "a.jpg", "val"),
        ("annotations/instances_val2017.json", "val2017/a.jpg", "a.jpg", "val"),
        ("annotations/instances_val2017.json", "images/a.jpg", "a.jpg", "val"),
        ("annotations/x.json", "val2014/a.jpg", "val2014/a.jpg", "val"),
        ("train/_annotations.coco.json", "train/a.jpg", "a.jpg", "train"),
    ],
)
def test_images_are_found_in_their_usual_places(
    json_path: str, image_path: str, file_name: str, split: str | None, tmp_path: Path
) -> None:
    write(tmp_path, image_path, jpeg(1))
    images = [{"id": 1, "file_name": file_name}]
    annotations = [{"id": 1, "image_id": 1}]
    write(tmp_path, json_path, json.dumps({"annotations": annotations, "images": images}))
    source = open_source(str(tmp_path))
    assert source.layout == "coco"
    assert list(source.check()) == []
    [record] = source.records()
    assert (record.id, record.split) == (image_path, split)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"images": [{"id": 1, "file_name": "a', True),
        ('{"annotations": [{"id": 1, "image_id": 3}, {"', True),
        ('{"info": {}, "images": [], "annotations": []}', True),
        ('[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}]', False),
        ('[{"file": "a.jpg", "faces": []}]', False),
        ('{"images": ["a.jpg"]}', False),
        ("no json", False),
        ("", False),
    ],
)
def test_coco_is_recognized_by_its_start(text: str, expected: bool) -> None:
    assert is_coco(text.encode()) is expected


def test_many_json_files_are_described_in_one_line(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path, f"a{number}_val2017.json", '{"images": [], "annotations": []}')
    _, why = recognize(open_folder(str(tmp_path)))
    assert why.startswith("a0_val2017.json (split val), ")
    assert why.endswith(" and 5 more")


@pytest.mark.data
def test_real_photos_and_instances(shared_data: Path) -> None:
    source = open_source(str(shared_data / "coco"))
    assert source.layout == "coco"
    assert list(source.check()) == []
    assert sum(1 for _ in source.records()) == 50


def test_images_without_a_file_name_are_found_by_their_coco_url(tmp_path: Path) -> None:
    write(tmp_path, "train2017/000000000009.jpg", jpeg(1))
    write(tmp_path, "photos/000000000025.jpg", jpeg(2))
    url = "http://images.cocodataset.org"
    images = [{"id": 9, "coco_url": f"{url}/train2017/000000000009.jpg"}]
    annotations = [{"id": 1, "image_id": 9, "category_id": 3}]
    lvis = {"annotations": annotations, "images": images, "categories": [{"id": 3, "name": "x"}]}
    write(tmp_path, "lvis_v1_train.json", json.dumps(lvis))
    source = open_source(str(tmp_path))
    assert source.layout == "coco"
    [unlisted] = source.check(strict=True)
    assert "1 images are not listed" in unlisted
    out = tmp_path / "out"
    plan, files = plan_for(tmp_path, {"train2017/000000000009.jpg": [None]})
    plan.removed = frozenset({"train2017/000000000009.jpg"})
    edit(tmp_path, out, plan, files)
    edited = json.loads((out / "lvis_v1_train.json").read_text())
    [image] = edited["images"]
    assert image["coco_url"] == f"{url}/train2017/000000000009_aug1.jpg"
    assert [each["image_id"] for each in edited["annotations"]] == [image["id"]]


def test_a_json_file_of_images_with_a_coco_url_only_is_coco(tmp_path: Path) -> None:
    write(tmp_path, "test2017/1.jpg", jpeg(1))
    images = [{"id": 1, "coco_url": "http://x/test2017/1.jpg"}]
    write(tmp_path, "info_test.json", json.dumps({"images": images, "categories": []}))
    source = open_source(str(tmp_path))
    assert (source.layout, list(source.check(strict=True))) == ("coco", [])


@pytest.mark.parametrize(
    ("name", "files", "found"),
    [
        ("images/v1/patch0/a.jpg", ["train/patch0/a.jpg"], "train/patch0/a.jpg"),
        ("images/v1/p/a.jpg", ["train/p/a.jpg", "val/p/a.jpg"], "train/p/a.jpg"),
        ("x/images\\p\\a.jpg", ["data/p/a.jpg"], "data/p/a.jpg"),
        ("images/v1/p/a.jpg", ["one/p/a.jpg", "two/p/a.jpg"], None),  # of two
        ("images/v1/p/a.jpg", ["one/a.jpg"], None),  # in another folder
    ],
)
def test_a_name_is_found_by_the_end_of_its_path(
    name: str, files: list[str], found: str | None, tmp_path: Path
) -> None:
    for file in files:
        write(tmp_path, file, jpeg(1))
    folder, path = LocalFolder(tmp_path), "objects_train.json"
    assert Finder(folder, image_folders(folder, path), path).find(name, "x") == found


def test_duplicate_ids_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", jpeg(1))
    annotations = [{"id": 7, "image_id": 1, "bbox": [1, 2, 3, 4]}] * 3
    taco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
    write(tmp_path, "annotations.json", json.dumps(taco))
    [note] = open_source(str(tmp_path)).check()
    assert note.startswith("2 problems in annotations.json; the first: ")
    assert "annotations[1].id is 7, which is duplicated" in note
