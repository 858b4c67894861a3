"""The main job over every folder of labeled photos, as a user would run it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CURATE, InProcess


def copy_sample(folder: Path, step: int, target: Path) -> Path:
    """Every so many files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files[::step]:
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return target


FOLDERS = [  # folder, profile, exit code, reasons to withhold, one of how many photos by default
    ("imagenet", "balanced", 0, set(), 6),
    ("imagenette", "fast", 0, set(), 40),
    ("wider", "balanced", 0, set(), 12),
    ("facemask", "balanced", 0, set(), 12),
    ("coco/images", "thorough", 0, set(), 12),
    ("tricky", "balanced", 3, {"bomb", "corrupt", "frames", "truncated", "unsupported"}, 2),
]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("sample", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("folder", "profile", "code", "withheld", "step"), FOLDERS)
def test_measures_of_a_whole_dataset(
    folder: str,
    profile: str,
    code: int,
    withheld: set[str],
    step: int,
    sample: bool,
    shared_data: Path,
    tmp_path: Path,
    in_process: InProcess,
) -> None:
    source, out = shared_data / folder, tmp_path / "out"
    if sample:
        source = copy_sample(source, step, tmp_path / "photos")
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
    # The copies of one photo in every orientation show a person from behind, who is found in some.
    options = ["--no-near-duplicates"] if folder == "tricky" else []
    verify = in_process("verify", out, "--source", source, *options)
    assert verify.returncode == 0, verify.stdout
    assert "is what its manifest says" in verify.stderr
