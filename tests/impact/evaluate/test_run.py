from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate import Session
from curate.core.errors import (
    CurateError,
    DataError,
    LockedError,
    ManifestError,
    PausedError,
    UsageError,
)
from curate.impact.predictions.control_arms import Step
from curate.impact.predictions.report import ImpactReport
from curate.layouts import open_source
from curate.manifest.store import iter_entries
from curate.storage.lock import FolderLock
from tests.conftest import ROOT
from tests.impact.evaluate import trials
from tests.impact.evaluate.trials import IMAGES, Colors, Trial, evaluate
from tests.impact.predictions.files import measure
from tests.layouts.in_memory import pop_origin
from tests.layouts.shards import write_tar
from tests.layouts.tables.samples import IMAGE, table, write_parquet
from tests.report.checks import check_page

WITH_FACES = IMAGES * 6 // 9
MODEL = "python:tests.impact.evaluate.trials:{}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trials.make_dataset(tmp_path_factory.mktemp("trial") / "photos")


@pytest.fixture(scope="module")
def out(source: Path) -> Path:
    return trials.obfuscate(source, source.parent / "out")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("curate.impact.evaluate.execute.SHARD", 10)
    Colors.seen = 0
    return iter([None])


@pytest.fixture
def trial(source: Path, out: Path) -> Trial:
    return Trial(original=str(source), obfuscated=out, model=MODEL.format("Colors"), batch=4)


def steps(answer: ImpactReport) -> dict[tuple[str, str], Step]:
    assert answer.controls is not None
    return {(step.before, step.after): step for step in answer.controls.steps}


def check_schema(answer: ImpactReport) -> dict[str, Any]:
    report = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    jsonschema.validate(report, json.loads((ROOT / "manifests/impact-1.schema.json").read_text()))
    assert isinstance(report, dict)
    return report


def test_model_that_reads_faces_loses_by_hiding_faces(trial: Trial) -> None:
    answer = evaluate(trial)
    # Where the face is hidden it says blue, and is right of one image in three.
    lost = WITH_FACES * 2 // 3
    assert answer.impact.top1.original == 1
    assert answer.impact.top1.difference == pytest.approx(-lost / IMAGES)
    found = steps(answer)
    assert found["original", "reencoded"].top1.difference == 0
    assert found["reencoded", "random-region"].top1.difference == 0
    assert found["random-region", "obfuscated"].top1.difference == pytest.approx(-lost / IMAGES)
    assert found["random-region", "obfuscated"].test.b == lost
    present = found["random-region", "obfuscated"].present
    assert present is not None
    assert (present.n, present.difference) == (WITH_FACES, pytest.approx(-2 / 3))
    assert answer.controls is not None
    assert dict(answer.controls.routes) == {"copied": IMAGES - WITH_FACES, "spliced": WITH_FACES}
    placement = answer.controls.placement
    assert placement is not None
    assert (placement.images, placement.regions, placement.overlapping) == (
        WITH_FACES, WITH_FACES, 0,
    )  # fmt: skip
    assert placement.share == pytest.approx(placement.faces_share)


def test_model_that_reacts_to_any_region_loses_nothing_by_faces(trial: Trial) -> None:
    answer = evaluate(replace(trial, model=MODEL.format("Startled")))
    found = steps(answer)
    assert found["reencoded", "random-region"].top1.difference == pytest.approx(
        -WITH_FACES / IMAGES
    )
    assert found["original", "reencoded"].top1.difference == 0
    # Blue is its guess of what it cannot see, and that guess is turned too.
    assert found["random-region", "obfuscated"].top1.difference >= 0


def test_the_report_fits_its_schema_and_the_page_shows_it(trial: Trial) -> None:
    answer = evaluate(trial)
    report = check_schema(answer)
    assert report["model"]["preprocess"] == {"counts": "colors"}
    assert report["model"]["batch"] == 4
    assert report["pairs"] == IMAGES
    assert report["by_presence"]["with_faces"]["n"] == WITH_FACES
    assert [each["arm"] for each in report["arms"]["accuracy"]] == [
        "original", "obfuscated", "reencoded", "random-region",
    ]  # fmt: skip
    assert len(report["arms"]["steps"]) == 6
    assert "hidden regions are faces" in report["arms"]["statement"][3]
    page = answer.to_html()
    check_page(page)
    for text in ("Control arms", "The model", "placed at random", "counts", "random-region"):
        assert text in page
    assert str(trial.obfuscated) not in page + json.dumps(report)


