from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate import Box, Recipe, Session
from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.errors import DataError, PausedError, SourceChangedError, UsageError
from curate.manifest.store import iter_entries
from curate.pipeline.verify import iter_problems

FAST = Recipe(profile="fast", shard_size=3, include=("labels.csv",))
Fingerprint = Callable[[Path], dict[str, str]]


def entries(out: Path) -> dict[str, ManifestEntry]:
    return {entry.id: entry for entry in iter_entries(out / "manifest" / "records")}


@pytest.fixture(scope="module")
def done(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    curate.blur(photos, out, FAST, Session(workers=2))
    return out


def test_every_image_is_either_written_or_withheld(photos: Path, done: Path) -> None:
    found = entries(done)
    images = {
        str(path.relative_to(photos))
        for path in photos.rglob("*")
        if path.suffix in (".jpg", ".png")
    }
    assert set(found) == images
    for name, entry in found.items():
        assert (done / "data" / name).exists() == (entry.outcome is Outcome.WRITTEN)


def test_a_truncated_image_is_withheld_with_its_reason(done: Path) -> None:
    entry = entries(done)["train/people/cut_off.jpg"]
    assert entry.outcome is Outcome.WITHHELD
    assert entry.reason is not None
    assert entry.reason.startswith("truncated: ")
    assert entry.output_sha256 is None


def test_faces_are_found_and_photos_without_one_are_copied(done: Path) -> None:
    found = entries(done)
    for name in ("portrait.jpg", "portrait_gps.jpg", "portrait_rotated.jpg", "portrait_alpha.png"):
        assert len(found[f"train/people/{name}"].faces) == 1, name
    assert len(found["train/people/group.png"].faces) == 3
    assert found["train/people/portrait.jpg"].route is Route.SPLICED
    assert found["train/people/group.png"].route is Route.LOSSLESS
    assert found["val/coffee/coffee.jpg"].route is Route.COPIED
    assert found["val/coffee/coffee.jpg"].blurred_share == 0


def test_a_rotated_photo_has_its_face_in_stored_pixels(done: Path) -> None:
    upright = entries(done)["train/people/portrait.jpg"].faces[0].box
    stored = entries(done)["train/people/portrait_rotated.jpg"].faces[0].box
    # Orientation 6 is stored turned left: upright (x, y) stands at stored (y, 448 - x).
    assert stored.x0 == pytest.approx(upright.y0, abs=6)
    assert stored.y1 == pytest.approx(448 - upright.x0, abs=6)


def test_splits_and_categories_come_from_the_folders(done: Path) -> None:
    entry = entries(done)["val/coffee/coffee.jpg"]
    assert (entry.split, entry.category) == ("val", "coffee")


def test_pixels_outside_the_hidden_regions_are_the_sources(photos: Path, done: Path) -> None:
    before = np.asarray(Image.open(photos / "train/people/group.png"))
    after = np.asarray(Image.open(done / "data/train/people/group.png"))
    outside = np.ones(before.shape[:2], bool)
    for hidden in entries(done)["train/people/group.png"].hidden:
        outside[hidden.slices] = False
        assert np.abs(before[hidden.slices].astype(int) - after[hidden.slices]).mean() > 10
    assert (before[outside] == after[outside]).all()


def test_included_files_are_copied(photos: Path, done: Path) -> None:
    assert (done / "data/labels.csv").read_bytes() == (photos / "labels.csv").read_bytes()


def test_no_work_files_are_left(done: Path) -> None:
    assert sorted(path.name for path in done.iterdir()) == ["data", "manifest"]


def test_the_number_of_workers_changes_no_byte(
    photos: Path, done: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    for workers in (1, 3):
        out = tmp_path / str(workers)
        curate.blur(photos, out, FAST, Session(workers=workers))
        assert fingerprint(out) == fingerprint(done)


def test_a_finished_run_is_not_repeated(photos: Path, done: Path, fingerprint: Fingerprint) -> None:
    before = fingerprint(done)
    summary = curate.blur(photos, done, FAST)
    assert summary.already_done
    assert summary.images == len(entries(done))
    assert fingerprint(done) == before
    assert sorted(path.name for path in done.iterdir()) == ["data", "manifest"]


def test_another_recipe_on_the_same_out_is_refused_with_both_digests(
    photos: Path, done: Path
) -> None:
    other = Recipe(profile="fast", shard_size=3, method="fill")
    with pytest.raises(UsageError, match="another recipe") as refusal:
        curate.blur(photos, done, other)
    assert FAST.digest[:12] in str(refusal.value)
    assert other.digest[:12] in str(refusal.value)


@pytest.fixture
def small(photos: Path, tmp_path: Path) -> Path:
    source = tmp_path / "small"
    source.mkdir()
    for number in range(6):
        shutil.copy(photos / "val/coins/coins.png", source / f"{number}.png")
    return source


def run_half(source: Path, out: Path, recipe: Recipe) -> None:
    """Run until the first shard is committed, then stop."""
    stop = threading.Event()
    session = Session(workers=1, stop=stop, watch=lambda now: now.images > 0 and stop.set())
    with pytest.raises(PausedError, match="same command"):
        curate.blur(source, out, recipe, session)


def test_a_paused_run_continues(small: Path, tmp_path: Path, fingerprint: Fingerprint) -> None:
    recipe = Recipe(profile="fast", shard_size=2)
    run_half(small, tmp_path / "paused", recipe)
    assert not (tmp_path / "paused" / "data").exists()
    resumed = curate.blur(small, tmp_path / "paused", recipe)
    whole = curate.blur(small, tmp_path / "whole", recipe)
    assert 0 < resumed.images_now < whole.images_now == 6
    assert fingerprint(tmp_path / "paused") == fingerprint(tmp_path / "whole")


def test_a_paused_run_refuses_another_recipe(small: Path, tmp_path: Path) -> None:
    run_half(small, tmp_path / "out", Recipe(profile="fast", shard_size=2))
    with pytest.raises(UsageError, match=r"method 'diffuse' → 'fill'"):
        curate.blur(small, tmp_path / "out", Recipe(profile="fast", shard_size=2, method="fill"))


def test_a_paused_run_refuses_a_changed_source(small: Path, tmp_path: Path) -> None:
    recipe = Recipe(profile="fast", shard_size=2)
    run_half(small, tmp_path / "out", recipe)
    (small / "7.png").write_bytes((small / "0.png").read_bytes())
    with pytest.raises(SourceChangedError):
        curate.blur(small, tmp_path / "out", recipe)


def test_a_finished_run_refuses_a_changed_source(small: Path, tmp_path: Path) -> None:
    recipe = Recipe(profile="fast", shard_size=2)
    curate.blur(small, tmp_path / "out", recipe)
    (small / "3.png").unlink()
    with pytest.raises(SourceChangedError, match=r"3\.png|4\.png"):
        curate.blur(small, tmp_path / "out", recipe)


@pytest.mark.parametrize("place", ["photos", "photos/out", "."])
def test_overlapping_paths_are_refused(place: str, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    Image.new("RGB", (8, 8)).save(source / "a.png")
    with pytest.raises(UsageError, match="inside"):
        curate.blur(source, tmp_path / place, FAST)
    assert [path.name for path in source.iterdir()] == ["a.png"]


def test_a_folder_with_something_else_in_it_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        curate.blur(small, tmp_path / "out", FAST)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_a_folder_without_images_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        curate.blur(tmp_path / "empty", tmp_path / "out", FAST)
    assert not (tmp_path / "out").exists()


def test_links_that_leave_source_are_refused(small: Path, tmp_path: Path) -> None:
    (small / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "elsewhere.png").write_bytes((small / "0.png").read_bytes())
    with pytest.raises(DataError, match=r"'link\.png'.*points outside SOURCE"):
        curate.blur(small, tmp_path / "out", FAST)


def test_an_output_inside_a_file_is_refused(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="inside one"):
        curate.blur(small, tmp_path / "file" / "out", FAST)


def test_source_is_not_changed(photos: Path, done: Path) -> None:
    newest = max(path.stat().st_mtime_ns for path in photos.rglob("*") if path.is_file())
    assert newest < (done / "manifest/run.json").stat().st_mtime_ns


def test_files_that_are_no_annotations_are_left_out_and_named(small: Path, tmp_path: Path) -> None:
    picture = "iVBORw0KGgo" + "A" * 900
    (small / "labelme.json").write_text(json.dumps({"imageData": picture}))
    pq.write_table(pa.table({"label": ["cat"]}), small / "labels.parquet")
    (small / "0.txt").write_text("a caption")
    (small / "thumbs.db").write_bytes(b"x")
    (small / "LICENSE").write_text("As you like.\n")
    summary = curate.blur(small, tmp_path / "out", FAST)
    assert summary.others == {"carried": 1, "included": 0, "rebuilt": 0, "left_out": 4}
    assert summary.left_out == ("0.txt", "labelme.json", "labels.parquet", "thumbs.db")
    text = summary.to_text()
    assert "left out: 0.txt, labelme.json, labels.parquet, thumbs.db" in text
    assert "such as 0.txt: --include '*.txt'" in text
    assert "such as labels.parquet: --include '*.parquet'" in text
    assert not list((tmp_path / "out/data").glob("*.db"))
    everything = replace(FAST, include=("*",))
    summary = curate.blur(small, tmp_path / "all", everything)
    assert summary.others == {"carried": 5, "included": 5, "rebuilt": 0, "left_out": 0}
    assert "copied as they are, unread, with --include: 5" in summary.to_text()
    assert list(iter_problems(tmp_path / "all", small, 1)) == []


def test_annotations_that_cannot_be_parsed_end_the_run_before_any_image(
    small: Path, tmp_path: Path
) -> None:
    (small / "metadata.jsonl").write_text('{"file_name": "0.png"')
    with pytest.raises(DataError, match=r"metadata\.jsonl.*--include 'metadata\.jsonl'"):
        curate.blur(small, tmp_path / "out", FAST)
    assert not (tmp_path / "out").exists()
    summary = curate.blur(small, tmp_path / "out", replace(FAST, include=("metadata.*",)))
    assert summary.others["included"] == 1


def test_the_content_report_is_in_the_summary_the_manifest_and_verify(
    small: Path, tmp_path: Path
) -> None:
    row = {"file_name": "0.png", "exif": {"GPSLatitude": 1}, "author": "Jane", "lat": 1.5}
    (small / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    out = tmp_path / "out"
    summary = curate.blur(small, out, FAST)
    found = {"metadata.jsonl": {"gps": {"lat": 1}, "names": {"author": 1}}}
    report = {"dropped": {"metadata.jsonl": {"exif": 1}}, "found": found}
    assert summary.content == report
    assert "gps: lat (1)" in summary.to_text()
    assert "Left out of the annotations: exif (1)" in summary.to_text()
    run = json.loads((out / "manifest/run.json").read_text())
    assert run["content"] == report
    assert list(iter_problems(out, small, 1)) == []
    run["content"]["found"] = {}
    (out / "manifest/run.json").write_text(json.dumps(run))
    curate.write_checksums(out)
    [problem] = iter_problems(out, None, 1)
    assert problem.detail == "content is not what the annotations contain"
    dropped = curate.blur(small, tmp_path / "o", replace(FAST, drop_keys=("gps", "author")))
    assert json.loads((tmp_path / "o/data/metadata.jsonl").read_text()) == {
        "file_name": "0.png",
        "exif": {},
    }
    assert dropped.content["dropped"] == {
        "metadata.jsonl": {"GPSLatitude": 1, "author": 1, "lat": 1}
    }


def test_names_that_are_not_valid_text_are_withheld_with_distinct_ids(
    small: Path, tmp_path: Path
) -> None:
    odd = [os.fsdecode(name) for name in (b"\xff.png", b"\xe9.png", b"\xe9\\xff.png", b"d\xe9")]
    try:
        for name in odd[:3]:
            shutil.copy(small / "0.png", small / name)
    except OSError:
        pytest.skip("the file system has no such names")
    (small / odd[3]).mkdir()
    for name in ("\\xff.png", "\\xe9.png", "z.png", f"{odd[3]}/0.png"):
        shutil.copy(small / "0.png", small / name)
    (small / os.fsdecode(b"\xe9.csv")).write_text("a,b\n")
    recipe = Recipe(profile="fast", shard_size=2)
    summary = curate.blur(small, tmp_path / "out", recipe)
    assert summary.reasons == {"name": 4}
    assert summary.written == 9
    assert summary.others == {"carried": 0, "included": 0, "rebuilt": 0, "left_out": 1}
    listed = (tmp_path / "out/manifest/others.jsonl").read_text()
    assert json.loads(listed) == {
        "path": "./\\xe9.csv",
        "carried": False,
        "reason": "its name is not valid UTF-8",
    }
    ids = [entry.id for entry in iter_entries(tmp_path / "out/manifest/records")]
    assert ids == sorted(set(ids))
    assert [name for name in ids if "./" in name] == [
        *("./\\xe9.png", "./\\xe9\\\\xff.png", "./\\xff.png", "./d\\xe9/0.png"),
    ]
    assert curate.blur(small, tmp_path / "out", recipe).already_done


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
    # An image that the file says nothing of has not been looked at.
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


def test_a_finished_output_with_changed_files_is_refused(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    curate.blur(small, out, FAST)
    (out / "data/3.png").unlink()
    with pytest.raises(DataError, match=r"data/3.png has changed since"):
        curate.blur(small, out, FAST)


def test_a_finished_output_of_a_replaced_source_is_refused(
    small: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    curate.blur(small, out, FAST)
    shutil.copy(photos / "train/people/group.png", small / "3.png")
    with pytest.raises(SourceChangedError, match=r"first at '3\.png'"):
        curate.blur(small, out, FAST)


@pytest.mark.parametrize("content", ["{}", "[]", "5", '{"recipe_sha256": "x"}', "\udcff"])
def test_a_damaged_state_is_one_clear_line(content: str, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_half(small, out, FAST)
    (out / ".curate/state.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match="is damaged"):
        curate.blur(small, out, FAST)


@pytest.mark.parametrize("values", [{"workers": 0}, {"workers": "2"}, {"faces": 5}])
def test_a_session_with_wrong_values_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        Session(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a supported face-box file"),
        ("{", "not valid JSON"),
        ("{}", "no key 'images'"),
        ("[5]", "no url and bboxes"),
        ('{"images": [{"id": 1}], "annotations": []}', "file_name"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "dog"}]}', "only dog"),
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


def test_the_faces_of_an_output_can_be_given_and_its_withheld_images_have_no_entry(
    photos: Path, done: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no entry for 1 images, such as 'train/people/cut_off"):
        curate.blur(photos, tmp_path / "strict", FAST, faces=done, workers=1)
    curate.blur(photos, tmp_path / "out", FAST, faces=done, allow_missing=True, workers=1)
    before, after = entries(done), entries(tmp_path / "out")
    for name, entry in before.items():
        assert after[name].output_sha256 == entry.output_sha256
        assert [face.box for face in after[name].faces] == [face.box for face in entry.faces]
    assert after["train/people/cut_off.jpg"].output_path is None


def test_options_are_keyword_arguments_and_progress_is_quiet_on_request(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = curate.blur(small, tmp_path / "a", profile="fast", method="fill", quiet=True)
    assert capsys.readouterr() == ("", "")
    recipe = Recipe(profile="fast", method="fill")
    again = curate.blur(small, tmp_path / "b", recipe, Session(workers=1))
    assert "imagefolder" in capsys.readouterr().err
    assert summary.recipe_sha256 == again.recipe_sha256
    assert repr(summary).startswith(f"<Summary of {str(tmp_path / 'a')!r}: ")
    assert len(summary.to_frame()) == summary.images
    assert max(map(len, summary.to_text().replace(str(tmp_path), "").splitlines())) <= 80
