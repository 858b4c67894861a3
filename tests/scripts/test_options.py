"""Every script prints its usage, refuses what it does not know, and deletes nothing of others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(
    path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix
)
PASSES_ON = "test"  # whose further options are those of pytest


def run(path: Path, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    is_python = "python" in path.read_text().partition("\n")[0]
    command = [*([sys.executable] if is_python else ["bash"]), str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_prints_usage_and_does_nothing(path: Path, option: str, tmp_path: Path) -> None:
    done = run(path, option, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
    assert path.name in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if path.name != PASSES_ON], ids=lambda path: path.name
)
def test_unknown_options_are_refused(path: Path, tmp_path: Path) -> None:
    done = run(path, "--no-such-option", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--no-such-option" in done.stderr or "usage: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_demo_deletes_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"x")
    for folder in (str(photos), "photos", "./photos/", "../" + tmp_path.name + "/photos"):
        done = run(ROOT / "scripts/demo", folder, cwd=tmp_path)
        assert done.returncode == 2
        assert "was not made by scripts/demo" in done.stderr
        assert (photos / "a.jpg").read_bytes() == b"x"
    (tmp_path / "link").symlink_to(photos)
    assert run(ROOT / "scripts/demo", "link", cwd=tmp_path).returncode == 2
    assert run(ROOT / "scripts/demo", "one", "two", cwd=tmp_path).returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "photos"]
