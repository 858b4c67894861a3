from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.core.errors import DataError
from curate.core.faces import TruthFace, TruthImage
from curate.core.geometry import Box
from curate.layouts.faces import iter_given_faces
from curate.layouts.faces.truth import load_truth

WIDER = """\
0--Parade/a.jpg
2
10 20 30 40 2 0 1 0 1 0
1 2 3 4 0 0 0 1 2 1
0--Parade/none.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/b.jpg
1
5 5 0 7 0 0 0 0 0 0
"""


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def face(xyxy: tuple[float, float, float, float], **fields: Any) -> dict[str, Any]:
    return {"xyxy": list(xyxy), **fields}


def test_the_text_format_of_wider_face(tmp_path: Path) -> None:
    images = list(load_truth(write(tmp_path / "wider_face_val_bbx_gt.txt", WIDER)).values())
    assert [image.id for image in images] == [
        "0--Parade/a.jpg",
        "0--Parade/none.jpg",
        "1--Handshaking/b.jpg",
    ]
    attributes = {"blur": "2", "expression": "0", "illumination": "1", "occlusion": "1"}
    assert images[0].faces[0] == TruthFace(Box(10, 20, 40, 60), {**attributes, "pose": "0"})
    assert images[0].faces[1].ignore
    assert images[1].faces == ()
    assert images[2].faces[0].ignore  # without an extent nothing can match it


def test_a_list_of_file_and_faces(tmp_path: Path) -> None:
    value = [
        {
            "file": "a.jpg",
            "width": 9,
            "height": 8,
            "faces": [face((1, 2, 3, 4), mask=True, age=3.0, note="", pose=None, more=[1])],
        }
    ]
    [image] = load_truth(write(tmp_path / "faces.json", value)).values()
    attributes = {"mask": "yes", "age": "3"}
    assert image == TruthImage("a.jpg", (TruthFace(Box(1, 2, 3, 4), attributes),), (9, 8))


def test_a_box_that_is_listed_several_times_is_one_face(tmp_path: Path) -> None:
    notes: list[str] = []
    one, two = face((1, 2, 3, 4), age=3), face((5, 2, 9, 4))
    value = [{"file": "a.jpg", "faces": [one, two]}, {"file": "b.jpg", "faces": [one]}]
    path = write(tmp_path / "faces.json", value)
    expected = load_truth(path, notes.append)
    assert notes == []
    write(path, value + value)
    assert load_truth(path, notes.append) == expected
    assert notes[0].endswith("count once: 3, the first in 'a.jpg'.")
    write(path, [{"file": "a.jpg", "faces": [one, one, two]}, value[1]])
    assert load_truth(path, notes.append) == expected
    assert notes[1].endswith("count once: 1, the first in 'a.jpg'.")
    write(path, [{"file": "a.jpg", "faces": [each]} for each in (one, two)] + value[1:])
    assert load_truth(path, notes.append) == expected  # entries of one image, a face each
    assert len(notes) == 2


def test_a_coco_annotation_that_is_listed_twice_is_one_face(tmp_path: Path) -> None:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    image = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8}
    value = {
        "images": [image],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [annotation, annotation, {**annotation, "bbox": [5, 2, 3, 4]}],
    }
    [found] = load_truth(write(tmp_path / "coco.json", value)).values()
    assert [each.box for each in found.faces] == [Box(1, 2, 4, 6), Box(5, 2, 8, 6)]
    with pytest.raises(DataError, match=r"images\[1\] has a duplicate id"):
        load_truth(write(tmp_path / "coco.json", {**value, "images": [image] * 2}))
    again = {
        "images": [image, {**image, "id": 2}],
        "annotations": [annotation, {**annotation, "image_id": 2}],
    }
    [found] = load_truth(write(tmp_path / "coco.json", {**value, **again})).values()
    assert len(found.faces) == 1


def test_a_box_of_zeros_is_not_a_face(tmp_path: Path) -> None:
    value = [{"file": "a.jpg", "faces": [face((0, 0, 0, 0), blur=0)]}]
    [image] = load_truth(write(tmp_path / "faces.json", value)).values()
    assert image.faces[0].ignore


@pytest.mark.parametrize(
    "text",
    ['[{"file": "a.png", "faces": [{"xyxy": [0, 0, 0, 0]}]}]', "a.png\n1\n5 5 0 7 0 0 0 0 0 0"],
)
def test_an_image_with_an_invalid_box_is_withheld(tmp_path: Path, text: str) -> None:
    """Nobody can say which face it was meant for."""
    (tmp_path / "source").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "source/a.png")
    path = write(tmp_path / "faces", text)
    summary = curate.blur(
        tmp_path / "source", tmp_path / "out", session=curate.Session(faces=path, workers=1)
    )
    assert summary.withheld == 1


