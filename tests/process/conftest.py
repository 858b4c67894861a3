from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from PIL import Image

import curate
from tests.conftest import CURATE
from tests.s3_server import S3Server, serve

OPTIONS = ["--profile", "fast", "--shard-size", "2", "--workers", "2", "--quiet"]


@pytest.fixture(scope="session")
def crowd(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small photos, some with faces, some without, one cut off."""
    folder = tmp_path_factory.mktemp("crowd")
    names = ["train/people/portrait.jpg", "train/cat/chelsea.jpg", "train/people/group.png"]
    for number in range(39):
        with Image.open(photos / names[number % 3]) as image:
            small = image.convert("RGB").resize((160 + number, 160))
        small.save(folder / f"{number:02d}{Path(names[number % 3]).suffix}")
    shutil.copy(photos / "train/people/cut_off.jpg", folder)
    (folder / "notes.txt").write_text("forty photos\n")
    return folder


@pytest.fixture(scope="session")
def undisturbed(crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    curate.blur(crowd, out, profile="fast", shard_size=2, workers=1, quiet=True)
    return out


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with one empty bucket, which the storage's own settings name."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    (tmp_path / "s3/bucket").mkdir(parents=True)
    with serve(tmp_path / "s3") as running:
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # it knows another test's server
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key-id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield running


def start(source: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CURATE, "blur", str(source), str(out), *OPTIONS, *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


def committed(out: Path) -> int:
    shards = out / ".curate" / "shards"
    return len(list(shards.iterdir())) if shards.is_dir() else 0
