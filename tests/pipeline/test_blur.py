from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
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
from curate import Recipe, Session
from curate.core.entries import Outcome, Route
from curate.core.errors import DataError, PausedError, SourceChangedError, UsageError
from curate.core.geometry import Box
from curate.layouts.sidecars.values import Limits
from curate.layouts.webdataset.rewrite import NOT_TEXT
from curate.manifest.store import iter_entries
from curate.pipeline.sidecar_summary import find_left_out
from curate.pipeline.sidecars import CAPTION
from curate.pipeline.verify import iter_problems
from tests.pipeline.conftest import FAST, entries

Fingerprint = Callable[[Path], dict[str, str]]

NO_OTHERS = dict.fromkeys(("carried", "included", "rebuilt", "left_out", "withheld"), 0)


def test_every_image_is_either_written_or_withheld(photos: Path, finished: Path) -> None:
    found = entries(finished)
    images = {
        str(path.relative_to(photos))
        for path in photos.rglob("*")
        if path.suffix in (".jpg", ".png")
    }
    assert set(found) == images
    for name, entry in found.items():
        assert (finished / "data" / name).exists() == (entry.outcome is Outcome.WRITTEN)


def test_a_truncated_image_is_withheld_with_its_reason(finished: Path) -> None:
    entry = entries(finished)["train/people/cut_off.jpg"]
    assert entry.outcome is Outcome.WITHHELD
    assert entry.reason is not None
    assert entry.reason.startswith("truncated: ")
    assert entry.output_sha256 is None


def test_faces_are_found_and_photos_without_one_are_copied(finished: Path) -> None:
    found = entries(finished)
    for name in ("portrait.jpg", "portrait_gps.jpg", "portrait_rotated.jpg", "portrait_alpha.png"):
        assert len(found[f"train/people/{name}"].faces) == 1, name
    assert len(found["train/people/group.png"].faces) == 3
    assert found["train/people/portrait.jpg"].route is Route.SPLICED
    assert found["train/people/group.png"].route is Route.LOSSLESS
    assert found["val/coffee/coffee.jpg"].route is Route.COPIED
    assert found["val/coffee/coffee.jpg"].blurred_share == 0


def test_a_rotated_photo_has_its_face_in_stored_pixels(finished: Path) -> None:
    upright = entries(finished)["train/people/portrait.jpg"].faces[0].box
    stored = entries(finished)["train/people/portrait_rotated.jpg"].faces[0].box
    # Orientation 6 is stored turned left: upright (x, y) stands at stored (y, 448 - x). The box
    # joins those of both renderings, so that it may be larger.
    turned = Box(upright.y0, 448 - upright.x1, upright.y1, 448 - upright.x0)
    assert stored.x0 <= turned.x0 + 6
    assert stored.y0 <= turned.y0 + 6
    assert stored.x1 >= turned.x1 - 6
    assert stored.y1 >= turned.y1 - 6
    assert stored.area < 1.5 * turned.area


def test_splits_and_categories_come_from_the_folders(finished: Path) -> None:
    entry = entries(finished)["val/coffee/coffee.jpg"]
    assert (entry.split, entry.category) == ("val", "coffee")


def test_pixels_outside_the_hidden_regions_are_the_sources(photos: Path, finished: Path) -> None:
    before = np.asarray(Image.open(photos / "train/people/group.png"))
    after = np.asarray(Image.open(finished / "data/train/people/group.png"))
    outside = np.ones(before.shape[:2], bool)
    for hidden in entries(finished)["train/people/group.png"].hidden:
        outside[hidden.slices] = False
        assert np.abs(before[hidden.slices].astype(int) - after[hidden.slices]).mean() > 10
    assert (before[outside] == after[outside]).all()


def test_included_files_are_copied(photos: Path, finished: Path) -> None:
    assert (finished / "data/labels.csv").read_bytes() == (photos / "labels.csv").read_bytes()


