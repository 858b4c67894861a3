"""Near-duplicates of a dataset: groups, splits, contradictions, leaks, propagated boxes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageOps

import curate
from curate.cli.main import group as cli
from curate.core.errors import DataError, UsageError
from curate.core.faces import Face
from curate.core.geometry import Box, to_upright, turn
from curate.duplicates.run import iter_problems
from curate.manifest.faces import (
    FacesEntry,
    iter_faces,
    join_faces,
    load_faces_info,
    save_faces_part,
)
from curate.manifest.files import Problem
from curate.pipeline.session import Session, Step
from curate.recipe import Recipe
from curate.review.collect import load_contradicted
from tests.conftest import ROOT
from tests.pipeline.test_progress import Terminal
from tests.report.checks import check_page

SCHEMA = ROOT / "manifests" / "duplicates-1.schema.json"
skimage_data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with copies across splits, one alone, two plain ones, one damaged file."""
    folder = tmp_path_factory.mktemp("photos")
    for split in ("train", "test"):
        (folder / split / "x").mkdir(parents=True)
    astronaut = Image.fromarray(skimage_data.astronaut())
    coffee = Image.fromarray(skimage_data.coffee())
    astronaut.save(folder / "train/x/a.png")
    astronaut.resize((256, 256)).save(folder / "test/x/a_small.jpg", quality=60)
    ImageOps.mirror(astronaut).save(folder / "train/x/a_mirror.png")
    coffee.save(folder / "train/x/c.png")
    coffee.point(lambda value: int(value * 0.8)).save(folder / "train/x/c_dark.png")
    Image.fromarray(skimage_data.chelsea()).save(folder / "train/x/alone.png")
    for name in ("plain1", "plain2"):
        Image.new("RGB", (64, 64), (9, 9, 9)).save(folder / f"train/x/{name}.png")
    Image.new("RGB", (64, 64), (9, 9, 200)).save(folder / "train/x/plain3.png")
    (folder / "train/x/damaged.png").write_bytes(b"nothing")
    return folder


A = ["test/x/a_small.jpg", "train/x/a.png", "train/x/a_mirror.png"]
C = ["train/x/c.png", "train/x/c_dark.png"]
PLAIN = ["train/x/plain1.png", "train/x/plain2.png"]


