"""OUT on an object storage: an S3 server on this machine that drops connections."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import DataError, SetupError, UsageError
from curate.pipeline.object_output import fetched
from tests.layouts.shards import write_tar
from tests.s3_server import S3Server, serve

from .conftest import CURATE, OPTIONS, wait_for

pytest.importorskip("s3fs", reason="the extra s3 is not installed")

Fingerprint = Callable[[Path], dict[str, str]]
RECIPE = Recipe(profile="fast", shard_size=2)
OUT = "s3://bucket/sets/out"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    (tmp_path / "s3/bucket").mkdir(parents=True)
    with serve(tmp_path / "s3") as running:
        running.writable = True
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # it knows another test's server
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield running


def there(server: S3Server) -> Path:
    return server.root / "bucket/sets/out"


@pytest.mark.slow
def test_an_output_on_dropped_connections_is_the_same(
    crowd: Path, undisturbed: Path, server: S3Server, fingerprint: Fingerprint, tmp_path: Path
) -> None:
    server.drops = 7
    summary = curate.blur(crowd, OUT, RECIPE, Session(workers=2), quiet=True)
    assert summary.out == OUT
    assert fingerprint(there(server)) == fingerprint(undisturbed)
    assert sorted(path.name for path in there(server).iterdir()) == ["data", "manifest"]
    keys = [key.removeprefix("bucket/sets/out/") for key in server.written]
    assert keys[-1] == "manifest/run.json"
    for number in range(20):
        part = keys.index(f"manifest/records/part-{number:05d}.parquet")
        tally = keys.index(f".curate/tallies/{number:05d}.json")
        assert tally < part
    assert "very-secret" not in "".join(
        path.read_text(errors="replace") for path in (there(server) / "manifest").glob("*.json*")
    )
    assert curate.verify(OUT, crowd, quiet=True).ok
    assert curate.blur(crowd, OUT, RECIPE, Session(workers=2), quiet=True).already_done
    with pytest.raises(UsageError, match=f"{OUT} was begun with another recipe"):
        curate.blur(crowd, OUT, RECIPE, method="fill", quiet=True)
    replayed = curate.replay(crowd, OUT, tmp_path / "again", quiet=True)
    assert replayed.ok
    written = curate.write_card(OUT, curate.CardOptions(init=True)).written
    assert [path.as_posix() for path in written] == ["card.toml"]
    assert (there(server) / "card.toml").is_file()
    image = next(path for path in sorted((there(server) / "data").iterdir()))
    image.write_bytes(image.read_bytes() + b"x")
    found = curate.verify(OUT, quiet=True)
    assert not found.ok
    assert {problem.path for problem in found.problems} >= {f"data/{image.name}"}


@pytest.mark.slow
def test_array_processes_and_a_killed_one_share_an_object_storage(
    crowd: Path, undisturbed: Path, server: S3Server, fingerprint: Fingerprint
) -> None:
    def run(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*CURATE, "blur", str(crowd), OUT, *OPTIONS, *options],
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def parts() -> int:
        return len(list(there(server).rglob("part-*.parquet")))

    first, second = run("--shards", "1/2"), run("--shards", "2/2")
    wait_for(lambda: parts() >= 3, 240)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    _, said = second.communicate(timeout=240)
    assert second.returncode in (0, 3), said
    early = run("--finish")
    _, said = early.communicate(timeout=240)
    assert early.returncode == 1
    assert "are not committed" in said
    again = run("--shards", "1/2")
    _, said = again.communicate(timeout=240)
    assert again.returncode in (0, 3), said
    last = run("--finish")
    _, said = last.communicate(timeout=240)
    assert last.returncode == 3, said
    assert fingerprint(there(server)) == fingerprint(undisturbed)


def test_a_storage_that_refuses_is_one_line(crowd: Path, server: S3Server) -> None:
    server.writable = False
    done = subprocess.run(
        [sys.executable, "-m", "curate", "blur", str(crowd), OUT, *OPTIONS],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert "s3://bucket/sets/out/.curate/state.json cannot be written" in line
    assert "secret" not in line


def test_images_in_containers_are_refused(server: S3Server, tmp_path: Path, crowd: Path) -> None:
    images = sorted(crowd.glob("*.jpg"))[:2]
    (tmp_path / "shards").mkdir()
    write_tar(
        tmp_path / "shards/a-0.tar", [(f"{n}.jpg", p.read_bytes()) for n, p in enumerate(images)]
    )
    with pytest.raises(UsageError, match="choose an OUT on a file system"):
        curate.blur(tmp_path / "shards", OUT, RECIPE, quiet=True)
    assert not there(server).exists()


def test_what_cannot_be_an_output_is_refused(server: S3Server, crowd: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="overlap"):
        curate.blur("s3://bucket/sets", OUT, RECIPE, quiet=True)
    with pytest.raises(UsageError, match="a user name, a password or a query"):
        curate.blur(crowd, "s3://key:secret@bucket/out", RECIPE, quiet=True)
    with pytest.raises(UsageError, match="share no work folder"):
        curate.blur(crowd, OUT, RECIPE, quiet=True, engine="ray:127.0.0.1:1")
    with pytest.raises(UsageError, match="unknown protocol"):
        curate.blur(crowd, "nowhere://bucket/out", RECIPE, quiet=True)
    with pytest.raises(DataError, match="has no files"), fetched("s3://bucket/nothing"):
        pass
    server.denied = frozenset("*")
    with pytest.raises(SetupError, match="cannot be"):
        curate.verify(OUT, quiet=True)


def test_a_state_of_another_recipe_is_refused(server: S3Server, crowd: Path) -> None:
    curate.blur_shards(crowd, OUT, "1/20", RECIPE, Session(workers=1), quiet=True)
    assert json.loads((there(server) / ".curate/state.json").read_text())["recipe"]
    with pytest.raises(UsageError, match=f"{OUT} was begun with another recipe"):
        curate.blur_shards(crowd, OUT, "2/20", RECIPE, Session(workers=1), method="fill")
    models = there(server) / ".curate/models.json"
    digest = next(part for part in models.read_text().split('"') if len(part) == 64)
    models.write_text(models.read_text().replace(digest, "0" * 64))
    with pytest.raises(SetupError, match="models of"):
        curate.blur_shards(crowd, OUT, "2/20", RECIPE, Session(workers=1), quiet=True)
