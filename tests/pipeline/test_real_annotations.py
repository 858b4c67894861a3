"""Annotations as public repositories and labeling tools write them, which `curate blur` carries."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.layouts import open_source
from curate.pipeline.sidecars import ANNOTATIONS, CAPTION, TABLE, Sidecars, rewrite_sidecars
from curate.pipeline.workspace import Workspace
from curate.recipe import Recipe
from tests.layouts.examples.example import accept_maps, jpeg, write

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
YAML = "train: images/train\nval: images/val\nnames: [a, b]\n"
METADATA = '{"file_name": "a.jpg", "text": "a dog"}\n'
TABLE_ROWS = "file_name,text\na.jpg,a dog\n"


def coco(name: str = "a.jpg", **annotation: Any) -> str:
    item = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], **annotation}
    images = [{"id": 1, "file_name": name}]
    categories = [{"id": 1, "name": "x"}]
    return json.dumps({"images": images, "annotations": [item], "categories": categories})


def rewrite(root: Path, out: Path, include: tuple[str, ...] = ()) -> tuple[Source, Sidecars]:
    source = open_source(str(root))
    workspace = Workspace(out)
    workspace.prepare()
    return source, rewrite_sidecars(workspace, source, Recipe(include=include), accept_maps)


def dataset(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        write(root, name, jpeg(1) if content == "" and name.endswith((".jpg", ".JPG")) else content)
    return root


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    ("name", "image", "text", "layout"),
    [
        ("annotations/instances.json", "a.jpg", coco(), "coco"),
        ("metadata.jsonl", "a.jpg", METADATA, "hf_folder"),
        ("metadata.csv", "a.jpg", TABLE_ROWS, "hf_folder"),
        ("data.yaml", "images/train/a.jpg", YAML, "yolo"),
    ],
)
def test_a_byte_order_mark_states_the_encoding(
    encoding: str, name: str, image: str, text: str, layout: str, tmp_path: Path
) -> None:
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    dataset(tmp_path / "in", {image: "", name: mark + text.encode(encoding)})
    source, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert source.layout == layout
    assert not any("problem" in line for line in source.check())
    assert (sidecars.folder / name).read_bytes() == text.encode()


def test_text_that_is_not_in_its_encoding_is_one_line_with_its_name(tmp_path: Path) -> None:
    text = codecs.BOM_UTF16_LE + METADATA.encode("utf-16-le") + b"\0\xd8\n"
    dataset(tmp_path / "in", {"a.jpg": "", "sub/metadata.jsonl": text, "metadata.jsonl": METADATA})
    with pytest.raises(DataError, match=r"sub/metadata\.jsonl is not valid utf-16 text"):
        rewrite(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("fill", [0, 65527, 65530, 65535])
def test_numbers_that_only_python_writes_are_read(value: str, fill: int, tmp_path: Path) -> None:
    start = '{"info": "' + "NaN " * 3 + '", "images": [{"id": 1, "file_name": "a.jpg"}], "x": '
    start = start + '"' + "x " * ((fill - len(start)) // 2) + '"' if fill else start + "0"
    text = start + ', "annotations": [{"id": 1, "image_id": 1, "score": ' + value + "}]}"
    dataset(tmp_path / "in", {"a.jpg": "", "annotations.json": text})
    source, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert source.layout == "coco"
    assert list(source.check(strict=True)) == []
    written = json.loads((sidecars.folder / "annotations.json").read_text())
    assert f'"score": {value}' in json.dumps(written["annotations"])
    assert written["info"] == "NaN NaN NaN "


@pytest.mark.parametrize(
    ("json_path", "image", "name"),
    [
        ("photos_annotations/x.json", "photos/a.jpg", "a.jpg"),
        ("some/deeper/x.json", "a.jpg", "a.jpg"),
        ("ds/annotations/train.json", "ds/train/images/a.jpg", "train/images/a.jpg"),
        ("annotations/x.JSON", "images/a.jpg", "a.jpg"),
        ("result.json", "images/a.jpg", "images\\a.jpg"),
    ],
)
def test_coco_is_found_in_folders_of_any_name(
    json_path: str, image: str, name: str, tmp_path: Path
) -> None:
    dataset(tmp_path / "in", {image: "", json_path: coco(name)})
    source, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert source.layout == "coco"
    assert list(source.check(strict=True)) == []
    assert (sidecars.folder / json_path).is_file()


def test_a_name_on_another_computer_is_a_note(tmp_path: Path) -> None:
    exports = ("/home/me/images/a.jpg", "../../label-studio/data/upload/1/a.jpg", "C:\\x\\a.jpg")
    for number, name in enumerate(exports):
        root = dataset(tmp_path / str(number), {"images/a.jpg": "", "result.json": coco(name)})
        source, sidecars = rewrite(root, tmp_path / f"out{number}")
        notes = list(source.check())
        assert notes[0].startswith("1 problems in result.json; the first: images[0].file_name is ")
        assert json.loads((sidecars.folder / "result.json").read_text()) == json.loads(coco(name))


@pytest.mark.parametrize(
    ("rows", "written"),
    [
        ("a.jpg,a dog,\n", "a.jpg,a dog\n"),
        ("a.jpg\n", "a.jpg,\n"),
        ("a.jpg,a dog,,,\r\n", "a.jpg,a dog\n"),
        ('"a.jpg","say ""x""",\n', 'a.jpg,"say ""x"""\n'),
    ],
)
def test_rows_with_missing_cells_or_commas_at_the_end(
    rows: str, written: str, tmp_path: Path
) -> None:
    dataset(tmp_path / "in", {"a.jpg": "", "metadata.csv": f"file_name,text\n{rows}"})
    source, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert list(source.check(strict=True)) == []
    assert (sidecars.folder / "metadata.csv").read_bytes().decode() == f"file_name,text\n{written}"


