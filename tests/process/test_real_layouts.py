"""The main job over real photos in every layout, as a user would run it."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

import pytest

import curate
from tests.conftest import CURATE, ROOT, InProcess
from tests.contract.test_layouts import EXAMPLES, build


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("layout", list(EXAMPLES))
def test_real_photos_in_every_layout(layout: str, shared_data: Path, tmp_path: Path) -> None:
    example = EXAMPLES[layout]
    source, out = build(example, tmp_path), tmp_path / "out"
    photos = sorted((shared_data / "facemask/images").glob("*.jpg"))
    places = [source / name for name in example.splits if name.endswith(".jpg")]
    if not places or not all(place.is_file() for place in places):
        pytest.skip("its images stand inside larger files: see below")
    for place, photo in zip(places, photos, strict=False):
        place.write_bytes(photo.read_bytes())
    blur = subprocess.run(
        [*CURATE, "blur", str(source), str(out), "--profile", "fast", "--json", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert blur.returncode == 0, blur.stderr
    summary = json.loads(blur.stdout)
    assert summary["written"] == len(example.splits)
    assert summary["images_with_faces"] >= 2
    assert summary["others"]["carried"] == len(example.written)
    assert list(curate.iter_problems(out, source, 1)) == []
    for path in example.written:
        assert (out / "data" / path).read_bytes() == (source / path).read_bytes()
    before, after = example.load(source), example.load(out / "data")
    assert len(after) == len(before)
    assert after != before


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("layout", ["webdataset", "parquet", "arrow"])
def test_real_photos_inside_larger_files(
    layout: str,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_process: InProcess,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    layouts = importlib.import_module("benchmarks.layouts")
    paths = sorted((shared_data / "facemask/images").glob("*.jpg"))[:12]
    images = [(path.name, path.read_bytes()) for path in paths]
    source, out = tmp_path / "source", tmp_path / "out"
    layouts.BUILDERS[layout](images, source)
    blur = subprocess.run(
        [*CURATE, "blur", str(source), str(out), "--profile", "fast", "--json", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert blur.returncode == 0, blur.stderr
    summary = json.loads(blur.stdout)
    assert summary["written"] == 12
    assert summary["images_with_faces"] >= 8
    assert list(curate.iter_problems(out, source, 1)) == []
    again = in_process("replay", source, out, tmp_path / "again", "--json", "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["counts"]["byte_identical"] == 12
    for path in (path for path in (out / "data").rglob("*") if path.is_file()):
        other = tmp_path / "again/data" / path.relative_to(out / "data")
        assert other.read_bytes() == path.read_bytes()
