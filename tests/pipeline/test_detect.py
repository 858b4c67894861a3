from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import DataError, PausedError, SourceChangedError, UsageError
from curate.core.geometry import covered
from curate.layouts.faces import SUFFIXES
from curate.manifest.faces import iter_faces, load_faces_info
from curate.manifest.store import iter_entries
from curate.pipeline.tools import prepare_recipe

FAST = Recipe(profile="fast", shard_size=3)


@pytest.fixture(scope="module")
def table(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found") / "faces.parquet"
    found = curate.detect(photos, out, FAST, Session(workers=2), list(SUFFIXES))
    assert found.faces > 5
    assert found.withheld == 1
    return out


def test_the_table_has_the_facts_of_its_run_and_no_work_files_are_left(table: Path) -> None:
    exports = {f"faces{suffix}" for suffix in SUFFIXES.values()}
    names = {"faces.parquet", *exports, *(f"{name}.digests.jsonl" for name in exports)}
    assert {path.name for path in table.parent.iterdir()} == names
    account = load_faces_info(table)
    assert account is not None
    assert account["recipe_sha256"] == FAST.digest
    assert account["detectors"][0]["name"] == "centerface"
    entries = list(iter_faces(table))
    assert account["counts"]["images"] == len(entries)
    assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
    [cut_off] = [entry for entry in entries if entry.reason]
    assert cut_off.reason is not None
    assert cut_off.reason.startswith("truncated")


@pytest.mark.parametrize("form", ["table", *SUFFIXES])
def test_blur_with_detected_faces_hides_the_same_as_blur_alone(
    form: str, table: Path, photos: Path, tmp_path: Path
) -> None:
    faces = table if form == "table" else table.with_name(f"faces{SUFFIXES[form]}")
    curate.blur(photos, tmp_path / "once", FAST)
    session = Session(faces=faces, allow_missing=True)
    curate.blur(photos, tmp_path / "twice", FAST, session)
    pairs = zip(
        iter_entries(tmp_path / "once/manifest/records"),
        iter_entries(tmp_path / "twice/manifest/records"),
        strict=True,
    )
    for once, twice in pairs:
        assert once.outcome is twice.outcome
        for box in once.hidden:
            assert max(covered(box, other) for other in twice.hidden) > 0.999, once.id
        if form == "table":
            assert once.output_sha256 == twice.output_sha256


@pytest.mark.worker_processes
def test_the_number_of_workers_and_a_pause_change_no_byte(
    table: Path, photos: Path, tmp_path: Path
) -> None:
    out, stop = tmp_path / "faces.parquet", threading.Event()
    half = Session(workers=1, stop=stop, watch=lambda now: now.images > 0 and stop.set())
    with pytest.raises(PausedError, match="same command"):
        curate.detect(photos, out, FAST, half)
    assert not out.exists()
    curate.detect(photos, out, FAST, Session(workers=3))
    assert sha256(out) == sha256(table)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.parquet"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_finished_table_is_kept_and_another_recipe_refused(table: Path, photos: Path) -> None:
    before = sha256(table)
    assert curate.detect(photos, table, FAST).already_done
    with pytest.raises(UsageError, match="another recipe"):
        curate.detect(photos, table, Recipe(profile="fast", confidence=0.9))
    assert sha256(table) == before


def test_a_table_of_another_source_is_refused(table: Path, photos: Path, tmp_path: Path) -> None:
    other = shutil.copytree(photos, tmp_path / "photos")
    (other / "val/coins/coins.png").unlink()
    before = sha256(table)
    with pytest.raises(SourceChangedError, match=r"other images than SOURCE .*coins\.png"):
        curate.detect(other, table, FAST)
    assert sha256(table) == before


def test_an_edited_table_is_never_overwritten(table: Path, photos: Path, tmp_path: Path) -> None:
    edited = tmp_path / "faces.parquet"
    pq.write_table(pq.read_table(table).replace_schema_metadata(None), edited)
    before = sha256(edited)
    with pytest.raises(UsageError, match="not a table of curate detect"):
        curate.detect(photos, edited, FAST)
    assert sha256(edited) == before


def test_unusable_paths_and_formats_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        curate.detect(photos, tmp_path, FAST)
    inside = shutil.copytree(photos, tmp_path / "photos") / "faces.parquet"
    with pytest.raises(UsageError, match="inside SOURCE"):
        curate.detect(inside.parent, inside, FAST)
    with pytest.raises(UsageError, match=r"would be a Parquet table.*--export writes coco"):
        curate.detect(photos, tmp_path / "faces.csv", FAST)
    (tmp_path / "new.coco.json").write_text("precious")
    with pytest.raises(UsageError, match=r"new\.coco\.json exists, and is not of"):
        curate.detect(photos, tmp_path / "new.parquet", FAST, exports="coco")
    with pytest.raises(UsageError, match="unknown format 'pdf'"):
        curate.detect(photos, tmp_path / "f", FAST, exports=["pdf"])
    with pytest.raises(UsageError, match="takes none"):
        curate.detect(photos, tmp_path / "f", FAST, Session(faces=inside))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.coco.json", "photos"]


def test_faces_found_in_another_file_of_the_same_name_are_not_used(
    table: Path, photos: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(other / "train/people/group.png", other / "val/coins/coins.png")
    session = Session(faces=table, allow_missing=True)
    curate.blur(other, tmp_path / "out", FAST, session)
    reasons = {e.id: e.reason for e in iter_entries(tmp_path / "out/manifest/records") if e.reason}
    assert str(reasons.pop("val/coins/coins.png")).startswith("other-file: ")
    assert set(reasons) == {"train/people/cut_off.jpg"}


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "imagenet"])
def test_an_export_is_not_used_for_another_image_of_the_same_name(
    form: str, table: Path, photos: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(table, tmp_path / "faces.parquet")
    found = curate.detect(photos, copy, FAST, exports=[form])
    other = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(other / "train/people/group.png", other / "val/coins/coins.png")
    faces = Path(found.exports[form])
    curate.blur(other, tmp_path / "out", FAST, faces=faces, allow_missing=True)
    entries = {entry.id: entry for entry in iter_entries(tmp_path / "out/manifest/records")}
    assert str(entries["val/coins/coins.png"].reason).startswith("other-file: ")
    assert entries["train/people/group.png"].reason is None


def test_a_lost_label_file_is_not_an_image_without_faces(
    table: Path, photos: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(table, tmp_path / "faces.parquet")
    faces = Path(curate.detect(photos, copy, FAST, exports=["yolo"]).exports["yolo"])
    (faces / "labels/train/people/group.png.txt").unlink()
    curate.blur(photos, tmp_path / "out", FAST, faces=faces, allow_missing=True)
    entries = {entry.id: entry for entry in iter_entries(tmp_path / "out/manifest/records")}
    assert str(entries["train/people/group.png"].reason).startswith("not-looked-at")


def test_the_sidecar_of_an_export_is_part_of_the_recipe(
    table: Path, photos: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(table, tmp_path / "faces.parquet")
    faces = Path(curate.detect(photos, copy, FAST, exports=["coco"]).exports["coco"])
    sidecar = faces.with_name(faces.name + ".digests.jsonl")
    digests = []
    for text in (sidecar.read_text(), ""):
        sidecar.write_text(text)
        session = Session(faces=faces, allow_missing=True)
        digests.append(prepare_recipe(FAST, session).faces_sha256)
    sidecar.write_text("[]\n")
    with pytest.raises(DataError, match=r"line 1, is not an id with a sha256"):
        curate.blur(photos, tmp_path / "out", FAST, faces=faces, allow_missing=True)
    assert digests[0] != digests[1]
