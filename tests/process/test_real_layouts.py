"""The main job over real photos in every layout whose images are files, as a user would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    if not all(place.is_file() for place in places):
        pytest.skip("its images stand inside larger files")
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
    assert summary["others"]["carried"] == len(example.carried)
    verify = subprocess.run(
        [*CURATE, "verify", str(out), "--source", str(source)], capture_output=True, text=True
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
    for path in example.carried:
        assert (out / "data" / path).read_bytes() == (source / path).read_bytes()
    before, after = example.load(source), example.load(out / "data")
    assert len(after) == len(before)
    assert after != before
