from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.core.protocols import Source
from curate.layouts import open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.containers import iter_listed_folders, split_of
from tests.layouts.shards import picture, read_all, write_tar
from tests.layouts.tables.samples import table, write_arrow, write_parquet

Write = Callable[[Path], Path]


def write_webdataset(root: Path) -> Path:
    return write_tar(root / "a.tar", [("1.jpg", picture(1)), ("2.jpg", picture(2))])


def write_hub(root: Path) -> Path:
    return write_parquet(root / "a.parquet", table(2))


def write_saved(root: Path) -> Path:
    return write_arrow(root, table(2))


every_layout = pytest.mark.parametrize("write", [write_webdataset, write_hub, write_saved])


class FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-0001.tar", "train"),
        ("data/validation-00000-of-00001.parquet", "validation"),
        ("default/test/0000.parquet", "test"),
        ("imagenet-val-12.tar", "val"),
        ("shard-1.tar", None),
    ],
)
def test_splits_are_named_by_paths(path: str, split: str | None) -> None:
    assert split_of(path) == split


@pytest.mark.parametrize("place", ["", "train/", "data/", "default/validation/"])
@pytest.mark.parametrize("write", [write_webdataset, write_hub])
def test_containers_are_recognized_in_their_usual_folders(
    tmp_path: Path, write: Write, place: str
) -> None:
    path = write(tmp_path / place)
    (tmp_path / ".cache").mkdir()
    layout, why = recognize(LocalFolder(tmp_path))
    assert layout == {".tar": "webdataset", ".parquet": "parquet"}[path.suffix]
    assert why == f"{place}{path.name}"


@pytest.mark.parametrize("place", ["any_name", "v1.0/en", "data/config_a", "a/b/c"])
@pytest.mark.parametrize("write", [write_webdataset, write_hub])
def test_containers_are_recognized_in_folders_of_any_name(
    tmp_path: Path, write: Write, place: str
) -> None:
    path = write(tmp_path / place)
    layout, why = recognize(LocalFolder(tmp_path))
    assert layout == {".tar": "webdataset", ".parquet": "parquet"}[path.suffix]
    assert why == f"{place}/{path.name}"


def test_few_of_many_folders_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        (tmp_path / f"n{number:08d}").mkdir()
    (tmp_path / "train").mkdir()
    listed = []
    original = LocalFolder.list_names

    def count(self: LocalFolder, path: str = "") -> frozenset[str]:
        listed.append(path)
        return original(self, path)

    monkeypatch.setattr(LocalFolder, "list_names", count)
    assert len(list(iter_listed_folders(LocalFolder(tmp_path)))) == len(listed) <= 70


@pytest.mark.parametrize("write", [write_webdataset, write_hub])
def test_images_outside_the_containers_are_reported(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path)
    for name in ("assets/banner.png", "assets/x.jpg"):
        (tmp_path / "assets").mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = open_source(str(tmp_path), {".tar": "webdataset"}.get(path.suffix, "parquet"))
    assert [note[:15] for note in source.check()] == ["2 images outsid"]


@pytest.mark.parametrize("layout", ["webdataset", "parquet", "coco", "voc", "yolo", "hf_folder"])
def test_a_layout_that_the_dataset_does_not_have_is_refused(tmp_path: Path, layout: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.jpg").write_bytes(picture(1))
    (tmp_path / "a/b.json").write_text("{}")
    with pytest.raises(DataError, match=f"SOURCE has no .*drop --format {layout}"):
        list(open_source(str(tmp_path), layout).check())


@every_layout
def test_a_full_disk_is_not_blamed_on_the_source(tmp_path: Path, write: Write) -> None:
    write(tmp_path)
    source = open_source(str(tmp_path))
    with pytest.raises(OSError, match="No space left"):
        _rebuild(source, FullDisk())


def _rebuild(source: Source, target: io.BytesIO) -> None:
    images = read_all(source)
    for container in source.containers():
        list(source.rebuild(container, images.get, target))


@every_layout
def test_a_container_that_changes_or_goes_is_no_image_s_fault(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path)
    source = open_source(str(tmp_path))
    [record, *_] = source.records()
    stamp = source.stamp(record)
    os.utime(path, ns=(1, 1))
    assert source.stamp(record) != stamp
    path.unlink()
    assert source.stamp(record) == "gone"
    with pytest.raises(SourceChangedError):
        source.read(record)


@every_layout
def test_a_container_that_may_not_be_read_is_named(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    source = open_source(str(tmp_path))
    list(source.containers())

    def refuse(self: LocalFolder, path: str) -> BinaryIO:
        raise WithheldError("unreadable", "Permission denied")

    monkeypatch.setattr(LocalFolder, "open", refuse)
    with pytest.raises(DataError, match=f"{path.name}.*Permission denied"):
        list(source.records())


def test_a_container_name_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    write_webdataset(tmp_path)
    (tmp_path / "a.tar").rename(tmp_path / os.fsdecode(b"caf\xe9.tar"))
    with pytest.raises(DataError, match="not valid UTF-8"):
        list(open_source(str(tmp_path), "webdataset").containers())


@pytest.mark.parametrize(
    ("write", "option"), [(write_webdataset, "webdataset"), (write_hub, "parquet")]
)
def test_containers_too_deep_to_be_recognized_are_named_with_the_option(
    write: Write, option: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a/b/c/d/e"
    folder.mkdir(parents=True)
    write(folder)
    with pytest.raises(DataError, match=rf"'a/b/c/d/e/a\..*; use --format {option}$"):
        open_source(str(tmp_path))
    assert len(list(open_source(str(tmp_path), option).records())) == 2
