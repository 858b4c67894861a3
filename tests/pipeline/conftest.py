from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import curate
from curate import Recipe, Session


@pytest.fixture(scope="session")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    recipe = Recipe(profile="fast", shard_size=4, include=("labels.csv",))
    curate.blur(photos, out, recipe, Session(workers=2))
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))
