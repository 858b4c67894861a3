"""OUT on an object storage: an S3 server on this machine that drops connections."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import DataError, SetupError, UsageError
from curate.pipeline.object_output import ObjectOutput, fetched
from tests.conftest import ROOT
from tests.layouts.shards import write_tar
from tests.layouts.tables.samples import IMAGE, table, write_parquet
from tests.publishing.outs import make_out
from tests.s3_server import S3Server

from .conftest import CURATE, OPTIONS, wait_for

Fingerprint = Callable[[Path], dict[str, str]]
RECIPE = Recipe(profile="fast", shard_size=2)
OUT = "s3://bucket/sets/out"


@pytest.fixture(autouse=True)
def writable(server: S3Server) -> None:
    server.writable = True


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
    files = [path.read_bytes() for path in there(server).rglob("*") if path.is_file()]
    assert not [data for data in files if b"very-secret" in data or b"the-key-id" in data]
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


def make_tars(photos: list[bytes], folder: Path) -> None:
    for number in range(2):
        members = enumerate(photos[number::2])
        write_tar(folder / f"a-{number}.tar", [(f"{n}.jpg", data) for n, data in members])


def make_parquet(photos: list[bytes], folder: Path) -> None:
    images = [{"bytes": data, "path": f"{n}.jpg"} for n, data in enumerate(photos)]
    rows = table(len(photos), image=pa.array(images, IMAGE))
    write_parquet(folder / "data/train-00000-of-00001.parquet", rows)


@pytest.mark.parametrize("make", [make_tars, make_parquet])
def test_images_in_containers_come_out_in_containers(
    make: Callable[[list[bytes], Path], None],
    server: S3Server,
    crowd: Path,
    tmp_path: Path,
    fingerprint: Fingerprint,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    make([path.read_bytes() for path in sorted(crowd.glob("*.jpg"))[:7]], source)
    curate.blur(source, tmp_path / "out", RECIPE, Session(workers=2), quiet=True)
    server.drops = 11
    summary = curate.blur_shards(source, OUT, "1/2", RECIPE, Session(workers=1), quiet=True)
    assert summary.shards == 2
    assert not (there(server) / "data").exists()
    curate.blur(source, OUT, RECIPE, Session(workers=1), quiet=True)
    assert fingerprint(there(server)) == fingerprint(tmp_path / "out")
    assert sorted(path.name for path in there(server).iterdir()) == ["data", "manifest"]
    assert curate.verify(OUT, source, quiet=True).ok
    container = next(path for path in (there(server) / "data").rglob("*") if path.is_file())
    data = bytearray(container.read_bytes())
    data[len(data) // 2] ^= 1
    container.write_bytes(data)
    assert "changed" in curate.verify(OUT, quiet=True).counts


def test_two_runs_at_once_make_one_output(
    crowd: Path, undisturbed: Path, server: S3Server, fingerprint: Fingerprint
) -> None:
    command = [*CURATE, "blur", str(crowd), OUT, *OPTIONS]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        _, said = run.communicate(timeout=240)
        assert run.returncode == 3, said
    assert fingerprint(there(server)) == fingerprint(undisturbed)
    assert curate.verify(OUT, quiet=True).ok


def test_verify_copies_the_manifest_but_no_image(
    crowd: Path, undisturbed: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(undisturbed, there(server))
    (there(server) / "data/.git").mkdir()
    (there(server) / "data/.git/face.jpg").write_bytes(b"x")
    copied: list[str] = []
    download = ObjectOutput.download

    def watched(self: ObjectOutput, folder: Path, names: Iterable[str], below: str = "") -> None:
        listed = list(names)
        copied.extend(listed)
        download(self, folder, listed, below)

    monkeypatch.setattr(ObjectOutput, "download", watched)
    server.drops = 9
    found = curate.verify(OUT, crowd, quiet=True)
    assert [(each.kind, each.path) for each in found.problems] == [("extra", "data/.git/face.jpg")]
    assert copied
    assert all(name.startswith("manifest/") for name in copied)
    next((there(server) / "data").glob("*.jpg")).unlink()
    assert "missing" in curate.verify(OUT, quiet=True).counts


def test_a_card_is_written_and_a_dataset_pushed_from_an_object_storage(
    server: S3Server, tmp_path: Path
) -> None:
    local = make_out(tmp_path / "made")
    shutil.copytree(local, there(server))
    for name in ("README.md", "croissant.json", "CITATION.cff"):
        (there(server) / name).unlink()
    curate.write_card(OUT)
    assert (there(server) / "README.md").read_bytes() == (local / "README.md").read_bytes()
    assert curate.verify(OUT, quiet=True).ok
    for name, out in (("one", local), ("two", OUT)):
        curate.push(out, None, curate.PushOptions(to=str(tmp_path / name), workers=1))
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files if path.is_file()}
        for name in ("one", "two")
        for files in [sorted((tmp_path / name).rglob("*"))]
    )
    assert one == two


def test_a_copy_that_does_not_fit_is_refused(
    undisturbed: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(undisturbed, there(server))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(SetupError, match="which has 10,000; set TMPDIR"), fetched(OUT):
        pass


def test_an_output_on_google_cloud_storage(
    crowd: Path,
    undisturbed: Path,
    tmp_path: Path,
    fingerprint: Fingerprint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through a stand-in for gcsfs; what is tested is how ``gs://`` is used."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/fake_gcs"))
    monkeypatch.setenv("FAKE_GCS", str(tmp_path / "gcs"))
    (tmp_path / "gcs/bucket").mkdir(parents=True)
    out = "gs://bucket/sets/out"
    curate.blur_shards(crowd, out, "2/2", RECIPE, Session(workers=1), quiet=True)
    curate.blur(crowd, out, RECIPE, Session(workers=2), quiet=True)
    placed = tmp_path / "gcs/bucket/sets/out"
    assert fingerprint(placed) == fingerprint(undisturbed)
    assert curate.verify(out, crowd, quiet=True).ok
    assert curate.replay(crowd, out, tmp_path / "again", quiet=True).ok


def test_what_cannot_be_an_output_is_refused(
    server: S3Server, crowd: Path, undisturbed: Path
) -> None:
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
    shutil.copytree(undisturbed, there(server))
    server.denied = frozenset("*")
    with pytest.raises(SetupError, match="cannot be read: Permission denied"):
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