def test_kept_predictions_reproduce_the_report(trial: Trial, tmp_path: Path) -> None:
    answer = evaluate(replace(trial, folder=tmp_path / "kept"))
    pair = (tmp_path / "kept/original", tmp_path / "kept/obfuscated")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(sorted(trials.COLOURS)))
    again = measure((pair,), classes=str(names), manifest=trial.obfuscated)
    found = answer.to_dict()
    for name, value in again.to_dict().items():
        assert found[name] == value, name
    digests = {
        entry.id: (entry.source_sha256, entry.output_sha256)
        for entry in iter_entries(trial.obfuscated / "manifest/records")
    }
    for place, folder in enumerate(pair):
        assert sorted(path.name for path in folder.iterdir())[0] == "part-00000.parquet"
        for row in pq.read_table(folder).to_pylist():
            assert row["sha256"] == digests[row["id"]][place]


def test_image_with_equal_pixels_reuses_scores(trial: Trial, tmp_path: Path) -> None:
    evaluate(replace(trial, folder=tmp_path / "kept"))
    # All originals, those with faces in three more arms, and the one that counts the classes.
    assert Colors.seen == IMAGES + 3 * WITH_FACES + 1
    original, obfuscated = (
        {row["id"]: row["logits"] for row in pq.read_table(tmp_path / "kept" / arm).to_pylist()}
        for arm in ("original", "obfuscated")
    )
    same = [name for name in original if original[name] == obfuscated[name]]
    assert len(same) >= IMAGES - WITH_FACES


class Stopping:
    """Asks to stop once some images are done."""

    def __init__(self, after: int) -> None:
        self.session = Session(workers=1, watch=self.watch)
        self.after = after

    def watch(self, now: Any) -> None:
        if now.images >= self.after:
            self.session.stop.set()


def test_stopped_run_resumes_with_the_same_report(trial: Trial, tmp_path: Path) -> None:
    whole = evaluate(replace(trial, folder=tmp_path / "whole")).to_dict()
    going = replace(trial, folder=tmp_path / "going")
    Colors.seen = 0
    with pytest.raises(PausedError, match="stopped after 20 of 36 images; run the same"):
        evaluate(going, Stopping(12).session)
    first = Colors.seen
    shots: list[Any] = []
    assert evaluate(going, Session(workers=1, watch=shots.append)).to_dict() == whole
    assert first + Colors.seen - first == IMAGES + 3 * WITH_FACES + 2
    assert shots[-1].resumed == 20
    assert (shots[-1].images, shots[-1].total) == (IMAGES, IMAGES)
    Colors.seen = 0
    assert evaluate(going).to_dict() == whole
    assert Colors.seen == 1


def test_missing_part_is_predicted_again(trial: Trial, tmp_path: Path) -> None:
    kept = replace(trial, folder=tmp_path / "kept")
    whole = evaluate(kept).to_dict()
    (tmp_path / "kept/random-region/part-00001.parquet").unlink()
    (tmp_path / "kept/random-region/.part-00001.parquet.partial").write_bytes(b"half")
    assert evaluate(kept).to_dict() == whole
    (tmp_path / "kept/original/part-00002.parquet").unlink()
    assert evaluate(kept).to_dict() == whole


def test_arms_can_be_added_later(trial: Trial, tmp_path: Path) -> None:
    kept = replace(trial, folder=tmp_path / "kept", arms=())
    answer = evaluate(kept)
    assert answer.controls is None
    assert "arms" not in check_schema(answer)
    assert "Control arms that were not run: reencoded, random-region." in answer.notes
    Colors.seen = 0
    later = evaluate(replace(kept, arms=("random-region",)))
    assert Colors.seen == WITH_FACES + 1
    assert [step.after for step in steps(later).values()] == [
        "obfuscated", "random-region", "obfuscated",
    ]  # fmt: skip
    assert check_schema(later)["arms"]["routes"] == {}


