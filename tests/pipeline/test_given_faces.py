"""Boxes that are given to the main job instead of a detector."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate import Box, Recipe, Session
from curate.core.entries import Outcome
from curate.core.errors import DataError, UsageError
from curate.manifest.faces import iter_faces
from tests.pipeline.conftest import FAST, entries


def write_coco(path: Path) -> None:
    value = {
        "images": [{"id": 5, "file_name": "0.png"}, {"id": 6, "file_name": "1.png"}],
        "annotations": [{"id": 1, "image_id": 5, "bbox": [10, 20, 30, 40]}],
    }
    path.write_text(json.dumps(value))


def write_imagenet(path: Path) -> None:
    box = {"x0": 10, "y0": 20, "x1": 40, "y1": 60}
    value = [{"url": "small/0.png", "bboxes": [box]}, {"url": "small/1.png", "bboxes": []}]
    path.write_text(json.dumps(value))


def write_parquet(path: Path) -> None:
    rows = [{"id": "small/0.png", "faces": [{"xyxy": [10.0, 20.0, 40.0, 60.0]}]}]
    rows.append({"id": "small/1.png", "faces": []})
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("write", [write_coco, write_imagenet, write_parquet])
def test_given_faces_replace_detection(
    write: Callable[[Path], None], small: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    write(faces)
    (tmp_path / "parent").mkdir()
    small.rename(tmp_path / "parent" / "small")
    recipe = Recipe(margin=0.0, faces_match="suffix")
    session = Session(faces=faces, allow_missing=True)
    curate.blur(tmp_path / "parent", tmp_path / "out", recipe, session)
    run = json.loads((tmp_path / "out/manifest/run.json").read_text())
    assert run["recipe"]["faces_sha256"] == hashlib.sha256(faces.read_bytes()).hexdigest()
    assert run["detectors"] == []
    found = entries(tmp_path / "out")
    [face] = found["small/0.png"].faces
    assert face.box == Box(10, 20, 40, 60)
    assert face.decided_by == "file"
    assert found["small/1.png"].outcome is Outcome.WRITTEN
    # An image without an entry in the file has not been looked at.
    assert found["small/2.png"].outcome is Outcome.WITHHELD
    assert str(found["small/2.png"].reason).startswith("not-looked-at")


def test_a_given_face_outside_its_image_withholds_it(small: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces.json"
    faces.write_text(
        json.dumps([{"url": "0.png", "bboxes": [{"x0": 9e3, "y0": 0, "x1": 9.1e3, "y1": 9}]}])
    )
    session = Session(faces=faces, allow_missing=True)
    curate.blur(small, tmp_path / "out", Recipe(), session)
    assert "outside" in str(entries(tmp_path / "out")["0.png"].reason)


@pytest.mark.parametrize(
    "form",
    ["coco", "table", "yolo"],
)
def test_a_given_face_too_small_for_one_withholds_its_image(
    form: str, small: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    if form == "coco":
        images = [{"id": 5, "file_name": "0.png"}]
        boxes = [{"id": 1, "image_id": 5, "bbox": [10.2, 20, 0.6, 1.4]}]
        faces.write_text(json.dumps({"images": images, "annotations": boxes}))
    elif form == "table":
        row = {"id": "0.png", "faces": [{"xyxy": [10.0, 20.0, 11.0, 21.0]}]}
        pq.write_table(pa.Table.from_pylist([row]), faces)
    else:
        (faces / "labels").mkdir(parents=True)
        (faces / "images.txt").write_text("0.png\n")
        (faces / "labels/0.txt").write_text("0 .5 .5 .001 .001\n")  # divided twice
    curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces, allow_missing=True))
    assert "smaller than 2 pixels" in str(entries(tmp_path / "out")["0.png"].reason)


def test_given_faces_that_could_mean_two_images_are_refused(small: Path, tmp_path: Path) -> None:
    (small / "a").mkdir()
    shutil.copy(small / "0.png", small / "a" / "0.png")
    shutil.copytree(small / "a", small / "b")
    (small / "0.png").unlink()
    faces = tmp_path / "faces.json"
    faces.write_text(json.dumps([{"url": "0.png", "bboxes": []}]))
    session = Session(faces=faces, allow_missing=True)
    with pytest.raises(DataError, match="could mean"):
        curate.blur(small, tmp_path / "out", Recipe(faces_match="suffix"), session)


def test_faces_of_another_split_are_not_used(small: Path, tmp_path: Path) -> None:
    """An id names an image in full; the end of a path counts only where the user says so."""
    (small / "train").mkdir()
    for number in range(6):
        (small / f"{number}.png").rename(small / "train" / f"{number}.png")
    faces = tmp_path / "faces.json"
    faces.write_text(json.dumps([{"url": f"{n}.png", "bboxes": []} for n in range(6)]))
    with pytest.raises(DataError, match="--faces-match suffix"):
        curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces))
    assert not (tmp_path / "out").exists()
    summary = curate.blur(
        small, tmp_path / "out", Recipe(faces_match="suffix"), Session(faces=faces)
    )
    assert summary.written == 6


def test_an_exact_id_is_never_ambiguous(small: Path, tmp_path: Path) -> None:
    (small / "a").mkdir()
    shutil.copy(small / "0.png", small / "a" / "0.png")
    faces = tmp_path / "faces.json"
    lines = [{"url": f"{n}.png", "bboxes": []} for n in range(6)]
    faces.write_text(json.dumps(lines))
    session = Session(faces=faces, allow_missing=True)
    curate.blur(small, tmp_path / "out", Recipe(faces_match="suffix"), session)
    found = entries(tmp_path / "out")
    assert found["0.png"].outcome is Outcome.WRITTEN
    assert found["a/0.png"].outcome is Outcome.WITHHELD


def test_images_without_an_entry_end_the_run_unless_allowed(small: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces.json"
    urls = ["0.png", "of/another.png"]
    faces.write_text(json.dumps([{"url": url, "bboxes": []} for url in urls]))
    said: list[str] = []
    with pytest.raises(DataError, match=r"no entry for 5 images, such as '1.png'"):
        curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces, notify=said.append))
    assert said[0] == "SOURCE is imagefolder: a folder of images."
    assert "1 images of SOURCE" in said[1]
    assert "1 of its 2 ids are not in SOURCE" in said[1]


def test_a_recipe_that_names_other_faces_is_refused(small: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces.json"
    faces.write_text(json.dumps([{"url": "0.png", "bboxes": []}]))
    recipe = Recipe(faces_sha256="a" * 64)
    for session in (Session(faces=faces), Session()):
        with pytest.raises(UsageError, match="needs the faces file with sha256 aaaaaaaaaaaa"):
            curate.blur(small, tmp_path / "out", recipe, session)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a supported face-box file"),
        ("{", "not valid JSON"),
        ("{}", "no key 'images'"),
        ("[5]", "no url and bboxes"),
        ('{"images": [{"id": 1}], "annotations": []}', "file_name"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "dog"}]}',
            "only 'dog'",
        ),
        ('[{"url": "a", "bboxes": [{"x0": 5, "y0": 0, "x1": 1, "y1": 1}]}]', "reversed"),
        ('[{"url": "a", "bboxes": [{"x0": 5}]}]', "y0"),
        ('{"images": [], "annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]}', "absent"),
        (100_000 * "[", "nested deeper than 64 levels"),
        ('[{"url": "\\ud800", "bboxes": []}]', "none of the 1 images"),
    ],
)
def test_a_damaged_file_of_faces_is_one_clear_line(
    content: str, message: str, small: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces.json"
    faces.write_text(content)
    with pytest.raises(DataError, match=message):
        curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces))


def test_a_table_without_boxes_is_one_clear_line(small: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces.parquet"
    for column in ([{"box": [1.0]}], [5], 3, "a"):
        pq.write_table(pa.Table.from_pylist([{"id": "0.png", "faces": column}]), faces)
        with pytest.raises(DataError, match="no xyxy"):
            curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces))
    pq.write_table(pa.Table.from_pylist([{"id": f"{n}.png", "faces": []} for n in range(6)]), faces)
    assert curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces)).written == 6


def test_images_without_detections_do_not_count_as_images_without_faces(
    small: Path, tmp_path: Path
) -> None:
    """A withheld image of an earlier run, a null, a COCO file without annotations."""
    rows = [
        {"id": "0.png", "faces": [], "outcome": "withheld"},
        {"id": "1.png", "faces": None, "outcome": "written"},
        {"id": "2.png", "faces": [], "outcome": "written"},
    ]
    kind = pa.list_(pa.struct([("xyxy", pa.list_(pa.float64()))]))
    schema = pa.schema([("id", pa.string()), ("faces", kind), ("outcome", pa.string())])
    faces = tmp_path / "faces"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), faces)
    curate.blur(small, tmp_path / "out#1", Recipe(), Session(faces=faces, allow_missing=True))
    written = {e.id for e in entries(tmp_path / "out#1").values() if e.outcome is Outcome.WRITTEN}
    assert written == {"2.png"}
    faces.write_text(json.dumps({"images": [{"id": 1, "file_name": "0.png"}]}))
    with pytest.raises(DataError, match="annotations"):
        curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces))


def test_faces_of_a_resized_copy_are_not_used(small: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces.json"
    with Image.open(small / "0.png") as image:
        width, height = image.size
    lines = [
        {"file": "0.png", "width": 7, "height": 9, "faces": [{"xyxy": [1, 1, 5, 5]}]},
        {"file": "1.png", "width": width, "height": height, "faces": [{"xyxy": [1, 1, 5, 5]}]},
    ]
    faces.write_text(json.dumps(lines))
    curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces, allow_missing=True))
    found = entries(tmp_path / "out")
    assert "says that it is 7×9" in str(found["0.png"].reason)
    assert found["1.png"].outcome is Outcome.WRITTEN


def test_the_faces_of_an_output_can_be_given_and_its_withheld_images_are_withheld_again(
    photos: Path, finished: Path, tmp_path: Path
) -> None:
    curate.blur(photos, tmp_path / "out", FAST, faces=finished, workers=1)
    before, after = entries(finished), entries(tmp_path / "out")
    for name, entry in before.items():
        assert after[name].output_sha256 == entry.output_sha256
        assert [face.box for face in after[name].faces] == [face.box for face in entry.faces]
    cut_off = "train/people/cut_off.jpg"
    assert after[cut_off].output_path is None
    assert after[cut_off].reason == before[cut_off].reason


@pytest.mark.parametrize("form", [None, "coco", "voc", "yolo", "imagenet"])
def test_an_image_that_detection_withheld_is_withheld_again(
    form: str | None, small: Path, tmp_path: Path
) -> None:
    """The file of faces knows of it, so it needs no option; an absent image still does."""
    (small / "3.png").write_bytes((small / "3.png").read_bytes()[:60])
    exports = [form] if form else []
    found = curate.detect(small, tmp_path / "faces.parquet", FAST, exports=exports)
    faces = Path(found.exports[form]) if form else tmp_path / "faces.parquet"
    out = tmp_path / "out"
    summary = curate.blur(small, out, Recipe(), Session(faces=faces))
    assert (summary.written, summary.withheld) == (5, 1)
    [entry] = [each for each in iter_faces(tmp_path / "faces.parquet") if each.reason]
    assert entry.id == "3.png"
    assert entries(out)["3.png"].reason == entry.reason
    shutil.copy(small / "0.png", small / "new.png")
    with pytest.raises(
        DataError, match=r"no entry for 1 images, such as 'new\.png'.*allow-missing"
    ):
        curate.blur(small, tmp_path / "other", Recipe(), Session(faces=faces))


def test_a_repaired_image_is_not_withheld_for_the_reason_of_another(
    small: Path, tmp_path: Path
) -> None:
    whole = (small / "3.png").read_bytes()
    (small / "3.png").write_bytes(whole[:60])
    curate.detect(small, tmp_path / "faces.parquet", FAST)
    (small / "3.png").write_bytes(whole)
    curate.blur(small, tmp_path / "out", Recipe(), Session(faces=tmp_path / "faces.parquet"))
    assert str(entries(tmp_path / "out")["3.png"].reason).startswith("other-file")


def test_a_reason_from_a_file_is_one_short_line(small: Path, tmp_path: Path) -> None:
    rows = [{"id": f"{n}.png", "reason": None, "faces": []} for n in range(6)]
    rows[0] |= {"reason": "Bad\nCODE: " + "x" * 9999, "faces": None}
    pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "faces.parquet")
    curate.blur(small, tmp_path / "out", Recipe(), Session(faces=tmp_path / "faces.parquet"))
    reason = str(entries(tmp_path / "out")["0.png"].reason)
    assert reason.startswith("not-looked-at: ")
    assert "\n" not in reason
    assert len(reason) < 400


def test_an_update_keeps_an_image_that_is_withheld_again(small: Path, tmp_path: Path) -> None:
    (small / "3.png").write_bytes((small / "3.png").read_bytes()[:60])
    curate.detect(small, tmp_path / "faces.parquet", FAST)
    session = Session(faces=tmp_path / "faces.parquet")
    curate.blur(small, tmp_path / "out", Recipe(), session)
    before = entries(tmp_path / "out")
    rows = pq.read_table(tmp_path / "faces.parquet")
    other = tmp_path / "same.parquet"
    pq.write_table(rows.replace_schema_metadata(None), other)
    curate.blur(small, tmp_path / "out", Recipe(), Session(faces=other, update=True))
    assert entries(tmp_path / "out") == before


@pytest.mark.parametrize("form", ["coco", "table", "list"])
def test_entries_that_state_different_sizes_withhold_the_image(
    form: str, small: Path, tmp_path: Path
) -> None:
    """One of them is for another file of this name, and so are some of the boxes."""
    with Image.open(small / "0.png") as image:
        right = dict(zip(("width", "height"), image.size, strict=True))
    wrong = {"width": 2 * right["width"], "height": 2 * right["height"]}
    faces, box = tmp_path / "faces", [10, 20, 40, 60]
    if form == "coco":
        images = [{"id": n, "file_name": "0.png", **s} for n, s in enumerate((right, wrong))]
        boxes = [{"id": 1, "image_id": 1, "bbox": box}]
        faces.write_text(json.dumps({"images": images, "annotations": boxes}))
    elif form == "table":
        rows = [{"id": "0.png", "faces": [{"xyxy": box}], **size} for size in (right, wrong)]
        pq.write_table(pa.Table.from_pylist(rows), faces)
    else:
        lines = [{"file": "0.png", "faces": [{"xyxy": box}], **size} for size in (right, wrong)]
        faces.write_text(json.dumps(lines))
    curate.blur(small, tmp_path / "out", Recipe(), Session(faces=faces, allow_missing=True))
    reason = str(entries(tmp_path / "out")["0.png"].reason)
    assert reason.startswith(f"faces: the file says that it is {right['width']}×")
    assert f"and {wrong['width']}×" in reason


def test_a_lost_label_of_an_export_is_not_that_of_another_image(
    small: Path, tmp_path: Path
) -> None:
    shutil.copy(small / "1.png", small / "0.png.png")
    table = tmp_path / "faces.parquet"
    curate.detect(small, table, Recipe(profile="fast"), Session(workers=1), "yolo")
    (tmp_path / "faces.yolo/labels/0.png.png.txt").unlink()
    session = Session(faces=tmp_path / "faces.yolo", allow_missing=True)
    with pytest.raises(DataError, match=r"could be the labels of '0\.png' or of '0\.png\.png'"):
        curate.blur(small, tmp_path / "out", Recipe(), session)


ENCODED = base64.b64encode(bytes(n * n * 7919 % 251 for n in range(300))).decode()


@pytest.mark.parametrize("key", ["name", "package", "version", "backend"])
def test_names_of_detectors_that_verify_would_refuse_are_refused(
    key: str, small: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces.parquet"
    curate.detect(small, faces, Recipe(profile="fast"), Session(workers=1))
    table = pq.read_table(faces)
    info = json.loads(pq.read_metadata(faces).metadata[b"curate_faces"])
    info["detectors"] = [model | {key: ENCODED} for model in info["detectors"]]
    metadata = {"curate_faces": json.dumps(info)}
    pq.write_table(table.replace_schema_metadata(metadata), faces)
    with pytest.raises(DataError, match="names of detectors or reviews over the limits of texts"):
        curate.blur(small, tmp_path / "out", session=Session(faces=faces))
    assert not (tmp_path / "out/manifest").exists()


def test_fields_that_a_table_can_repeat_for_every_face_are_short(
    small: Path, tmp_path: Path
) -> None:
    face = {"xyxy": [10.0, 20.0, 40.0, 60.0]}
    changes = {
        "of more than 1,000 characters": [{"faces": [face | {"decided_by": "a" * 2000}]}],
        "an id of 5,000 characters": [{"id": "a" * 5000}],
        "has detectors over the limits of texts": [{"faces": [face | {"detectors": [ENCODED]}]}],
        "has decided_by over the limits": [{"faces": [face | {"decided_by": ENCODED}]}],
        "detectors over the limits": [
            {"faces": [face | {"detectors": [ENCODED[n : n + 50]]} for n in range(100)]}
        ],
    }
    for message, rows in changes.items():
        pq.write_table(pa.Table.from_pylist([{"id": "0.png", "faces": [face]} | rows[0]]),
                       tmp_path / "faces.parquet")  # fmt: skip
        with pytest.raises(DataError, match=message):
            curate.blur(small, tmp_path / "out", session=Session(faces=tmp_path / "faces.parquet"))


def test_an_image_of_too_many_entries_is_withheld(small: Path, tmp_path: Path) -> None:
    rows = [{"id": "0.png", "faces": []}] * 5000 + [{"id": "1.png", "faces": []}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "faces.parquet")
    session = Session(faces=tmp_path / "faces.parquet", allow_missing=True)
    curate.blur(small, tmp_path / "out", session=session)
    found = entries(tmp_path / "out")
    assert str(found["0.png"].reason) == "faces: 5,000 entries; at most 4,096 per image"
    assert found["1.png"].outcome is Outcome.WRITTEN
