"""The main job over a dataset of the Hub; a folder of this machine stands for the Hub."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import DataError, PausedError, SetupError, SourceChangedError, UsageError
from curate.layouts import open_source
from curate.layouts.access import hub as hub_source
from curate.layouts.access.hub import describe_origin, materialize
from curate.pipeline.hub_source import check_hub_origin
from curate.pipeline.verify import iter_problems
from tests.pipeline.test_containers import as_parquet

Fingerprint = Callable[[Path], dict[str, str]]
FAST = Recipe(profile="fast", shard_size=4)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def repo(photos: Path, tmp_path: Path) -> Path:
    found = sorted(path for path in photos.rglob("*") if path.suffix in (".jpg", ".png"))
    as_parquet(tmp_path / "repo", found)
    return tmp_path / "repo"


def test_a_dataset_of_the_hub_comes_out_as_parquet(
    repo: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out, copy, local = tmp_path / "out", tmp_path / "copy", tmp_path / "local"
    summary = curate.blur(f"hf:{repo}", out, FAST, Session(workers=2))
    assert summary.faces > 0
    assert not (out / ".curate").exists()
    materialize(str(repo), None, copy)
    curate.blur(copy, local, FAST, Session(workers=1))
    assert fingerprint(out) == fingerprint(local)
    assert list(iter_problems(out, copy, 1)) == []
    run = json.loads((out / "manifest/run.json").read_text())
    assert run["source"]["layout"] == "parquet"
    assert run["source"]["origin"] is None
    assert str(repo) not in json.dumps(run)
    assert curate.blur(f"hf:{repo}", out, FAST).already_done


def test_an_interrupted_download_continues(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    save_shard = hub_source._save_shard

    def fail(*_: object) -> bool:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(hub_source, "_save_shard", fail)
    with pytest.raises(SetupError, match="same command again"):
        curate.blur(f"hf:{repo}", out, FAST, Session(workers=1))
    assert (out / ".curate/source.partial").is_dir()
    monkeypatch.setattr(hub_source, "_save_shard", save_shard)
    assert curate.blur(f"hf:{repo}", out, FAST, Session(workers=1)).faces > 0


def test_an_interrupted_run_continues_with_its_download_only(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stopping = Session(workers=1)
    stopping.stop.set()
    with pytest.raises(PausedError):
        curate.blur(f"hf:{repo}", out, FAST, stopping)
    monkeypatch.setattr(hub_source, "_load_builder", lambda *_: pytest.fail("it is there"))
    with pytest.raises(DataError, match="choose another OUT"):
        curate.blur(f"hf:{repo}@v2", out, FAST, Session(workers=1))
    assert curate.blur(f"hf:{repo}", out, FAST, Session(workers=1)).faces > 0


def test_a_failed_download_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        curate.blur(f"hf:{tmp_path / 'empty'}", tmp_path / "out", FAST, Session(workers=1))
    assert not (tmp_path / "out").exists()


def test_overlapping_paths_and_other_layouts_are_refused(repo: Path) -> None:
    with pytest.raises(UsageError, match="inside SOURCE"):
        curate.blur(f"hf:{repo}", repo / "out", FAST)
    with pytest.raises(UsageError, match="is read as parquet; drop --format coco"):
        curate.blur("hf:owner/name", repo.parent / "out", FAST, Session(layout="coco"))
    with pytest.raises(UsageError, match="OUT must be a local path"):
        curate.blur("hf:owner/name", "s3://bucket/out", FAST)


def test_the_message_has_the_command_that_makes_a_local_copy(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be streamed") as raised:
        open_source(f"hf:{repo}")
    line = str(raised.value)
    assert "\n" not in line
    words = shlex.split(line.partition("with: ")[2].partition("; then pass copy")[0])
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    assert open_source(str(tmp_path / "copy")).layout == "parquet"


@pytest.mark.parametrize(
    ("revision", "origin", "said"),
    [
        (None, "hf://datasets/owner/name@0a1b/data", "hf:owner/name@0a1b"),
        ("v2", "hf://datasets/owner/name@0a1b", "hf:owner/name@v2"),
        (None, "hf://datasets/owner/name", "hf:owner/name"),
        (None, "/home/jane/name", None),
    ],
)
def test_the_origin_is_the_dataset_without_a_local_path(
    revision: str | None, origin: str, said: str | None, tmp_path: Path
) -> None:
    note = {"name": "owner/name", "revision": revision, "origin": origin}
    (tmp_path / "source.json").write_text(json.dumps(note))
    assert describe_origin(tmp_path / "source") == said
    assert describe_origin(tmp_path / "nothing") is None


def test_a_finished_output_of_another_dataset_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"source": {"origin": "hf:owner/name@0a1b"}}
    monkeypatch.setattr("curate.manifest.store.load_run", lambda _: facts)
    for place in ("hf:owner/name", "hf:owner/name@0a1b"):
        check_hub_origin(place, tmp_path)
    for place in ("hf:owner/other", "hf:owner/name@v2"):
        with pytest.raises(SourceChangedError, match="is the output of hf:owner/name@0a1b"):
            check_hub_origin(place, tmp_path)


def test_a_finished_output_of_a_local_dataset_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.manifest.store.load_run", lambda _: {"source": {"origin": None}})
    with pytest.raises(SourceChangedError, match="is the output of a local dataset"):
        check_hub_origin("hf:owner/name", tmp_path)
