from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_ours_are_the_published_averages() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/reproduce_imagenet")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if ", top-" in line]
    assert [(row[0].strip(), row[2].strip()) for row in rows] == [
        ("blurred, top-1", "-0.655"),
        ("blurred, top-5", "-0.418"),
        ("overlaid, top-1", "-0.897"),
        ("overlaid, top-5", "-0.692"),
    ]
    assert all(row[1].strip().startswith(row[2].strip()) for row in rows)
    followed = [line.split("|")[3].strip() for line in done.stdout.splitlines()[6:] if "|" in line]
    assert followed[1:] == ["no"] * 8