def test_predictions_of_another_subject_are_refused(
    trial: Trial, tmp_path: Path, source: Path
) -> None:
    kept = replace(trial, folder=tmp_path / "kept")
    evaluate(kept)
    with pytest.raises(UsageError, match=r"with another model"):
        evaluate(replace(kept, model=MODEL.format("Startled")))
    with pytest.raises(UsageError, match="with another"):
        evaluate(replace(kept, batch=5))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"contains other files, such as 'photo\.jpg'"):
        evaluate(replace(trial, folder=tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["photo.jpg"]


def test_concurrent_run_is_refused(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.storage.lock._TIMEOUT_S", 0)
    with FolderLock(tmp_path / "kept/.lock/lock"), pytest.raises(LockedError, match="another run"):
        evaluate(replace(trial, folder=tmp_path / "kept"))


def test_temporary_predictions_are_removed(trial: Trial, tmp_path: Path) -> None:
    going = replace(trial, folder=tmp_path / "work", keep=False)
    with pytest.raises(PausedError):
        evaluate(going, Stopping(5).session)
    assert (tmp_path / "work/original").is_dir()
    evaluate(going)
    assert not (tmp_path / "work").exists()


def test_dataset_without_manifest_has_no_control_arms(
    trial: Trial, source: Path, out: Path
) -> None:
    plain = replace(trial, obfuscated=out / "data")
    answer = evaluate(plain)
    report = check_schema(answer)
    assert report["manifest"] is None
    assert report["top1"] == evaluate(trial).to_dict()["top1"]
    assert any("the obfuscated dataset has no manifest" in note for note in answer.notes)
    with pytest.raises(UsageError, match="control arms need a manifest"):
        evaluate(replace(plain, arms=("reencoded",)))


def test_changed_dataset_without_manifest_is_refused(
    trial: Trial, source: Path, out: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(out / "data", tmp_path / "other")
    plain = replace(trial, obfuscated=other, folder=tmp_path / "kept")
    evaluate(plain)
    Image.new("RGB", trials.SIZE).save(other / "val/blue/000.jpg")
    with pytest.raises(UsageError, match=r"with another images_sha256"):
        evaluate(plain)


def test_withheld_images_are_counted_and_left_out(source: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(source, tmp_path / "photos")
    shutil.copy(source.parent / "faces.json", tmp_path / "faces.json")
    whole = (photos / "val/red/002.jpg").read_bytes()
    (photos / "val/red/002.jpg").write_bytes(whole[:800])
    made = trials.obfuscate(photos, tmp_path / "out")
    trial = Trial(original=str(photos), obfuscated=made, model=MODEL.format("Colors"))
    report = check_schema(evaluate(trial))
    assert report["unpaired"] == {"original": 0, "obfuscated": 0, "withheld": 1}
    assert report["pairs"] == IMAGES - 1
    # Of a plain dataset nobody has said beforehand that it cannot be decoded.
    told: list[str] = []
    shutil.copy(photos / "val/red/002.jpg", made / "data/val/red/002.jpg")
    plain = replace(trial, obfuscated=made / "data")
    answer = evaluate(plain, Session(workers=1, notify=told.append))
    assert check_schema(answer)["model"]["undecoded"] == 1
    assert "Images left out because they could not be decoded: 1." in answer.notes
    assert any(line.startswith("'val/red/002.jpg' is left out: ") for line in told)


def test_labels_from_a_table(trial: Trial, source: Path, tmp_path: Path) -> None:
    names = [entry.id for entry in iter_entries(trial.obfuscated / "manifest/records")]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["id,label", *(f"{name},blue" for name in names)]))
    answer = evaluate(replace(trial, labels=table))
    assert answer.impact.top1.original == pytest.approx(1 / 3)
    table.write_text("\n".join(["id,label", *(f"{name},blue" for name in names[1:])]))
    with pytest.raises(DataError, match=rf"labels.csv has no label for '{names[0]}'"):
        evaluate(replace(trial, labels=table))
    table.write_text(f"id,label\n{names[0]},blue\n{names[0]},red")
    with pytest.raises(DataError, match="twice"):
        evaluate(replace(trial, labels=table))
    table.write_text(f"id,class\n{names[0]},blue")
    with pytest.raises(DataError, match="record 1, has no label; want columns id and label"):
        evaluate(replace(trial, labels=table))


def test_classes_from_a_file(trial: Trial, tmp_path: Path) -> None:
    nameless = replace(trial, model=MODEL.format("Nameless"))
    with pytest.raises(UsageError, match="does not name its 3 classes; list the names"):
        evaluate(nameless)
    names = tmp_path / "names.json"
    names.write_text(json.dumps(sorted(trials.COLOURS)))
    answer = evaluate(replace(nameless, classes=str(names)))
    assert answer.impact.experiment.classes == ("blue", "green", "red")


def test_groups_from_a_table(trial: Trial, tmp_path: Path) -> None:
    names = [entry.id for entry in iter_entries(trial.obfuscated / "manifest/records")]
    table = tmp_path / "groups.csv"
    table.write_text(
        "\n".join(["id,tone", *(f"{n},{'I' if n < 'val/r' else 'VI'}" for n in names)])
    )
    report = check_schema(evaluate(replace(trial, groups=table)))
    assert [group["n"] for group in report["by_group"]["tone"]["groups"]] == [24, 12]
    again = check_schema(evaluate(replace(trial, groups=pd.read_csv(table))))
    assert (pop_origin(report)[1], pop_origin(again)[1]) == (False, True)
    assert again == report
    Colors.seen = 0
    with pytest.raises(UsageError, match="has no column 'age'; it has: "):
        evaluate(replace(trial, groups=table, by=("age",)))
    with pytest.raises(UsageError, match="--by needs the table"):
        evaluate(replace(trial, by=("age",)))
    assert Colors.seen == 0  # said before the model has worked


def pack_tar(photos: list[Path], folder: Path) -> None:
    write_tar(folder / "val-0000.tar", [(path.name, path.read_bytes()) for path in photos])


def pack_parquet(photos: list[Path], folder: Path) -> None:
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in photos]
    rows = table(len(photos), image=pa.array(images, IMAGE))
    write_parquet(folder / "data/val-00000-of-00001.parquet", rows)


@pytest.mark.parametrize("pack", [pack_tar, pack_parquet])
def test_images_in_containers(
    trial: Trial, source: Path, tmp_path: Path, pack: Callable[[list[Path], Path], None]
) -> None:
    photos = sorted(source.rglob("*.jpg"), key=lambda path: path.name)
    packed = tmp_path / "packed"
    packed.mkdir()
    pack(photos, packed)
    names = [record.id for record in open_source(str(packed)).records()]
    faces = json.loads((source.parent / "faces.json").read_text())
    by_name = {Path(face["file"]).name: face for face in faces}
    said = [
        {**by_name[photo.name], "file": name} for name, photo in zip(names, photos, strict=True)
    ]
    (tmp_path / "faces.json").write_text(json.dumps(said))
    labels = tmp_path / "labels.tsv"
    rows = [f"{name}\t{photo.parent.name}" for name, photo in zip(names, photos, strict=True)]
    labels.write_text("\n".join(["id\tlabel", *rows]))
    out = trials.obfuscate(packed, tmp_path / "out")
    changed = replace(trial, original=str(packed), obfuscated=out, labels=labels)
    found, wanted = evaluate(changed), evaluate(trial)
    assert found.impact.top1.difference == wanted.impact.top1.difference < 0
    assert found.controls is not None
    assert wanted.controls is not None
    assert found.controls.accuracies == wanted.controls.accuracies
    plain = evaluate(replace(changed, obfuscated=out / "data"))
    assert plain.impact.top1 == found.impact.top1


def break_records(out: Path) -> None:
    (out / "manifest/records/part-00004.parquet").unlink()


def swap_output(out: Path) -> None:
    shutil.copy(out / "data/val/red/005.jpg", out / "data/val/red/002.jpg")


def lose_output(out: Path) -> None:
    (out / "data/val/red/002.jpg").unlink()


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (break_records, "differs from the digest in .*run.json; it was changed"),
        (swap_output, "another dataset: the obfuscated file of 'val/red/002.jpg' has another SHA"),
        (lose_output, "cannot read the obfuscated 'val/red/002.jpg' .*No such file.*curate verify"),
    ],
)
def test_changed_output_is_refused(trial: Trial, tmp_path: Path, spoil: Any, line: str) -> None:
    copy = shutil.copytree(trial.obfuscated, tmp_path / "out")
    spoil(copy)
    with pytest.raises((DataError, ManifestError), match=line) as error:
        evaluate(replace(trial, obfuscated=copy))
    assert "\n" not in str(error.value)