def test_no_work_files_are_left(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == ["data", "manifest"]


@pytest.mark.worker_processes
def test_the_number_of_workers_changes_no_byte(
    photos: Path, finished: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    for workers in (1, 3):
        out = tmp_path / str(workers)
        curate.blur(photos, out, FAST, Session(workers=workers))
        assert fingerprint(out) == fingerprint(finished)


def test_a_finished_run_is_not_repeated(
    photos: Path, finished: Path, fingerprint: Fingerprint
) -> None:
    before = fingerprint(finished)
    summary = curate.blur(photos, finished, FAST)
    assert summary.already_done
    assert summary.images == len(entries(finished))
    assert fingerprint(finished) == before
    assert sorted(path.name for path in finished.iterdir()) == ["data", "manifest"]


def test_another_recipe_on_the_same_out_is_refused_with_both_digests(
    photos: Path, finished: Path
) -> None:
    other = Recipe(profile="fast", shard_size=3, method="fill")
    with pytest.raises(UsageError, match="another recipe") as refusal:
        curate.blur(photos, finished, other)
    assert FAST.digest[:12] in str(refusal.value)
    assert other.digest[:12] in str(refusal.value)


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


def test_source_is_not_changed(photos: Path, finished: Path) -> None:
    newest = max(path.stat().st_mtime_ns for path in photos.rglob("*") if path.is_file())
    assert newest < (finished / "manifest/run.json").stat().st_mtime_ns


def test_files_that_are_no_annotations_are_left_out_and_named(small: Path, tmp_path: Path) -> None:
    picture = "iVBORw0KGgo" + "A" * 900
    (small / "labelme.json").write_text(json.dumps({"imageData": picture}))
    pq.write_table(pa.table({"label": ["cat"]}), small / "labels.parquet")
    (small / "0.txt").write_text("a caption")
    (small / "thumbs.db").write_bytes(b"x")
    (small / "LICENSE").write_text("As you like.\n")
    summary = curate.blur(small, tmp_path / "out", FAST)
    assert summary.others == NO_OTHERS | {"carried": 1, "included": 0, "left_out": 4}
    assert summary.left_out == ("0.txt", "labelme.json", "labels.parquet", "thumbs.db")
    text = summary.to_text()
    assert "left out: 0.txt, labelme.json, labels.parquet, thumbs.db" in text
    assert "such as 0.txt: --include '*.txt'" in text
    assert "such as labels.parquet: --include '*.parquet'" in text
    assert not list((tmp_path / "out/data").glob("*.db"))
    everything = replace(FAST, include=("*",))
    summary = curate.blur(small, tmp_path / "all", everything)
    assert summary.others == NO_OTHERS | {"carried": 4, "included": 4, "left_out": 1}
    assert "copied as they are, unread, with --include: 4" in summary.to_text()
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
    assert problem.detail == "content is not what annotations and names of images contain"
    dropped = curate.blur(small, tmp_path / "o", replace(FAST, drop_keys=("gps", "author")))
    assert json.loads((tmp_path / "o/data/metadata.jsonl").read_text()) == {
        "file_name": "0.png",
        "exif": {},
    }
    assert dropped.content["dropped"] == {
        "metadata.jsonl": {"GPSLatitude": 1, "author": 1, "lat": 1}
    }


def test_a_pattern_of_include_that_matches_nothing_is_named(small: Path, tmp_path: Path) -> None:
    (small / "a.csv").write_text("a,b\n")
    recipe = replace(FAST, include=("*.csv", "*.tx", "notes.md"))
    summary = curate.blur(small, tmp_path / "out", recipe)
    assert summary.others["included"] == 1
    assert "--include matches no file: '*.tx', 'notes.md'" in summary.to_text()


def test_digests_and_addresses_in_names_of_images_are_in_the_content_report(
    small: Path, tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"source").hexdigest()
    for name in (f"{digest}.png", f"a_png.rf.{digest[:32]}.png", "eve@example.org/0.png"):
        (small / name).parent.mkdir(exist_ok=True)
        shutil.copy(small / "0.png", small / name)
    out = tmp_path / "out"
    summary = curate.blur(small, out, FAST)
    found = {"names of images": {"hashes": {"path": 2}, "names": {"path": 1}}}
    assert summary.content["found"] == found
    assert "The names of images contain" in summary.to_text()
    assert "hashes: path (2)" in summary.to_text()
    assert list(iter_problems(out, small, 1)) == []
    assert curate.blur(small, out, FAST).content["found"] == found, "also of a finished run"


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
    assert summary.others == NO_OTHERS | {"carried": 0, "included": 0, "left_out": 1}
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


@pytest.mark.parametrize("folder", ["docs", "a [1]", "it's", "x*?", "a b"])
def test_the_pattern_that_a_hint_names_matches_the_file(folder: str) -> None:
    path, other = f"{folder}/README.md", f"{folder}/notes.[v1]"
    listed = [(path, "it contains a link"), (other, CAPTION)]
    _, hints = find_left_out([*listed, ("data/kept.json", None)])
    assert len(hints) == 2
    for hint, name in zip(hints, (path, other), strict=True):
        [pattern] = shlex.split(re.search(r"--include (.+) cop", hint)[1])  # type: ignore[index]
        assert Limits((), [pattern]).includes(name)
        assert not Limits((), [pattern]).includes("other/notes.txt")


def test_members_that_were_left_out_have_a_reason_and_the_option() -> None:
    names, hints = find_left_out(
        [
            ("a.tar/1.npy", NOT_TEXT),
            ("a.tar/2.npy", NOT_TEXT),
            ("a.tar/3.json", "it is not valid JSON; the file may be truncated"),
            ("a.tar/4", "it is a link"),
            ("a.tar/5.txt", "the images of its sample are withheld"),
        ]
    )
    assert names == ("a.tar/1.npy", "a.tar/2.npy", "a.tar/3.json", "a.tar/4", "a.tar/5.txt")
    assert hints == (
        "1 × it is a link, such as a.tar/4",
        f"2 × {NOT_TEXT}, such as a.tar/1.npy: --include '*.npy' copies such files unread",
        "1 × it is not valid JSON; the file may be truncated, such as a.tar/3.json: --include "
        "'*.json' copies such files unread",
        "1 × the images of its sample are withheld, such as a.tar/5.txt",
    )