def test_a_row_with_more_values_than_columns_is_one_line(tmp_path: Path) -> None:
    dataset(tmp_path / "in", {"a.jpg": "", "metadata.csv": "file_name,text\na.jpg,a,b\n"})
    with pytest.raises(DataError, match=r"\(metadata\.csv, line 2 has 3 values for 2 columns\)"):
        rewrite(tmp_path / "in", tmp_path / "out")


def test_labels_beside_their_images_are_labels(tmp_path: Path) -> None:
    files = {"train/a.jpg": "", "train/a.txt": "0 .5 .5 .2 .2\n", "train/notes.txt": "hello\n"}
    dataset(tmp_path / "in", {**files, "data.yaml": "train: train\nval: train\nnames: [a]\n"})
    source, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert list(source.check(strict=True)) == []
    assert (sidecars.folder / "train/a.txt").read_text() == "0 .5 .5 .2 .2\n"
    reasons = {line["path"]: line.get("reason") for line in sidecars.lines()}
    assert reasons["train/notes.txt"] == ANNOTATIONS


def test_a_darknet_dataset_as_cvat_exports_it(tmp_path: Path) -> None:
    files = {
        "obj_train_data/a.jpg": "",
        "obj_train_data/a.txt": "0 .5 .5 .2 .2\n",
        "obj.names": "person\n",
        "obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n",
        "train.txt": "data/obj_train_data/a.jpg\n",
    }
    source, sidecars = rewrite(dataset(tmp_path / "in", files), tmp_path / "out")
    assert source.layout == "yolo"
    assert list(source.check(strict=True)) == []
    assert [record.split for record in source.records()] == ["train"]
    for name, text in files.items():
        assert name.endswith(".jpg") or (sidecars.folder / name).read_text() == text


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"images/a.jpg": ""}, "annotations/instances.json"),
        ({"a.jpg": ""}, "metadata.jsonl"),
        ({"a.jpg": ""}, "metadata.csv"),
        ({"images/a.jpg": "", "data.yaml": YAML}, "labels/a.txt"),
        ({"images/a.jpg": ""}, "data.yaml"),
        ({"JPEGImages/a.jpg": ""}, "Annotations/a.xml"),
    ],
)
def test_a_pointer_in_place_of_an_annotation_ends_the_run(
    files: dict[str, str | bytes], name: str, tmp_path: Path
) -> None:
    dataset(tmp_path / "in", {**files, name: POINTER})
    with pytest.raises(DataError, match=rf"{name}: .*git lfs pull"):
        rewrite(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("annotations/a.xml", CAPTION),
        ("captions/a.txt", CAPTION),
        ("oidv6-train-annotations-bbox.csv", TABLE),
        ("labels/bdd100k_labels_images_train.json", ANNOTATIONS),
        ("annotations.xml", ANNOTATIONS),
        ("project-1.json", ANNOTATIONS),
        ("area.geojson", ANNOTATIONS),
        ("annotation_train.odgt", ANNOTATIONS),
        ("Annotation/n1-dog/n1_7", ANNOTATIONS),
        ("clip.mp4", "not an annotation of imagefolder"),
    ],
)
def test_annotations_of_other_formats_are_left_out_and_can_be_included(
    name: str, reason: str, tmp_path: Path
) -> None:
    dataset(tmp_path / "in", {"images/a.jpg": "", name: "x"})
    _, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert [line["reason"] for line in sidecars.lines()] == [reason]
    _, included = rewrite(tmp_path / "in", tmp_path / "again", (name,))
    assert (included.folder / name).read_text() == "x"


@pytest.mark.parametrize("top", ["", "ds/", "my set/v1/"])
@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("hf_folder", {"train/a.jpg": "", "train/metadata.jsonl": METADATA}),
        ("coco", {"train/a.jpg": "", "annotations/x_train.json": coco("train/a.jpg")}),
        ("yolo", {"images/train/a.jpg": "", "labels/train/a.txt": "0 .5 .5 .1 .1\n"}),
        (
            "yolo",
            {
                "images/a.jpg": "",
                "labels/a.txt": "0 .5 .5 .1 .1\n",
                "data.yaml": "train: train.txt\nval: images\nnames: [a]\n",
                "train.txt": "images/a.jpg\n",
            },
        ),
        (
            "voc",
            {
                "JPEGImages/a.jpg": "",
                "Annotations/a.xml": "<annotation><filename>a.jpg</filename><size><width>8</width>"
                "<height>8</height></size></annotation>",
                "ImageSets/Main/train.txt": "a\n",
            },
        ),
    ],
)
def test_a_dataset_in_a_folder_of_another_is_read_as_it_is(
    layout: str, files: dict[str, str | bytes], top: str, tmp_path: Path
) -> None:
    dataset(tmp_path / "in", {f"{top}{name}": content for name, content in files.items()})
    source, sidecars = rewrite(tmp_path / "in", tmp_path / "out")
    assert source.layout == layout
    assert list(source.check(strict=True)) == []
    assert [record.split for record in source.records()] == ["train"]
    assert all(line["carried"] for line in sidecars.lines())
