"""The main job over a storage that is not on this disk: an S3 server on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import SetupError
from curate.layouts import open_folder, open_source
from curate.layouts.access.folder import LocalFolder
from curate.pipeline.verify import iter_problems
from tests.layouts.shards import write_tar
from tests.s3_server import S3Server

Fingerprint = Callable[[Path], dict[str, str]]
CURATE = [sys.executable, "-c", "from curate.cli.main import main; main()"]
RECIPE = Recipe(profile="fast", shard_size=4)


@pytest.fixture(scope="module")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "out"
    curate.blur(photos, out, RECIPE, Session(workers=2))
    return out


@pytest.fixture
def server(server: S3Server, photos: Path) -> S3Server:
    """Photos as files and in two tar files."""
    bucket = server.root / "bucket"
    shutil.copytree(photos, bucket / "photos")
    images = sorted(path for path in photos.rglob("*") if path.suffix in (".jpg", ".png"))
    members = [(f"{n:04d}{image.suffix}", image.read_bytes()) for n, image in enumerate(images)]
    for number in range(2):
        write_tar(bucket / f"shards/train-{number}.tar", members[number::2])
    return server


def read_texts(out: Path) -> str:
    return "".join(
        path.read_text(errors="replace") for path in (out / "manifest").rglob("*") if path.is_file()
    )


def test_a_remote_folder_has_the_records_of_the_local_one(server: S3Server, photos: Path) -> None:
    server.page = 3
    folder, local = open_folder("s3://bucket/photos"), LocalFolder(photos)
    leaves = list(folder.files())
    assert [(info.path, info.size) for info in leaves] == [
        (info.path, info.size) for info in local.files()
    ]
    for info in leaves:
        assert folder.info(info.path) == info
        assert folder.read(info.path) == local.read(info.path)
    assert folder.list_names("train") == local.list_names("train")
    assert folder.list_names("nothing") == frozenset()
    assert folder.info("nothing.jpg") is None


@pytest.mark.slow
def test_a_remote_folder_gives_the_same_bytes_as_a_local_one(
    server: S3Server, local: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out = tmp_path / "out"
    summary = curate.blur("s3://bucket/photos", out, RECIPE, Session(workers=2))
    assert summary.faces > 0
    assert fingerprint(out) == fingerprint(local)
    assert "very-secret" not in read_texts(out)
    origins = [json.loads((each / "manifest/run.json").read_text()) for each in (out, local)]
    assert [run["source"]["origin"] for run in origins] == ["s3://bucket/photos", None]
    assert list(iter_problems(out, "s3://bucket/photos", 2)) == []
    assert curate.blur("s3://bucket/photos", out, RECIPE).already_done


@pytest.mark.slow
@pytest.mark.parametrize("place", ["s3://bucket/shards", "s3://bucket/shards/train-{0..1}.tar"])
def test_remote_shards_come_out_as_shards(server: S3Server, tmp_path: Path, place: str) -> None:
    out = tmp_path / "out"
    summary = curate.blur(place, out, RECIPE, Session(workers=2))
    assert summary.faces > 0
    assert [path.name for path in sorted(out.rglob("*.tar"))] == ["train-0.tar", "train-1.tar"]
    assert sum(1 for _ in open_source(str(out / "data")).records()) == summary.written
    assert list(iter_problems(out, place, 2)) == []


@pytest.mark.slow
def test_a_lost_connection_ends_the_run_and_the_same_command_continues(
    server: S3Server, local: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out = tmp_path / "out"
    server.lives = 6
    command = [*CURATE, "blur", "s3://bucket/photos", str(out)]
    options = ["--profile", "fast", "--shard-size", "4", "--workers", "1", "--quiet"]
    died = subprocess.run([*command, *options], capture_output=True, text=True)
    assert died.returncode == 1
    assert len(died.stderr.splitlines()) == 1, died.stderr
    assert "s3://bucket/photos cannot be read" in died.stderr
    assert "run the same command again" in died.stderr
    assert not (out / "manifest").exists()
    server.lives = -1
    again = subprocess.run([*command, *options], capture_output=True, text=True)
    assert again.returncode == 3, again.stderr
    assert fingerprint(out) == fingerprint(local)
    lines = (out / "manifest/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["started", "resumed", "finished"]


@pytest.mark.slow
def test_an_unreadable_object_is_withheld_and_an_unreadable_bucket_ends_the_run(
    server: S3Server, tmp_path: Path
) -> None:
    server.denied = frozenset({"bucket/photos/train/cat/chelsea.jpg"})
    summary = curate.blur("s3://bucket/photos", tmp_path / "one", RECIPE, Session(workers=1))
    assert summary.reasons["unreadable"] == 1
    server.denied = frozenset({"*"})
    with pytest.raises(SetupError, match="same command"):
        curate.blur("s3://bucket/photos", tmp_path / "all", RECIPE, Session(workers=1))
    assert not (tmp_path / "all").exists()
