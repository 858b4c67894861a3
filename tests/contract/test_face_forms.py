"""What every form of faces must hold: what is written is read back, and never a face less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError
from curate.core.faces import Face
from curate.core.geometry import Box, covered, scale, to_stored
from curate.layouts.faces import FORMS, SUFFIXES, iter_given_faces, save_faces
from curate.layouts.faces.boxes import FoundFaces, GivenFaces
from curate.manifest.faces import FacesEntry, iter_faces, join_faces, save_faces_part

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=8
).filter(lambda name: name.strip(". ") and name == name.strip())


@st.composite
def images(draw: st.DrawFn) -> list[FoundFaces]:
    found = []
    for folder, name in sorted(draw(st.sets(st.tuples(NAMES, NAMES), max_size=4))):
        width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
        boxes = []
        for _ in range(draw(st.integers(0, 3))):
            x0, x1 = sorted(draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
            y0, y1 = sorted(draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
            if x1 - x0 > 0.01 and y1 - y0 > 0.01:
                boxes.append(Box(x0, y0, x1, y1))
        orientation = draw(st.integers(1, 8))
        path = f"{folder}/{name}.jpg"
        found.append(FoundFaces(path, width, height, orientation, tuple(boxes)))
    return found


def read_back(path: Path) -> dict[str, GivenFaces]:
    joined: dict[str, GivenFaces] = {}
    for given_faces in iter_given_faces(path):
        before = joined.get(given_faces.id, GivenFaces(given_faces.id, ()))
        boxes = before.boxes + given_faces.boxes
        joined[given_faces.id] = GivenFaces(given_faces.id, boxes, given_faces.relative)
    return joined


def in_pixels(box: Box, image: FoundFaces) -> Box:
    across, down = image.width, image.height
    if image.orientation >= 5:
        across, down = down, across
    return to_stored(scale(box, across, down), image.orientation, image.width, image.height)


@pytest.mark.parametrize("form", SUFFIXES)
@given(found=images())
def test_what_is_written_is_read_back_and_no_box_shrinks(
    form: str, found: list[FoundFaces], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp(form) / f"faces{SUFFIXES[form]}"
    if form == "voc" and not found:
        return  # an empty folder is no file of faces
    save_faces(found, path, form)
    back = read_back(path)
    assert list(back) == sorted(back) or form != "imagenet"
    assert set(back) == {image.id for image in found}
    for image in found:
        assert len(back[image.id].boxes) == len(image.boxes)
        for box, read in zip(image.boxes, back[image.id].boxes, strict=True):
            stored = in_pixels(read, image) if back[image.id].relative else read
            assert covered(box, stored) > 1 - 1e-3
            slack = 1.0 if form == "voc" else 1e-3  # VOC has whole pixels, rounded outwards
            for before, after in zip(box.xyxy, stored.xyxy, strict=True):
                assert abs(before - after) <= slack


def test_every_form_that_can_be_written_is_exported() -> None:
    assert set(SUFFIXES) == {name for name in FORMS if hasattr(FORMS.resolve(name), "save_faces")}


def test_a_table_keeps_frames_and_passes_over_what_was_not_looked_at(tmp_path: Path) -> None:
    face = Face(Box(1, 2, 3.5, 4), 0.5, ("centerface",), "detector", (1, 3))
    entries = [
        FacesEntry(
            id="a.gif", split="train", category=None, source_sha256="0" * 64, source_bytes=9,
            width=8, height=8, orientation=1, faces=(face,),
        ),
        FacesEntry(
            id="b.jpg", split=None, category=None, source_sha256=None, source_bytes=None,
            reason="truncated: cut off",
        ),
    ]  # fmt: skip
    save_faces_part(entries, tmp_path / "part")
    join_faces([tmp_path / "part"], {"counts": {}}, tmp_path / "faces.parquet")
    assert list(iter_faces(tmp_path / "faces.parquet")) == entries
    [given_faces] = iter_given_faces(tmp_path / "faces.parquet")
    assert (given_faces.id, given_faces.boxes) == ("a.gif", (face.box,))
    assert given_faces.frames == ((1, 3),)
    assert given_faces.size == (8, 8)
    assert given_faces.fields[0]["confidence"] == 0.5


VOC = "<annotation><filename>a.jpg</filename>{}</annotation>"
OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
    "</bndbox></object>"
)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.xml": "<annotation>"}, "not well-formed XML"),
        ({"a.xml": VOC.format(OBJECT.format("dog", 1))}, "of class 'dog'"),
        ({"a.xml": VOC.format(OBJECT.format("face", "one"))}, "is not a box of"),
        ({"a.xml": VOC.format(OBJECT.format("face", 9))}, "reversed"),
        ({"a.xml": '<!DOCTYPE a [<!ENTITY b "c">]>' + VOC.format("")}, "document type"),
        ({"a.xml": "<annotation></annotation>"}, "names no file"),
        ({"images.txt": "a.jpg\n", "labels/a.txt": "0 .5 .5\n"}, "line 1, is not"),
        ({"images.txt": "a.jpg\n", "labels/a.jpg.txt": "0 .5 .5 nan .1\n"}, "not a box"),
        ({"images.txt": "a.jpg\n", "labels/a.txt": "0 .5 .5 0 .1\n"}, "empty"),
        ({"images.txt": "a.jpg\n", "labels/a.txt": "0 .5 .5 .9 .5 .9 .9\n"}, "line 1, is not"),
        ({"images.txt": "a.jpg\n", "labels/b.txt": "0 .5 .5 .1 .1\n"}, "no label file"),
        ({"readme.md": ""}, "not a supported face-box file"),
    ],
)
def test_a_damaged_folder_of_faces_is_one_clear_line(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list(iter_given_faces(tmp_path))


def test_labels_of_yolos_own_naming_are_found(tmp_path: Path) -> None:
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "images.txt").write_text("train/a.jpg\ntrain/b.jpg\n")
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.25 0.9\n")
    a, b = iter_given_faces(tmp_path)
    assert a == GivenFaces("train/a.jpg", (Box(0.25, 0.375, 0.75, 0.625),), relative=True)
    assert b == GivenFaces("train/b.jpg", (), relative=True)


CATEGORIES = [{"id": 1, "name": "face"}, {"id": 2, "name": "dog"}]
FACE_OF_0 = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{**FACE_OF_0, "category_id": "1"}]}, "the category '1', which"),
        ({"annotations": [{**FACE_OF_0, "category_id": 7}]}, "the category 7, which"),
        ({"annotations": [{**FACE_OF_0, "category_id": True}]}, "the category True, which"),
        ({"annotations": None}, "'annotations' is not a list"),
        ({"annotations": {"1": FACE_OF_0}}, "'annotations' is not a list"),
        ({"categories": {"1": "face"}}, "'categories' is not a list"),
    ],
)
def test_a_coco_file_loses_no_face_in_silence(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    whole = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [FACE_OF_0, {**FACE_OF_0, "id": 2, "category_id": 2}],
        "categories": CATEGORIES,
    }
    path = tmp_path / "faces.json"
    path.write_text(json.dumps(whole))
    assert sum(len(given_faces.boxes) for given_faces in iter_given_faces(path)) == 1
    path.write_text(json.dumps({**whole, **changes}))
    with pytest.raises(DataError, match=message):
        list(iter_given_faces(path))


@pytest.mark.parametrize("faces", ["", {}, None, 5])
def test_what_is_no_list_of_faces_is_not_taken_for_none(faces: object, tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    for item in ({"url": "a", "bboxes": faces}, {"file": "a", "faces": faces}):
        path.write_text(json.dumps([item]))
        with pytest.raises(DataError):
            list(iter_given_faces(path))
