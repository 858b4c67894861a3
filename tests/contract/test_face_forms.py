"""What every form of faces must hold: what is written is read back, and never a face less."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
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
        width, height = draw(st.integers(4, 5000)), draw(st.integers(4, 5000))
        boxes = []
        for _ in range(draw(st.integers(0, 3))):
            x0, x1 = sorted(draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
            y0, y1 = sorted(draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
            # A box within the first two pixels is refused: it looks like fractions.
            if x1 - x0 > 0.01 and y1 - y0 > 0.01 and max(x1, y1) > 2.1:
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
        ({"images.txt": "a.jpg\n", "labels/a.jpg.txt": "0 .5 .5 nan .1\n"}, "outside 0 to 1"),
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


BOX_OF = {"photo.jpg": "0 0.5 0.5 0.5 0.25\n", "photo.jpg.png": "0 0.25 0.25 0.5 0.5\n"}


def write_labels(path: Path, names: list[str], labels: dict[str, str]) -> None:
    (path / "labels").mkdir(parents=True)
    (path / "images.txt").write_text("".join(f"{name}\n" for name in names))
    for name, text in labels.items():
        (path / "labels" / f"{name}.txt").write_text(text)


def test_a_label_file_belongs_to_one_image(tmp_path: Path) -> None:
    write_labels(tmp_path, ["photo.jpg.png", "photo.jpg"], BOX_OF)
    assert {each.id: each.boxes for each in iter_given_faces(tmp_path)} == {
        "photo.jpg": (Box(0.25, 0.375, 0.75, 0.625),),
        "photo.jpg.png": (Box(0, 0, 0.5, 0.5),),
    }


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["photo.jpg", "photo.jpg.png"], ["photo.jpg"]),
        (["photo.jpg.png", "photo.jpg"], ["photo.jpg", "photo"]),
        (["a.jpg", "a.png"], ["a"]),
        (["a.jpg", "a.png", "a.gif"], ["a", "a.png"]),
        (["a.jpg", "a.png"], ["a", "a.png", "a.jpg"]),
    ],
)
def test_a_label_file_that_could_be_of_two_images_is_refused(
    names: list[str], labels: list[str], tmp_path: Path
) -> None:
    write_labels(tmp_path, names, dict.fromkeys(labels, BOX_OF["photo.jpg"]))
    with pytest.raises(DataError, match="could be the labels of"):
        list(iter_given_faces(tmp_path))


def test_images_with_one_stem_may_have_labels_by_both_conventions(tmp_path: Path) -> None:
    write_labels(tmp_path, ["a.jpg", "a.png"], {"a": BOX_OF["photo.jpg"], "a.png": ""})
    assert [len(each.boxes) for each in iter_given_faces(tmp_path)] == [1, 0]


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
        ({"categories": [*CATEGORIES, {"id": 1, "name": "person"}]}, "has the id 1 of another"),
        ({"categories": [*CATEGORIES, {"id": 1, "name": "face"}]}, "has the id 1 of another"),
        ({"categories": [*CATEGORIES, {"id": 0}]}, "has no 'name'"),
        ({"categories": [{"id": True, "name": "face"}]}, "has the id True"),
        ({"annotations": [{**FACE_OF_0, "image_id": "1"}]}, "image '1', which is absent"),
        ({"annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}]}, "no 'category_id'"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2}, "duplicate id"),
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


def coco_of(bbox: object, category: str = "face", **image: object) -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg", **image}],
            "categories": [{"id": 1, "name": category}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": bbox}],
        }
    )


def write_faces(text: str | bytes | dict[str, str], path: Path) -> Path:
    if isinstance(text, dict):
        for name, content in text.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(content)
    else:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def table_of(faces: object, **columns: object) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"id": "a.jpg", "faces": faces, **columns}]), target)
    return target.getvalue()


FRACTIONS = VOC.format(OBJECT.format("face", 0.2).replace("5", "0.6").replace(">1<", ">0.1<"))


@pytest.mark.parametrize(
    "text",
    [
        coco_of([0.28, 0.14, 0.36, 0.4]),
        coco_of([0.5, 0.5, 0.5, 0.5]),
        json.dumps([{"file": "a.jpg", "faces": [{"xyxy": [0.2, 0.1, 0.6, 0.5]}]}]),
        json.dumps([{"url": "a.jpg", "bboxes": [{"x0": 0.2, "y0": 0.1, "x1": 0.6, "y1": 0.5}]}]),
        "a.jpg\n1\n0.2 0.1 0.4 0.4 0 0 0 0 0 0\n",
        {"a.xml": FRACTIONS},
        table_of([{"xyxy": [0.2, 0.1, 0.6, 0.5]}]),
    ],
)
def test_fractions_are_not_read_as_pixels(
    text: str | bytes | dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"looks like fractions .*multiply by the width and height"):
        list(iter_given_faces(write_faces(text, tmp_path / "faces")))


def test_a_box_outside_its_image_is_not_taken_for_fractions(tmp_path: Path) -> None:
    """Whether it is outside is known only with the image, which is withheld then."""
    text = coco_of([-500, -500, 100, 100])
    *_, face = iter_given_faces(write_faces(text, tmp_path / "faces.json"))
    assert face.boxes == (Box(-500, -500, -400, -400),)


@pytest.mark.parametrize("line", ["181 148 141 174", "1.5 .5 .1 .1", "-5 -5 .1 .1", ".5 .5 2 .1"])
def test_pixels_are_not_read_as_fractions(line: str, tmp_path: Path) -> None:
    files = {"images.txt": "a.jpg\n", "labels/a.txt": f"0 {line}\n"}
    with pytest.raises(DataError, match="divide pixels by its width and height"):
        list(iter_given_faces(write_faces(files, tmp_path / "faces")))


@pytest.mark.parametrize(("width", "height"), [(90, 80), (90.0, 80.0), ("90", "80"), ("90.0", 80)])
def test_a_stated_size_is_used_however_it_is_written(
    width: object, height: object, tmp_path: Path
) -> None:
    text = coco_of([1, 2, 30, 40], width=width, height=height)
    first, *_ = iter_given_faces(write_faces(text, tmp_path / "faces.json"))
    assert first.size == (90, 80)


@pytest.mark.parametrize(
    ("width", "height"),
    [("x", 80), (None, 80), (0, 80), (9.5, 80), (-9, 80), ([9], 80), (True, 80)],
)
def test_a_size_that_cannot_be_compared_is_refused(
    width: object, height: object, tmp_path: Path
) -> None:
    text = coco_of([1, 2, 30, 40], width=width, height=height)
    with pytest.raises(DataError, match=r"images\[0\] has the width .* whole numbers of pixels"):
        list(iter_given_faces(write_faces(text, tmp_path / "faces.json")))


@pytest.mark.parametrize(
    ("category", "is_read"),
    [
        *[(name, True) for name in ("face", "Faces", "human face", "HumanFace", "FACE_1")],
        *[(name, False) for name in ("road surface", "interface", "preface", "typeface", "dog")],
        *[(name, False) for name in ("face mask", "face_shield", "FaceMask", "")],
    ],
)
def test_a_category_of_faces_is_recognized_by_whole_words(
    category: str, is_read: bool, tmp_path: Path
) -> None:
    coco = write_faces(coco_of([1, 2, 30, 40], category), tmp_path / "faces.json")
    voc = {"a.xml": VOC.format(OBJECT.format(category, 1))}
    for path in (coco, write_faces(voc, tmp_path / "voc")):
        if is_read:
            assert sum(len(each.boxes) for each in iter_given_faces(path)) == 1
        else:
            with pytest.raises(
                DataError, match=r"no category of that name|a face-box file has only"
            ):
                list(iter_given_faces(path))


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        *[
            (coco_of(value), "annotations[0].bbox is not a box: expected four numbers, x, y, width")
            for value in ([1, 2, 3], ["1", "2", "3", "4"], {"x": 1}, [1, 2, None, 4], 5, [[1]] * 4)
        ],
        (coco_of(None), "annotations[0] has no 'bbox'"),
        (coco_of([1, 2, 30, float("nan")]), "annotations[0].bbox is not a box"),
        ('{"images": [5], "annotations": []}', "images[0] is 5; expected an object"),
        ('{"images": [], "annotations": [null]}', "annotations[0] is None; expected an object"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": [], "name": "face"}]}',
            "categories[0] has the id",
        ),
        ('[{"file": "a", "faces": [5]}]', "[0].faces[0] has no xyxy"),
        ('[{"file": "a", "faces": [{"xyxy": 5}]}]', "[0].faces[0] is not a box"),
        ('[{"url": "a", "bboxes": [5]}]', "[0].bboxes[0] is not a box"),
        ('[{"url": "a", "bboxes": [{"x0": 1}]}]', "[0].bboxes[0] is not a box"),
        ("a.jpg\n99999999999999999999\n1 1 1 1 0 0 0 0 0 0\n", "line 2: 9999"),
        (table_of([{"xyxy": [1.0, 2.0, 3.0]}]), "faces of 'a.jpg'[0] is not a box: expected four"),
        (table_of([{"xyxy": [1.0, 2.0, 30.0, 40.0]}, None]), "an entry that is null"),
        (
            table_of([], transforms=[{"name": "review", "parameters": "{bad"}]),
            "the parameters of its review are not JSON with a state",
        ),
    ],
)
def test_a_malformed_entry_is_named_without_words_of_python(
    text: str | bytes, entry: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        list(iter_given_faces(write_faces(text, tmp_path / "faces")))
    assert entry in str(caught.value)
    assert len(str(caught.value)) < 400
    for words in ("object is not", "unpack", "operand", "could not convert", "islice", "Expecting"):
        assert words not in str(caught.value)


@pytest.mark.parametrize("faces", ["", {}, None, 5])
def test_what_is_no_list_of_faces_is_not_taken_for_none(faces: object, tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    for item in ({"url": "a", "bboxes": faces}, {"file": "a", "faces": faces}):
        path.write_text(json.dumps([item]))
        with pytest.raises(DataError):
            list(iter_given_faces(path))
