from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import curate
from curate import Recipe, Session
from curate.core.entries import ManifestEntry, Route
from curate.core.errors import ManifestError, UsageError
from curate.manifest import store

RECIPE = Recipe(profile="fast", method="mosaic", shard_size=4)


@pytest.fixture(scope="module")
def recorded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed manifest and nothing else of the run that wrote it."""
    folder = tmp_path_factory.mktemp("recorded")
    curate.blur(photos, folder / "out", RECIPE)
    shutil.copytree(folder / "out/manifest", folder / "manifest")
    shutil.rmtree(folder / "out")
    return folder / "manifest"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_replay_is_byte_identical_with_its_manifest(
    workers: int, photos: Path, recorded: Path, tmp_path: Path
) -> None:
    found = curate.replay(photos, recorded, tmp_path / "again", Session(workers=workers))
    assert found.images == 12
    assert found.counts == {
        "byte_identical": 11, "pixel_identical": 0, "withheld_again": 1, "different": 0,
    }  # fmt: skip
    assert found.records_identical
    assert found.changed == ""
    for name in ("run.json", "others.jsonl"):
        assert (tmp_path / "again/manifest" / name).read_bytes() == (recorded / name).read_bytes()


def test_a_sample_is_repeatable_and_has_no_other_files(
    photos: Path, recorded: Path, tmp_path: Path
) -> None:
    found = [curate.replay(photos, recorded, tmp_path / n, sample=3) for n in ("a", "b")]
    assert found[0].images == found[1].images == 3
    names = [
        sorted(str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*.*g"))
        for n in ("a", "b")
    ]
    assert names[0] == names[1]
    assert not list(tmp_path.rglob("labels.csv"))
    with pytest.raises(UsageError, match="sample"):
        curate.replay(photos, recorded, tmp_path / "c", sample=0)


def test_the_recorded_output_is_not_compared_with_itself(
    photos: Path, recorded: Path, tmp_path: Path
) -> None:
    for out in (recorded, recorded.parent, recorded.parent / "manifest/.."):
        with pytest.raises(UsageError, match="is the recorded output; choose a new folder"):
            curate.replay(photos, recorded, out)
    shutil.copytree(recorded, tmp_path / "out/manifest")
    (tmp_path / "out/data").mkdir()
    for manifest, out in (
        (recorded, recorded / "again"),
        (tmp_path / "out", tmp_path / "out/again"),
        (tmp_path / "out/manifest", tmp_path / "out/data/again"),
    ):
        with pytest.raises(UsageError, match="is inside the recorded output; choose a new folder"):
            curate.replay(photos, manifest, out)
        assert not out.exists()


def rewrite(recorded: Path, target: Path, change: Callable[[ManifestEntry], ManifestEntry]) -> Path:
    shutil.copytree(recorded, target)
    for part in store.iter_parts(recorded / "records"):
        entries = [change(entry) for entry in store.iter_part(part)]
        store.save_part(entries, target / "records" / part.name)
    return target


def encoded_otherwise(entry: ManifestEntry) -> ManifestEntry:
    return replace(entry, output_sha256=entry.output_sha256 and "0" * 64)


def shown_otherwise(entry: ManifestEntry) -> ManifestEntry:
    pixels = entry.pixels_sha256 and "0" * 64
    return replace(entry, output_sha256=entry.output_sha256 and "0" * 64, pixels_sha256=pixels)


def test_another_encoding_of_the_same_pixels_is_pixel_identical(
    photos: Path, recorded: Path, tmp_path: Path
) -> None:
    other = rewrite(recorded, tmp_path / "other", encoded_otherwise)
    found = curate.replay(photos, other, tmp_path / "a")
    assert found.counts["pixel_identical"] == 11
    assert found.counts["different"] == 0
    other = rewrite(recorded, tmp_path / "another", shown_otherwise)
    found = curate.replay(photos, other, tmp_path / "b")
    copied = sum(entry.route is Route.COPIED for entry in store.iter_entries(recorded / "records"))
    assert copied > 0
    assert found.counts["pixel_identical"] == copied  # they show what SOURCE shows
    assert found.counts["different"] == 11 - copied
    assert not found.records_identical


def test_versions_that_differ_are_named(photos: Path, recorded: Path, tmp_path: Path) -> None:
    other = shutil.copytree(recorded, tmp_path / "other")
    run = json.loads((other / "run.json").read_text())
    run["libraries"]["numpy"] = "1.0"
    run["libraries"]["gone"] = "2.0"
    (other / "run.json").write_text(json.dumps(run))
    found = curate.replay(photos, other, tmp_path / "again", sample=1)
    assert "gone 2.0 → absent" in found.changed
    assert "numpy 1.0 → " in found.changed


def test_another_source_is_reported(photos: Path, recorded: Path, tmp_path: Path) -> None:
    source = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(source / "train/people/group.png", source / "val/coins/coins.png")
    (source / "val/coffee/coffee.jpg").rename(source / "val/coffee/tea.jpg")
    found = curate.replay(source, recorded, tmp_path / "again")
    said = {difference.id: difference.detail for difference in found.differences}
    assert said == {
        "val/coins/coins.png": "SOURCE has another file of this name",
        "val/coffee/coffee.jpg": "is not in SOURCE",
        "val/coffee/tea.jpg": "is not in the manifest",
    }
    assert found.counts["different"] == 3


def test_a_run_with_given_faces_is_replayed_without_their_file(
    photos: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces.json"
    entry = {"url": "val/coins/coins.png", "bboxes": [{"x0": 5, "y0": 6, "x1": 40, "y1": 50}]}
    faces.write_text(json.dumps([entry]))
    curate.blur(photos, tmp_path / "out", RECIPE, Session(faces=faces, allow_missing=True))
    faces.unlink()
    found = curate.replay(photos, tmp_path / "out", tmp_path / "again")
    assert found.counts["byte_identical"] == 1
    assert found.counts["different"] == 0
    assert found.records_identical


def test_another_folder_than_a_manifest_is_one_clear_line(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"run\.json is missing"):
        curate.replay(photos, tmp_path, tmp_path / "again")
    assert not (tmp_path / "again").exists()