def test_a_manifest_of_another_dataset_is_refused(trial: Trial, tmp_path: Path) -> None:
    other = shutil.copytree(trial.original, tmp_path / "other")
    Image.new("RGB", trials.SIZE).save(other / "val/blue/000.jpg")
    with pytest.raises(DataError, match=r"the original file of 'val/blue/000.jpg' has another SHA"):
        evaluate(replace(trial, original=str(other)))


def test_unpaired_images_are_refused_unless_allowed(trial: Trial, tmp_path: Path) -> None:
    more = shutil.copytree(trial.original, tmp_path / "more")
    shutil.copy(more / "val/blue/000.jpg", more / "val/blue/new.jpg")
    with pytest.raises(DataError, match="that are not in OBFUSCATED: 1, such as 'val/blue/new"):
        evaluate(replace(trial, original=str(more)))
    (more / "val/red/002.jpg").unlink()
    allowed = replace(trial, original=str(more), allow_missing=True)
    report = check_schema(evaluate(allowed))
    assert report["unpaired"] == {"original": 1, "obfuscated": 1, "withheld": 0}
    assert report["pairs"] == IMAGES - 1
    nothing = shutil.copytree(more / "val", tmp_path / "nothing/other")
    with pytest.raises(DataError, match="have no image in common"):
        evaluate(replace(allowed, original=str(nothing.parent)))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"model": MODEL.format("Broken")},
            "the model returns a score for 'val/red/.*' that is NaN",
        ),
        ({"model": MODEL.format("Wide")}, "returns scores for 4 classes, but its own list names 3"),
        ({"model": None}, "name a classifier with --model"),
        ({"classes": "4"}, "returns scores for 3 classes, but --classes 4 names 4"),
        ({"classes": "3"}, "the label 'blue' of 'val/blue/000.jpg' is not one of the model's 3"),
        ({"classes": "no-such-file"}, "cannot read the list of classes no-such-file"),
        ({"original": "no-such-folder"}, "ORIGINAL 'no-such-folder' does not exist"),
        ({"obfuscated": Path("no-such-folder")}, "OBFUSCATED 'no-such-folder' does not exist"),
        ({"labels": Path("no-such.csv")}, "no-such.csv cannot be read"),
    ],
)
def test_mismatches_are_one_line_errors(trial: Trial, change: dict[str, Any], line: str) -> None:
    with pytest.raises(CurateError, match=line) as error:
        evaluate(replace(trial, **change))
    assert "\n" not in str(error.value)


def test_an_empty_class_and_an_unknown_arm_are_refused(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("blue\n\nred\n")
    with pytest.raises(DataError, match="has an empty class at index 1"):
        evaluate(replace(trial, classes=str(tmp_path / "names.txt")))
    with pytest.raises(UsageError, match="unknown control arm 'blurred'; choose from reencoded"):
        replace(trial, arms=("blurred",))
    with pytest.raises(UsageError, match="--batch cannot be 0"):
        replace(trial, batch=0)


def test_dataset_without_categories_needs_labels(trial: Trial, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (40, 40)).save(flat / "a.png")
    with pytest.raises(DataError, match=r"'a\.png' has no category in ORIGINAL; give labels with"):
        evaluate(replace(trial, original=str(flat), obfuscated=flat))


@pytest.mark.slow
@pytest.mark.data
def test_packaged_classifier_reaches_published_accuracy(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    photos = shared_data / "imagenette/val"
    answer = evaluate(Trial(original=str(photos), obfuscated=photos))
    # 75.1 % of ImageNet's validation images; these are 250 of ten of its classes.
    assert answer.impact.top1.original == pytest.approx(0.75, abs=0.06)
    assert answer.impact.top1.difference == 0
    assert answer.impact.test.p == 1
