from __future__ import annotations

import shutil
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError, SetupError
from curate.layouts import open_source
from curate.layouts.access import hub as hub_source
from curate.layouts.access.hub import HubDataset, materialize, parse_hub_uri
from tests.layouts.shards import picture, read_all, write_tar
from tests.layouts.tables.samples import IMAGE, table, write_parquet


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "repo/data/train-00000-of-00001.parquet", table(5))
    write_parquet(tmp_path / "repo/data/test-00000-of-00001.parquet", table(2))
    return tmp_path / "repo"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("hf:owner/name", HubDataset("owner/name")),
        ("hf:owner/name@v1.0", HubDataset("owner/name", "v1.0")),
        ("hf:owner/name/config@main", HubDataset("owner/name/config", "main")),
        ("hf:./folder", HubDataset("./folder")),
    ],
)
def test_hub_uris_are_parsed(text: str, place: HubDataset) -> None:
    assert parse_hub_uri(text) == place


def test_a_hub_uri_without_a_name_is_an_error() -> None:
    with pytest.raises(DataError, match="names no dataset"):
        parse_hub_uri("hf:@main")


def test_splits_rows_and_features_are_kept(repo: Path, tmp_path: Path) -> None:
    materialize(str(repo), None, tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert source.layout == "parquet"
    assert list(source.containers()) == [
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    assert list(read_all(source).values()) == [picture(row) for row in (0, 1, 0, 1, 2, 3, 4)]
    after = pq.read_table(tmp_path / "out/data/train-00000-of-00001.parquet")
    assert after.to_pylist() == table(5).to_pylist()
    assert [record.category for record in source.records()][2:5] == [None, "cat", "dog"]
    assert not list(tmp_path.glob("out.partial"))


def test_images_in_files_are_embedded(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"repo/train/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    materialize(str(tmp_path / "repo"), None, tmp_path / "out")
    shutil.rmtree(tmp_path / "repo")
    source = open_source(str(tmp_path / "out"))
    assert sorted(read_all(source).values()) == sorted(picture(number) for number in range(4))
    assert {record.category for record in source.records()} == {"a", "b"}


def test_images_in_tar_files_are_embedded(tmp_path: Path) -> None:
    members = [("1.png", picture(1)), ("1.cls", b"0"), ("2.png", picture(2)), ("2.cls", b"1")]
    write_tar(tmp_path / "repo/train-0.tar", members)
    materialize(str(tmp_path / "repo"), None, tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert list(read_all(source).values()) == [picture(1), picture(2)]


def test_local_files_named_by_a_table_are_not_embedded(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(picture(9))
    values = [
        {"bytes": None, "path": str(tmp_path / "mine.png")},
        {"bytes": None, "path": str(tmp_path / "repo/../mine.png")},
    ]
    write_parquet(tmp_path / "repo/train.parquet", table(2, image=pa.array(values, IMAGE)))
    materialize(str(tmp_path / "repo"), None, tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert len(list(source.records())) == 2
    assert read_all(source) == {}


def test_an_interrupted_download_resumes(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_source, "_ROWS", 1)
    monkeypatch.setattr(hub_source, "_SHARD_BYTES", 1)
    save_shard, saved = hub_source._save_shard, []

    def stop(tables: object, path: Path) -> bool:
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(path.name)
        return save_shard(tables, path)  # type: ignore[arg-type]

    monkeypatch.setattr(hub_source, "_save_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        materialize(str(repo), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out.partial/data/*")}
    assert len(kept) == 3
    monkeypatch.setattr(hub_source, "_save_shard", save_shard)
    materialize(str(repo), None, tmp_path / "out")
    shards = sorted((tmp_path / "out/data").iterdir())
    assert len(shards) == 7
    assert set(kept.values()) <= {path.stat().st_mtime_ns for path in shards}
    train = [path for path in shards if path.name.startswith("train")]
    rows = pa.concat_tables(map(pq.read_table, train))
    assert rows.to_pylist() == table(5).to_pylist()


@pytest.mark.parametrize("moment", range(4))
def test_an_interruption_of_the_final_renames_duplicates_nothing(
    moment: int, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, left = Path.rename, moment

    def killed(self: Path, target: Path) -> Path:
        nonlocal left
        if "-of-" in str(target) or Path(target) == tmp_path / "out":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        materialize(str(repo), None, tmp_path / "out")
    materialize(str(repo), None, tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert list(read_all(source).values()) == [picture(row) for row in (0, 1, 0, 1, 2, 3, 4)]


def test_another_revision_does_not_resume(repo: Path, tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "origin.json").write_text("{}")
    with pytest.raises(DataError, match="has changed since"):
        materialize(str(repo), None, tmp_path / "out")


def test_an_existing_download_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    materialize("owner/nothing", None, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unreachable_hub_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="cannot reach the Hugging Face Hub") as raised:
        materialize("owner/name", None, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_data_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded") as raised:
        materialize(str(tmp_path / "empty"), None, tmp_path / "out")
    assert "\n" not in str(raised.value)


def no_address(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(-3, "Temporary failure in name resolution")


def test_without_a_network_nothing_is_tried_for_minutes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in hub_source._PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("socket.getaddrinfo", no_address)
    with pytest.raises(SetupError, match=r"'hub\.example' cannot be resolved.*HF_HUB_OFFLINE"):
        materialize("owner/photos", None, tmp_path / "copy")
    asked = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: asked.wait(60))  # a silent name server
    monkeypatch.setattr(hub_source, "_RESOLVE_S", 0.1)
    with pytest.raises(SetupError, match="no connection"):
        hub_source.check_connection()
    asked.set()


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "HTTPS_PROXY"])
def test_a_cache_or_a_proxy_needs_no_address(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", no_address)
    monkeypatch.setenv(name, "1")
    hub_source.check_connection()
