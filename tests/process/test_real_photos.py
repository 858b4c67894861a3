"""The main job over every folder of labeled photos, as a user would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CURATE = [sys.executable, "-c", "from curate.cli.main import main; main()"]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "profile", "code", "withheld"),
    [
        ("imagenet", "balanced", 0, {}),
        ("imagenette", "fast", 0, {}),
        ("wider", "balanced", 0, {}),
        ("facemask", "balanced", 0, {}),
        ("coco/images", "thorough", 0, {}),
        ("tricky", "balanced", 3, {"corrupt", "frames", "truncated", "unsupported"}),
    ],
)
def test_measures_of_a_whole_dataset(
    folder: str, profile: str, code: int, withheld: set[str], shared_data: Path, tmp_path: Path
) -> None:
    source, out = shared_data / folder, tmp_path / "out"
    blur = subprocess.run(
        [*CURATE, "blur", str(source), str(out), "--profile", profile, "--json", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert blur.returncode == code, blur.stderr
    assert blur.stderr == ""
    summary = json.loads(blur.stdout)
    assert summary["images"] == summary["written"] + summary["withheld"]
    assert set(summary["reasons"]) == set(withheld)
    assert summary["faces"] > 0
    verify = subprocess.run(
        [*CURATE, "verify", str(out), "--source", str(source)], capture_output=True, text=True
    )
    assert verify.returncode == 0, verify.stdout
    assert "is what its manifest says" in verify.stderr
