"""The main job over real photos in every layout, as a user would run it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contract.test_layouts import EXAMPLES, build

CURATE = [sys.executable, "-c", "from curate.cli.main import main; main()"]


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
    verify = subprocess.run(
        [*CURATE, "verify", str(out), "--source", str(source)], capture_output=True, text=True
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
    for path in example.written:
        assert (out / "data" / path).read_bytes() == (source / path).read_bytes()
    before, after = example.load(source), example.load(out / "data")
    assert len(after) == len(before)
    assert after != before


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("layout", ["webdataset", "parquet", "arrow"])
def test_real_photos_inside_larger_files(
    layout: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    verify = subprocess.run(
        [*CURATE, "verify", str(out), "--source", str(source)], capture_output=True, text=True
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
    again = subprocess.run(
        [*CURATE, "replay", str(source), str(out), str(tmp_path / "again"), "--json"],
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["counts"]["byte_identical"] == 12
    for path in (path for path in (out / "data").rglob("*") if path.is_file()):
        other = tmp_path / "again/data" / path.relative_to(out / "data")
        assert other.read_bytes() == path.read_bytes()
