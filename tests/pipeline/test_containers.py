"""The main job over datasets whose images stand inside larger files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import SourceChangedError
from curate.core.protocols import Source
from curate.layouts import open_source
from curate.pipeline import other_files
from curate.pipeline.image_names import ImageNames
from curate.pipeline.session import Snapshot
from curate.pipeline.verify import iter_problems
from tests.layouts.shards import read_tar, write_tar
from tests.layouts.tables.samples import IMAGE, write_arrow, write_parquet

Build = Callable[[Path, list[Path]], object]


def as_tar(root: Path, photos: list[Path]) -> None:
    members = []
    for number, photo in enumerate(photos):
        members += [
            (f"{number:04d}{photo.suffix}", photo.read_bytes()),
            (f"{number:04d}.json", json.dumps({"name": photo.name}).encode()),
        ]
    write_tar(root / "train-0000.tar", members)


def as_table(photos: list[Path]) -> pa.Table:
    images = [{"bytes": photo.read_bytes(), "path": photo.name} for photo in photos]
    return pa.table({"image": pa.array(images, IMAGE), "name": [photo.name for photo in photos]})


def as_parquet(root: Path, photos: list[Path]) -> None:
    write_parquet(root / "data/train-00000-of-00001.parquet", as_table(photos), row_group_size=5)


def as_arrow(root: Path, photos: list[Path]) -> None:
    write_arrow(root, as_table(photos))


@pytest.mark.parametrize("build", [as_tar, as_parquet, as_arrow])
def test_a_dataset_comes_out_in_its_layout(photos: Path, tmp_path: Path, build: Build) -> None:
    found = sorted(path for path in photos.rglob("*") if path.suffix in (".jpg", ".png"))
    source, out = tmp_path / "in", tmp_path / "out"
    build(source, found)
    summary = curate.blur(source, out, Recipe(profile="fast", shard_size=4), Session(workers=2))
    assert (summary.images, summary.withheld) == (len(found), 1)
    assert summary.faces > 0
    assert list(iter_problems(out, source, workers=1)) == []
    opened = open_source(str(out / "data"))
    assert opened.layout == open_source(str(source)).layout
    assert sum(1 for _ in opened.records()) == summary.written


def test_a_pattern_names_the_shards(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed: list[ImageNames] = []

    def index(source: Source) -> ImageNames:
        indexed.append(ImageNames(source))
        return indexed[-1]

    monkeypatch.setattr(other_files, "ImageNames", index)
    found = sorted(photos.rglob("*.png"))
    for number, photo in enumerate(found):
        write_tar(tmp_path / f"in/a-{number:02d}.tar", [("1.png", photo.read_bytes())])
    pattern = tmp_path / "in/a-{01..02}.tar"
    summary = curate.blur(pattern, tmp_path / "out", Recipe(profile="fast"), Session(workers=1))
    assert summary.images == 2
    assert sorted(path.name for path in (tmp_path / "out/data").iterdir()) == [
        "a-01.tar",
        "a-02.tar",
    ]
    assert list(iter_problems(tmp_path / "out", pattern, workers=1)) == []
    assert len(indexed) == 1  # each lists the whole dataset


def test_a_hidden_picture_in_a_rebuilt_file_is_found(photos: Path, tmp_path: Path) -> None:
    portrait = next(photos.rglob("portrait.jpg")).read_bytes()
    write_tar(tmp_path / "in/a.tar", [("1.jpg", portrait), ("1.txt", b"a note")])
    out = tmp_path / "out"
    curate.blur(tmp_path / "in", out, Recipe(profile="fast"), Session(workers=1))
    path = out / "data/a.tar"
    write_tar(path, [*read_tar(path), ("1.bin", portrait)])
    found = {problem.kind for problem in iter_problems(out, None, workers=1)}
    assert found == {"changed", "leak"}


@pytest.mark.parametrize("build", [as_tar, as_parquet, as_arrow])
def test_a_container_that_changes_before_it_is_rebuilt_ends_the_run(
    photos: Path, tmp_path: Path, build: Build
) -> None:
    """Else captions would come to stand beside images that they do not speak of."""
    found = sorted(photos.rglob("*.png"))
    source = tmp_path / "in"
    build(source, found)

    def reverse(now: Snapshot) -> None:
        if now.images == now.total and not (tmp_path / "done").exists():
            build(source, found[::-1])
            (tmp_path / "done").touch()

    with pytest.raises(SourceChangedError, match="has changed in SOURCE"):
        curate.blur(
            source, tmp_path / "out", Recipe(profile="fast"), Session(workers=1, watch=reverse)
        )
    assert not (tmp_path / "out/manifest").exists()
