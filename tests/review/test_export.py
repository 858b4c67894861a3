"""What a review decided reaches the outputs and the manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.core.errors import DataError, UsageError
from curate.layouts.faces import iter_given_faces
from curate.manifest import store
from curate.manifest.faces import load_faces_info
from curate.manifest.show import load_manifest
from curate.pipeline.session import Session
from curate.recipe import Recipe
from curate.review.collect import Queueing
from curate.review.sampling import Target
from tests.review.conftest import Serve

ADDED = {"state": "added", "origin": None, "xyxy": [70, 10, 90, 30]}
ORDERED = {"queueing": Queueing(order="id")}


def rows(table: Path) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in pq.read_table(table).to_pylist()}


def entries(out: Path) -> dict[str, object]:
    return {each.id: each for each in store.iter_entries(out / "manifest" / "records")}


def blur(dataset: Path, out: Path, faces: Path) -> dict[str, object]:
    recipe = Recipe(method="fill", margin=0.1)
    curate.blur(dataset, out, recipe, Session(workers=1, faces=faces, allow_missing=True))
    return entries(out)


def test_reviewed_boxes_are_hidden_and_recorded(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    served = serve(**ORDERED)
    served.decide(1, [{"state": "rejected", "origin": 0}, ADDED])
    served.decide(2)
    served.stop()  # type: ignore[attr-defined]
    done = curate.export_review(tmp_path / "faces.review", tmp_path / "reviewed.parquet")
    assert (done.reviewed, done.not_looked_at, done.by_person) == (2, 4, 2)
    table = rows(tmp_path / "reviewed.parquet")
    assert [table[f"{n}.png"]["review"] for n in (0, 2)] == ["reviewed", "not looked at"]
    by = {name: [face["decided_by"] for face in row["faces"]] for name, row in table.items()}
    assert by["0.png"] == by["1.png"] == ["person"]
    assert table["1.png"]["faces"][0]["confidence"] == pytest.approx(0.85)

    manifest = blur(dataset, tmp_path / "out", tmp_path / "reviewed.parquet")
    first, second, third = (manifest[f"{n}.png"] for n in (0, 1, 2))
    assert [face.box.xyxy for face in first.faces] == [(70, 10, 90, 30)]
    assert [face.decided_by for face in (*first.faces, *second.faces)] == ["person", "person"]
    states = [each.transforms[-1].parameters for each in (first, third)]
    assert states == [{"state": "reviewed"}, {"state": "not looked at"}]
    pixels = np.asarray(Image.open(tmp_path / "out" / "data" / "0.png"))
    assert (pixels[25:45, 35:55] == 220).all(), "the rejected box was not hidden"
    assert list(curate.iter_problems(tmp_path / "out", dataset, 1)) == []


def test_an_image_that_changed_since_its_review_is_withheld(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    served = serve(**ORDERED)
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    curate.export_review(tmp_path / "faces.review", tmp_path / "reviewed.parquet")
    Image.new("RGB", (120, 80), (1, 2, 3)).save(dataset / "0.png")
    manifest = blur(dataset, tmp_path / "out", tmp_path / "reviewed.parquet")
    assert manifest["0.png"].outcome == "withheld"
    assert manifest["0.png"].reason.startswith("other-file")
    assert not (tmp_path / "out" / "data" / "0.png").exists()


def test_a_table_of_detect_keeps_its_rows_and_its_account(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "broken.png").write_bytes(b"nothing")
    found = tmp_path / "found.parquet"
    curate.detect(dataset, found, Recipe(detector="centerface"), Session(workers=1))
    served = serve(faces=found)
    number = served.ask("GET", "/api/next?count=1")[1]["images"][0]["number"]
    known = served.view(number)["boxes"]
    rejected = [{"state": "rejected", "origin": box["origin"]} for box in known]
    assert served.decide(number, [ADDED, *rejected])[0] == 200
    served.stop()  # type: ignore[attr-defined]
    done = curate.export_review(tmp_path / "found.review", tmp_path / "reviewed.parquet")
    assert (done.images, done.withheld, done.reviewed) == (7, 1, 1)
    before, after = rows(found), rows(tmp_path / "reviewed.parquet")
    assert list(after) == list(before)
    assert after["broken.png"]["faces"] is None
    account = load_faces_info(tmp_path / "reviewed.parquet")
    assert account is not None
    assert account["recipe_sha256"] == load_faces_info(found)["recipe_sha256"]  # type: ignore[index]
    assert account["review"]["states"] == {"reviewed": 1, "sampled": 0, "not looked at": 5}
    # The exported table can be reviewed in turn.
    again = serve(faces=tmp_path / "reviewed.parquet", sample=Target(at_most=0.5))
    assert again.ask("GET", "/api/status")[1]["images"] >= 2


def test_the_detector_and_the_review_of_given_faces_stay_in_every_manifest(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    found, reviewed = tmp_path / "found.parquet", tmp_path / "reviewed.parquet"
    recipe = Recipe(detector="centerface")
    curate.detect(dataset, found, recipe, Session(workers=1), "coco", quiet=True)
    models = load_faces_info(found)["detectors"]  # type: ignore[index]

    def run(name: str, faces: Path) -> dict[str, Any]:
        blur(dataset, tmp_path / name, faces)
        facts = store.load_run(tmp_path / name / "manifest")
        assert facts["detectors"] == models != []
        assert facts["given_faces"]["recipe"]["detector"] == "centerface"
        return facts["given_faces"]["reviews"]

    for name, faces in (("table", found), ("export", tmp_path / "found.coco.json")):
        assert run(name, faces) == []
    served = serve(faces=found)
    served.decide(1, [ADDED])
    served.stop()  # type: ignore[attr-defined]
    curate.export_review(tmp_path / "found.review", reviewed)
    [review] = run("out", reviewed)
    assert review["states"] == {"reviewed": 1, "sampled": 0, "not looked at": 5}
    assert run("again", tmp_path / "out") == [review]
    session = Session(workers=1, faces=reviewed, allow_missing=True, update=True)
    curate.blur(dataset, tmp_path / "table", Recipe(method="fill", margin=0.1), session, quiet=True)
    curate.replay(dataset, tmp_path / "out", tmp_path / "replayed", Session(workers=1), quiet=True)
    for name in ("table", "replayed"):
        facts = store.load_run(tmp_path / name / "manifest")
        assert (facts["detectors"], facts["given_faces"]["reviews"]) == (models, [review])

    served = serve(None, run=tmp_path / "out", folder=tmp_path / "second")
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    curate.export_review(tmp_path / "second", tmp_path / "twice.parquet")
    assert run("third", tmp_path / "twice.parquet")[0] == review

    public = curate.publish_manifest(tmp_path / "out", tmp_path / "public")
    assert public["detectors"] == models
    assert "journal_sha256" not in str(public["given_faces"])
    text = load_manifest(tmp_path / "out").to_text()
    assert "given by a file" in text
    assert "1 reviewed" in text
    assert models[0]["name"] in text


def test_exporting_twice_gives_the_same_bytes(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    for name in ("a.parquet", "b.parquet"):
        curate.export_review(tmp_path / "faces.review", tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_every_frame_of_a_reviewed_animation_is_hidden(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "moving"
    folder.mkdir()
    frames = [Image.new("RGB", (60, 40), (80 * n, 200, 0)) for n in range(3)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=90)
    served = serve(folder, folder=tmp_path / "moving.review")
    served.decide(1, [{**ADDED, "xyxy": [5, 5, 25, 25]}])
    served.stop()  # type: ignore[attr-defined]
    curate.export_review(tmp_path / "moving.review", tmp_path / "moving.parquet")
    [entry] = blur(folder, tmp_path / "out", tmp_path / "moving.parquet").values()
    assert entry.faces[0].frames == (0, 1, 2)
    assert entry.faces[0].decided_by == "person"


def test_outputs_are_reviewed_and_made_again(serve: Serve, dataset: Path, tmp_path: Path) -> None:
    with Image.open(dataset / "0.png") as image:
        image.paste((220, 220, 220), (70, 10, 90, 30))  # a face that the boxes leave out
        image.save(dataset / "0.png")
    first = blur(dataset, tmp_path / "out", tmp_path / "faces.json")
    served = serve(None, run=tmp_path / "out", **ORDERED)
    assert served.view(1)["boxes"][0]["xyxy"] == [30, 20, 60, 50]
    served.decide(1, [{"state": "kept", "origin": 0}, ADDED])
    served.decide(2)
    served.stop()  # type: ignore[attr-defined]
    exported = curate.export_review(tmp_path / "out.review", tmp_path / "reviewed.parquet")
    redo = f"Next: curate review redo {tmp_path}/out.review SOURCE NEW"
    assert redo in exported.to_text()
    curate.redo_reviewed(tmp_path / "out.review", dataset, tmp_path / "again", Session(workers=1))
    second = entries(tmp_path / "again")
    assert [f.box.xyxy for f in second["0.png"].faces] == [(30, 20, 60, 50), (70, 10, 90, 30)]
    same = [name for name in first if first[name].output_sha256 == second[name].output_sha256]
    assert same == [f"{n}.png" for n in range(1, 6)]
    assert list(curate.iter_problems(tmp_path / "again", dataset, 1)) == []


def test_hidden_checks_of_outputs_show_one_face_of_the_source(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    faces = [{"xyxy": [30, 20, 60, 50], "confidence": 0.95}]
    labels = [{"file": f"{n}.png", "faces": faces} for n in range(6)]
    (tmp_path / "faces.json").write_text(json.dumps(labels))
    blur(dataset, tmp_path / "out", tmp_path / "faces.json")
    target = Target(at_most=0.9, checks=1, seed=3)
    with pytest.raises(UsageError, match="name SOURCE"):
        serve(None, run=tmp_path / "out", sample=target)
    served = serve(dataset, run=tmp_path / "out", sample=target)
    count = served.ask("GET", "/api/status")[1]["images"]
    shown = []
    for number in range(1, count + 1):
        jpeg = served.ask("GET", f"/api/frame/{number}/0")[1]
        (tmp_path / "seen.jpg").write_bytes(jpeg)
        bright = np.asarray(Image.open(tmp_path / "seen.jpg"))[30:40, 40:50].mean() > 200
        shown.append((bright, len(served.view(number)["boxes"])))
    assert sorted(shown) == [(False, 1)] * (count - 1) + [(True, 0)]


def test_what_cannot_be_exported_is_one_line(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no review"):
        curate.export_review(tmp_path, tmp_path / "x.parquet")
    serve().stop()  # type: ignore[attr-defined]
    review = tmp_path / "faces.review"
    with pytest.raises(UsageError, match="is the table that is reviewed"):
        curate.export_review(review, tmp_path / "faces.json")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="not of a review"):
        curate.export_review(review, tmp_path / "mine.txt")
    with pytest.raises(UsageError, match="existing folder"):
        curate.export_review(review, tmp_path / "none" / "x.parquet")
    with pytest.raises(UsageError, match="not a review of outputs"):
        curate.redo_reviewed(review, tmp_path, tmp_path / "out")
    (tmp_path / "faces.json").write_text("[]")
    with pytest.raises(DataError, match="has changed since the review"):
        curate.export_review(review, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_the_table_reads_back_with_its_states(serve: Serve, tmp_path: Path) -> None:
    served = serve(**ORDERED)
    served.decide(1)
    served.stop()  # type: ignore[attr-defined]
    curate.export_review(tmp_path / "faces.review", tmp_path / "reviewed.parquet")
    states = {given.id: given.review for given in iter_given_faces(tmp_path / "reviewed.parquet")}
    assert states["0.png"] == "reviewed"
    assert states["5.png"] == "not looked at"
    assert json.loads((tmp_path / "faces.review" / "inputs.json").read_text())["run"] is None


def export(served: object, review: Path, out: Path) -> dict[str, dict[str, object]]:
    served.stop()  # type: ignore[attr-defined]
    curate.export_review(review, out)
    return rows(out)


def test_without_boxes_only_decided_images_are_exported(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    served = serve(faces=None, folder=tmp_path / "none.review", **ORDERED)
    served.decide(1, [ADDED])
    served.decide(2, [])
    served.stop()  # type: ignore[attr-defined]
    done = curate.export_review(tmp_path / "none.review", tmp_path / "reviewed.parquet")
    assert (done.images, done.unexamined) == (2, 4)
    assert "4 images were left out" in done.to_text()
    table = rows(tmp_path / "reviewed.parquet")
    assert {name: len(row["faces"]) for name, row in table.items()} == {"0.png": 1, "1.png": 0}

    with pytest.raises(DataError, match="no entry for 4 images"):
        curate.blur(dataset, tmp_path / "refused", session=Session(
            workers=1, faces=tmp_path / "reviewed.parquet"))  # fmt: skip
    manifest = blur(dataset, tmp_path / "out", tmp_path / "reviewed.parquet")
    outcomes = [manifest[f"{n}.png"].outcome for n in range(6)]
    assert outcomes == ["written", "written", *["withheld"] * 4]


def test_images_missing_in_the_reviewed_file_are_not_exported(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    size = {"width": 120, "height": 80}
    labels = {
        "images": [{"id": n, "file_name": f"{n}.png", **size} for n in range(2)],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [30, 20, 30, 30]}],
        "categories": [{"id": 1, "name": "face"}],
    }
    (tmp_path / "some.json").write_text(json.dumps(labels))
    served = serve(faces=tmp_path / "some.json", **ORDERED)
    served.decide(6, [ADDED])
    table = export(served, tmp_path / "some.review", tmp_path / "reviewed.parquet")
    assert {name: row["review"] for name, row in table.items()} == {
        "0.png": "not looked at", "1.png": "not looked at", "5.png": "reviewed",
    }  # fmt: skip


def test_rows_that_state_nothing_are_not_exported_as_images_without_faces(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found.parquet"
    curate.detect(dataset, found, Recipe(detector="centerface"), Session(workers=1))
    table = pq.read_table(found)
    lines = table.to_pylist()
    for line in lines[2:4]:
        line["faces"] = None
    pq.write_table(pa.Table.from_pylist(lines, schema=table.schema), found)
    served = serve(faces=found, **ORDERED)
    served.decide(3, [ADDED])
    after = export(served, tmp_path / "found.review", tmp_path / "reviewed.parquet")
    assert set(after) == {f"{n}.png" for n in (0, 1, 2, 4, 5)}
    assert len(after["2.png"]["faces"]) == 1  # type: ignore[arg-type]


def test_withheld_images_of_an_export_stay_withheld(
    serve: Serve, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "broken.png").write_bytes(b"nothing")
    found = tmp_path / "found.parquet"
    curate.detect(dataset, found, Recipe(detector="centerface"), Session(workers=1), ("coco",))
    served = serve(faces=tmp_path / "found.coco.json", folder=tmp_path / "coco.review", **ORDERED)
    after = export(served, tmp_path / "coco.review", tmp_path / "reviewed.parquet")
    assert len(after) == 7
    assert after["broken.png"]["faces"] is None
    assert str(after["broken.png"]["reason"]).startswith("unreadable")