def test_coco_with_attributes_crowds_and_categories(tmp_path: Path) -> None:
    value = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8},
            {"id": 2, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "masked face"}],
        "annotations": [
            {"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 2, "attributes": {"tone": "VI"}},
            {"image_id": 1, "bbox": [0, 0, 9, 9], "category_id": 1, "iscrowd": 1},
            {"image_id": 1, "bbox": [0, 0, 2, 2], "category_id": 1, "ignore": 1},
        ],
    }
    first, second = load_truth(write(tmp_path / "coco.json", value)).values()
    assert first.faces[0] == TruthFace(Box(1, 2, 4, 6), {"tone": "VI", "category": "masked face"})
    assert (first.faces[1].ignore, first.faces[1].crowd) == (True, True)
    assert (first.faces[2].ignore, first.faces[2].crowd) == (True, False)
    assert first.size == (9, 8)
    assert second == TruthImage("b.jpg")


def test_imagenets_json(tmp_path: Path) -> None:
    value = [{"url": "n1/a.jpg", "bboxes": [{"x0": 1, "y0": 2, "x1": 3, "y1": 4}]}]
    [image] = load_truth(write(tmp_path / "imagenet.json", value)).values()
    assert image == TruthImage("n1/a.jpg", (TruthFace(Box(1, 2, 3, 4)),))


def test_a_parquet_table_of_faces(tmp_path: Path) -> None:
    boxes = [face((1, 2, 3, 4), confidence=0.5, detectors=["a"], perceived_age="Adult")]
    path = tmp_path / "faces.parquet"
    rows = [{"id": "a", "width": 5, "height": 6, "faces": boxes}, {"id": "b", "faces": None}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    [image] = load_truth(path).values()
    faces = (TruthFace(Box(1, 2, 3, 4), {"perceived_age": "Adult"}),)
    assert image == TruthImage("a", faces, (5, 6))


def test_pascal_vocs_difficult_faces_are_ignored(tmp_path: Path) -> None:
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    write(
        tmp_path / "a.xml",
        "<annotation><filename>a.jpg</filename>"
        f"<object><name>face</name><pose>Left</pose><difficult>0</difficult>{box}</object>"
        f"<object><name>face</name><difficult>1</difficult>{box}</object></annotation>",
    )
    [image] = load_truth(tmp_path).values()
    assert image.faces[0] == TruthFace(Box(1, 2, 3, 4), {"pose": "Left"})
    assert image.faces[1].ignore


def test_shares_of_an_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    write(tmp_path / "images.txt", "a.jpg\n")
    write(tmp_path / "labels/a.txt", "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match="convert them to pixels"):
        load_truth(tmp_path)


def test_the_same_file_can_be_given_to_be_hidden(tmp_path: Path) -> None:
    path = write(tmp_path / "faces.json", [{"file": "a", "faces": [face((1, 2, 3, 4))]}])
    [given] = iter_given_faces(path)
    assert (given.id, given.boxes) == ("a", (Box(1, 2, 3, 4),))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "not a supported face-box file"),
        ("[{", "not valid JSON"),
        ([{"file": "a", "faces": [{}]}], "[0].faces[0] has no xyxy"),
        ([{"file": "a", "faces": 5}], "no url and bboxes"),
        ([{"file": "a", "faces": []}, {"url": "b"}], "[1] has no file and list of faces"),
        ([{"file": "a", "faces": [face((3, 2, 1, 4))]}], "faces[0] is not a box"),
        ([{"file": "a", "faces": [face((1, 2, 1, 4))]}], "faces[0] is empty"),
        ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "ends among the faces of 'a.jpg'"),
        ("a.jpg\n1\n1 2 3 4 0 0 0 0 0\n", "line 3: expected ten numbers"),
        ("a.jpg\n1\n1 2 3 x 0 0 0 0 0 0\n", "line 3: expected ten numbers"),
        ("a.jpg\n1\n1 2 -3 4 0 0 0 0 0 0\n", "line 3: expected ten numbers"),
        ("a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\nb\n", "line 4: expected the path of an image"),
        ("a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\nb.jpg\n", "line 5: expected the number of faces"),
    ],
)
def test_a_file_of_no_known_form_is_one_clear_line(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load_truth(write(tmp_path / "faces", value))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
