from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import curate
from curate import Recipe, Session
from curate.core.entries import ManifestEntry
from curate.manifest.store import iter_entries

FAST = Recipe(profile="fast", shard_size=4, include=("labels.csv",))


@pytest.fixture(scope="session")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `FAST`; only read."""
    out = tmp_path_factory.mktemp("finished") / "out"
    curate.blur(photos, out, FAST, Session(workers=2))
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture
def small(photos: Path, tmp_path: Path) -> Path:
    """One photo without a face, six times."""
    source = tmp_path / "small"
    source.mkdir()
    for number in range(6):
        shutil.copy(photos / "val/coins/coins.png", source / f"{number}.png")
    return source


def entries(out: Path) -> dict[str, ManifestEntry]:
    return {entry.id: entry for entry in iter_entries(out / "manifest" / "records")}