@pytest.fixture(scope="module")
def faces(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut's face is known in one copy only."""
    folder = tmp_path_factory.mktemp("faces")
    return save_table(dataset, {A[1]: [Box(170, 60, 280, 200)]}, folder / "faces.parquet")


def save_table(dataset: Path, boxes: dict[str, list[Box]], table: Path) -> Path:
    """A table of faces of every image of a folder."""
    entries = []
    for path in sorted(dataset.rglob("*.*")):
        name = path.relative_to(dataset).as_posix()
        known = {"id": name, "split": None, "category": None, "source_sha256": None,
                 "source_bytes": None}  # fmt: skip
        if "damaged" in name:
            entries.append(FacesEntry(**known, reason="unreadable: no image"))
            continue
        with Image.open(path) as image:
            size = {"width": image.width, "height": image.height, "orientation": 1}
        faces = tuple(Face(box, 0.9, ("centerface",)) for box in boxes.get(name, ()))
        entries.append(FacesEntry(**known, **size, faces=faces))
    save_faces_part(entries, table.with_suffix(".part"))
    join_faces([table.with_suffix(".part")], {"recipe_sha256": "x"}, table)
    return table


def test_groups_and_splits(dataset: Path) -> None:
    found = curate.find_duplicates(dataset).to_dict()
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert found["groups"] == sorted([A, C, PLAIN])
    assert [each["images"] for each in found["across_splits"]] == [A]
    assert (found["images"], found["unreadable"], found["plain"]) == (10, 1, 3)
    assert found["contradictions"] is found["unblurred"] is None


def test_what_was_not_given_is_said_to_be_not_checked(dataset: Path, faces: Path) -> None:
    found = curate.find_duplicates(dataset)
    assert "one copy and none in another: not checked, requires OUT or --faces" in found.to_text()
    assert "near-duplicate has a face: not checked, requires OUT" in found.to_text()
    assert "Not checked." in found.to_html()
    assert A[0] in found.to_text()
    assert repr(found).startswith("<Duplicates: ")
    given = curate.find_duplicates(dataset, options=curate.SearchOptions(faces=faces))
    assert "one copy and none in another: 1" in given.to_text()
    assert given.to_dict()["unblurred"] is None


@pytest.mark.worker_processes
def test_workers_and_order_change_nothing(dataset: Path) -> None:
    one = curate.find_duplicates(dataset, options=curate.SearchOptions(workers=1))
    three = curate.find_duplicates(dataset, options=curate.SearchOptions(workers=3))
    assert one == three


def test_a_face_in_one_copy_only_is_told(dataset: Path, faces: Path, tmp_path: Path) -> None:
    found = curate.find_duplicates(dataset, options=curate.SearchOptions(faces=faces))
    assert found.to_dict()["contradictions"] == [{"with": [A[1]], "without": [A[0], A[2]]}]
    found.save(json=tmp_path / "d.json", html=tmp_path / "d.html")
    assert load_contradicted(tmp_path / "d.json") == {A[0], A[2]}
    assert "Near-duplicates" in (tmp_path / "d.html").read_text()
    check_page((tmp_path / "d.html").read_text())


def test_an_unblurred_twin_in_an_output_is_a_leak(
    dataset: Path, faces: Path, tmp_path: Path
) -> None:
    session = Session(workers=1, faces=faces, allow_missing=True)
    curate.blur(dataset, tmp_path / "out", Recipe(method="fill"), session)
    found = curate.find_duplicates(dataset, tmp_path / "out").to_dict()
    assert [each["output"] for each in found["unblurred"]] == [A[0], A[2]]
    result = CliRunner().invoke(cli, ["duplicates", str(dataset), str(tmp_path / "out"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["unblurred"] == found["unblurred"]


def test_blur_hides_a_face_in_every_copy_and_verify_tells_where_it_is_not(
    dataset: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A notebook has bars from the first step on, a log file none for steps that may be short.
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))

    def run(*words: object) -> Result:
        return CliRunner().invoke(cli, [*map(str, words)])

    common = (dataset, "--faces", faces, "--method", "fill", "--workers", 1, "--allow-missing")
    assert run("blur", *common[:1], tmp_path / "plain", *common[1:]).exit_code == 3
    options = (*common[1:], "--propagate-boxes")
    alike = run("blur", *common[:1], tmp_path / "alike", *options)
    assert alike.exit_code == 3
    assert "2 boxes were added to 2 near-duplicates" in alike.stderr
    assert "reading: " in alike.stderr
    told = run("verify", tmp_path / "plain", "--source", dataset)
    assert (told.exit_code, told.stdout.count("near-duplicate")) == (1, 2)
    assert (
        run("verify", tmp_path / "plain", "--source", dataset, "--no-near-duplicates").exit_code
        == 0
    )
    assert run("verify", tmp_path / "alike", "--source", dataset).exit_code == 0
    refused = run("blur", dataset, tmp_path / "x", "--propagate-boxes")
    assert "run curate detect first" in str(refused.exception)


def test_a_search_that_fails_is_an_error_unless_the_output_is_damaged(
    dataset: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(dataset / A[1], photos / "a.png")
    table = save_table(photos, {"a.png": [Box(170, 60, 280, 200)]}, tmp_path / "faces.parquet")
    out = tmp_path / "out"
    curate.blur(photos, out, Recipe(method="fill"), Session(workers=1, faces=table))

    def fail(*_: object) -> Iterator[Problem]:
        raise DataError("SOURCE cannot be searched")
        yield

    monkeypatch.setattr("curate.duplicates.run.iter_problems", fail)
    with pytest.raises(DataError, match="cannot be searched"):
        list(curate.iter_problems(out, photos, 1))
    (out / "data" / "a.png").write_bytes(b"damaged")
    assert {each.path for each in curate.iter_problems(out, photos, 1)} == {"data/a.png"}


def test_boxes_are_propagated_to_every_copy(dataset: Path, faces: Path, tmp_path: Path) -> None:
    done = curate.propagate_boxes(dataset, faces, tmp_path / "all.parquet")
    assert (done.images, done.faces) == (2, 2)
    entries = {entry.id: entry for entry in iter_faces(tmp_path / "all.parquet")}
    assert [round(v) for v in entries[A[0]].faces[0].box.xyxy] == [85, 30, 140, 100]
    assert [round(v) for v in entries[A[2]].faces[0].box.xyxy] == [232, 60, 342, 200]
    assert entries[A[0]].faces[0].detectors == ("centerface", "near-duplicate")
    assert entries["train/x/alone.png"].faces == ()
    assert load_faces_info(tmp_path / "all.parquet")["propagated"] == 2  # type: ignore[index]
    session = Session(workers=1, faces=tmp_path / "all.parquet", allow_missing=True)
    curate.blur(dataset, tmp_path / "out", Recipe(method="fill"), session)
    assert curate.find_duplicates(dataset, tmp_path / "out").to_dict()["unblurred"] == []


def test_boxes_reach_copies_of_copies(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    astronaut = Image.fromarray(skimage_data.astronaut())
    astronaut.resize((300, 300)).save(photos / "a.jpg", quality=80)
    for name in ("b", "c"):  # the same bytes, of which one only is compared by its hash
        (photos / f"{name}.jpg").write_bytes((photos / "a.jpg").read_bytes())
    astronaut.save(photos / "z.png")
    save_table(photos, {"z.png": [Box(170, 60, 280, 200)]}, tmp_path / "faces.parquet")
    done = curate.propagate_boxes(photos, tmp_path / "faces.parquet", tmp_path / "all.parquet")
    assert (done.images, done.faces) == (3, 3)
    boxes = {e.id: [f.box for f in e.faces] for e in iter_faces(tmp_path / "all.parquet")}
    assert boxes["a.jpg"] == boxes["b.jpg"] == boxes["c.jpg"]
    assert [round(v) for v in boxes["a.jpg"][0].xyxy] == [100, 35, 164, 117]


@pytest.mark.parametrize("first", range(1, 9))
def test_copies_turned_in_any_way_are_found_and_get_the_box(first: int, tmp_path: Path) -> None:
    """Whichever of them comes first, and whether EXIF or the pixels turn them."""
    photos = tmp_path / "photos"
    photos.mkdir()
    image = skimage_data.astronaut()[:400]  # wider than high
    box = Box(170, 60, 280, 200)
    names = {first: "a.png"} | {o: f"{o}.png" for o in range(1, 9) if o != first}
    for orientation, name in names.items():
        Image.fromarray(turn(image, orientation)).save(photos / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, as the copy of this number is
    Image.fromarray(image).save(photos / "exif.jpg", exif=exif, quality=95)
    boxes = {names[first]: [to_upright(box, first, 512, 400)]}
    table = save_table(photos, boxes, tmp_path / "faces.parquet")
    group = curate.find_duplicates(photos).to_dict()["groups"][0]
    assert list(group) == sorted([*names.values(), "exif.jpg"])
    done = curate.propagate_boxes(photos, table, tmp_path / "all.parquet")
    assert (done.images, done.faces) == (8, 8)
    found = {e.id: e.faces[0].box for e in iter_faces(tmp_path / "all.parquet")}
    for orientation, name in names.items():
        expected = to_upright(box, orientation, 512, 400)
        assert found[name].xyxy == pytest.approx(expected.xyxy, abs=1e-6)
    assert found["exif.jpg"].xyxy == pytest.approx(box.xyxy, abs=1e-6)


def test_propagating_twice_adds_nothing_and_shows_progress(
    dataset: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    curate.propagate_boxes(dataset, faces, tmp_path / "one.parquet")
    assert "reading: " in terminal.getvalue()
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    again = curate.propagate_boxes(dataset, one, two, quiet=True)
    assert again.faces == 0
    assert terminal.getvalue() == ""


def test_other_files_of_faces_are_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "faces.json").write_text("[]")
    with pytest.raises(UsageError, match="not a table of faces"):
        curate.propagate_boxes(dataset, tmp_path / "faces.json", tmp_path / "out.parquet")
    with pytest.raises(UsageError, match="0 to 31"):
        curate.SearchOptions(threshold=40)


def test_verify_shows_how_many_images_were_compared(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.duplicates.run._WATCHED", 2)
    out = tmp_path / "out"
    curate.blur(dataset, out, Recipe(profile="fast"), Session(workers=1), quiet=True)
    steps: list[Step] = []
    list(iter_problems(str(dataset), out, 1, watch=steps.append))
    assert {(step.what, step.unit) for step in steps} == {("near-duplicates", "images")}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done >= 9
