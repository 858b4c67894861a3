from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.core.truth import TruthFace, TruthImage
from curate.formats.detections import iter_detections
from curate.formats.faces import iter_given_faces
from curate.formats.truth import iter_truth

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


def test_wider_faces_own_text(tmp_path: Path) -> None:
    images = list(iter_truth(write(tmp_path / "wider_face_val_bbx_gt.txt", WIDER)))
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
    [image] = iter_truth(write(tmp_path / "faces.json", value))
    attributes = {"mask": "yes", "age": "3"}
    assert image == TruthImage("a.jpg", (TruthFace(Box(1, 2, 3, 4), attributes),), 9, 8)


def test_coco_with_attributes_crowds_and_categories(tmp_path: Path) -> None:
    value = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 9, "height": 8},
            {"id": 2, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "mask"}],
        "annotations": [
            {"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 2, "attributes": {"tone": "VI"}},
            {"image_id": 1, "bbox": [0, 0, 9, 9], "category_id": 1, "iscrowd": 1},
            {"image_id": 1, "bbox": [0, 0, 1, 1], "category_id": 1, "ignore": 1},
        ],
    }
    first, second = iter_truth(write(tmp_path / "coco.json", value))
    assert first.faces[0] == TruthFace(Box(1, 2, 4, 6), {"tone": "VI", "category": "mask"})
    assert (first.faces[1].ignore, first.faces[1].crowd) == (True, True)
    assert (first.faces[2].ignore, first.faces[2].crowd) == (True, False)
    assert (first.width, first.height) == (9, 8)
    assert second == TruthImage("b.jpg")


def test_imagenets_json(tmp_path: Path) -> None:
    value = [{"url": "n1/a.jpg", "bboxes": [{"x0": 1, "y0": 2, "x1": 3, "y1": 4}]}]
    [image] = iter_truth(write(tmp_path / "imagenet.json", value))
    assert image == TruthImage("n1/a.jpg", (TruthFace(Box(1, 2, 3, 4)),))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three rows as a manifest has them; the second is withheld, the third has no list."""
    boxes = [face((1, 2, 3, 4), confidence=0.5, detectors=["a", "b"], perceived_age="Adult")]
    rows = [
        {"id": "a", "outcome": "written", "reason": None, "width": 5, "height": 6, "faces": boxes},
        {"id": "b", "outcome": "withheld", "reason": "truncated: it ends early", "faces": boxes},
        {"id": "c", "outcome": "written", "reason": None, "faces": None},
    ]
    path = tmp_path / "faces.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_parquet_table_of_faces_is_truth(table: Path) -> None:
    [image] = iter_truth(table)
    assert image == TruthImage("a", (TruthFace(Box(1, 2, 3, 4), {"perceived_age": "Adult"}),), 5, 6)


def test_a_parquet_table_of_faces_is_detections(table: Path) -> None:
    first, second, third = iter_detections(table)
    assert first.detections is not None
    [detection] = first.detections
    assert (detection.confidence, detection.detector) == (0.5, "a+b")
    assert (second.detections, second.reason) == (None, "truncated: it ends early")
    assert third.detections is None


def test_a_box_without_a_confidence_is_certain_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    write(path, [{"file": "a", "faces": [face((1, 2, 3, 4))]}])
    [image] = iter_detections(path)
    assert image.detections is not None
    assert image.detections[0].confidence == 1.0
    write(path, [{"file": "a", "faces": [face((1, 2, 3, 4), confidence="high")]}])
    with pytest.raises(DataError, match="a confidence is 'high'"):
        list(iter_detections(path))


def test_given_faces_take_every_form_and_refuse_an_empty_box(tmp_path: Path) -> None:
    path = write(tmp_path / "faces.json", [{"file": "a", "faces": [face((1, 2, 3, 4))]}])
    assert list(iter_given_faces(path)) == [("a", [Box(1, 2, 3, 4)])]
    with pytest.raises(DataError, match=r"'1--Handshaking/b\.jpg' is empty"):
        list(iter_given_faces(write(tmp_path / "wider.txt", WIDER)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "neither Parquet nor JSON"),
        ("3", "no known file of faces"),
        ([{"file": "a", "faces": [{}]}], "a key or value is not as it should be"),
        ([{"file": "a", "faces": 5}], "a key or value is not as it should be"),
        ([{"file": "a", "faces": [face((3, 2, 1, 4))]}], "faces[0] is not a box"),
        ([{"file": "a", "faces": [face((1, 2, 1, 4))]}], "a face of 'a' is empty"),
        ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "ends among the faces of 'a.jpg'"),
        ("a.jpg\n1\n1 2 3 x 0 0 0 0 0 0\n", "line 3: want ten numbers"),
        ("a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\nb\n", "line 4: want the path of an image"),
        ("a.jpg\n1\n1 2 3 4 0 0 0 0 0 0\nb.jpg\n", "line 5: want the number of faces"),
        ("a.jpg\n1\n1 2 -3 4 0 0 0 0 0 0\n", "line 3 is not a box"),
    ],
)
def test_a_file_of_no_known_form_is_one_clear_line(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        list(iter_truth(write(tmp_path / "faces", value)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
