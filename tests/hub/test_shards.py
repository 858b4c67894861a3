"""Withdrawing an image changes the shard that held it, and no other."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curate
from curate.core.errors import DataError
from curate.publishing import dataset as datasets
from curate.publishing.hub import batches, convert
from curate.publishing.hub import rows as row_shards
from curate.publishing.hub import shards as cutting
from curate.publishing.publication import choose_form
from tests.hub.server import Hub
from tests.hub.test_layouts import EXAMPLES, make_out
from tests.publishing.outs import make_out as make_photos

REPO = "somebody/street-scenes"


def push(out: Path, **options: object) -> object:
    return curate.push(out, REPO, curate.PushOptions(workers=1, **options))  # type: ignore[arg-type]


def shards(hub: Hub) -> dict[str, bytes]:
    return {path: data for path, data in hub.tree(REPO).items() if path.endswith(".parquet")
            and path.startswith("data/")}  # fmt: skip


def test_only_the_shard_that_held_an_image_changes(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "SHARD_BYTES", 15_000)
    out = make_photos(tmp_path, 12)
    curate.write_card(out, curate.CardOptions(form="parquet"))
    push(out, form="parquet")
    before = shards(hub)
    assert len(before) > 4
    rows = {
        path: pq.read_table(io.BytesIO(data))["file_name"].to_pylist()
        for path, data in before.items()
    }
    assert all(1 <= len(names) <= 3 for names in rows.values())
    held = next(path for path, names in rows.items() if "train/cat/00005.bmp" in names)
    push(out, form="parquet", withdraw=("train/cat/00005.bmp",))
    after = shards(hub)
    assert before.keys() == after.keys()
    assert {path for path in before if before[path] != after[path]} == {held}
    left = pq.read_table(io.BytesIO(after[held]))["file_name"].to_pylist()
    assert left == [name for name in rows[held] if name != "train/cat/00005.bmp"]


def test_a_tar_that_held_an_image_is_rebuilt(hub: Hub, tmp_path: Path) -> None:
    out = make_out(EXAMPLES["webdataset"], tmp_path, None)
    push(out)
    before = hub.tree(REPO)
    push(out, withdraw=("train-0000.tar/2.jpg",))
    after = hub.tree(REPO)
    assert before["data/test-0000.tar"] == after["data/test-0000.tar"]
    assert before["data/train-0000.tar"] != after["data/train-0000.tar"]
    assert list(curate.iter_problems(out, None, 1)) == []
    run = json.loads((out / "manifest/run.json").read_text())
    assert run["counts"]["reasons"] == {"withdrawn": 1}
    names = {record.id for record in datasets.open_dataset(out).open().records()}
    assert names == {"train-0000.tar/1.jpg", "train-0000.tar/3.jpg", "test-0000.tar/4.jpg"}


def test_finished_shards_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_photos(tmp_path)
    options = curate.PushOptions(to=str(tmp_path / "a"), form="parquet", workers=1)
    curate.write_card(out, curate.CardOptions(form="parquet"))
    curate.push(out, None, options)
    monkeypatch.setattr(
        convert, "write_parquet", lambda *_: pytest.fail("a finished shard was written again")
    )
    curate.push(out, None, options)
    monkeypatch.undo()
    published = {path: path.read_bytes() for path in (tmp_path / "a/data").iterdir()}
    for shard in (tmp_path / "out.push").rglob("*.parquet"):  # cut off, or edited by hand
        shard.write_bytes(shard.read_bytes()[:-9] + b"an original")
    curate.push(out, None, options)
    assert published == {path: path.read_bytes() for path in (tmp_path / "a/data").iterdir()}


def test_finished_shards_of_rows_are_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_out(EXAMPLES["arrow"], tmp_path, None)
    options = curate.PushOptions(to=str(tmp_path / "a"), workers=1)
    curate.push(out, None, options)
    published = {path: path.read_bytes() for path in (tmp_path / "a/data").iterdir()}
    monkeypatch.setattr(
        row_shards, "write_parquet", lambda *_: pytest.fail("a finished shard was written again")
    )
    curate.push(out, None, options)
    monkeypatch.undo()
    shard = next((tmp_path / "out.push").rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-9] + b"an original")
    curate.push(out, None, options)
    assert published == {path: path.read_bytes() for path in (tmp_path / "a/data").iterdir()}


def test_shards_of_other_annotations_are_not_used(tmp_path: Path) -> None:
    """The images are the same; a column of boxes would be that of the annotations before."""
    out = make_photos(tmp_path)
    before = datasets.open_dataset(out).content_sha256
    with (out / "manifest/others.jsonl").open("a") as file:
        file.write('{"path": "boxes.json"}\n')
    assert datasets.open_dataset(out).content_sha256 != before


def test_files_of_others_in_the_state_folder_stay(tmp_path: Path) -> None:
    out, state = make_photos(tmp_path), tmp_path / "mine"
    for name in ("public/a.txt", "made/b.txt", "staging/c.txt", "notice.md"):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text("mine")
    curate.write_card(out)
    options = curate.PushOptions(to=str(tmp_path / "a"), state=state, workers=1)
    curate.push(out, None, options)
    for name in ("public/a.txt", "made/b.txt", "staging/c.txt", "notice.md"):
        assert (state / name).read_text() == "mine"


def test_too_many_files_become_parquet_with_a_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_photos(tmp_path)
    dataset = datasets.open_dataset(out)
    assert choose_form(dataset, None) == ("keep", "")
    monkeypatch.setattr(batches, "MAX_FILES_IN_FOLDER", 2)
    form, note = choose_form(dataset, None)
    assert form == "parquet"
    assert "exceed the 2 of a folder" in note
    report = curate.write_card(out)
    assert any("published as Parquet: " in line for line in report.notes)
    monkeypatch.setattr(batches, "MAX_FILES_IN_FOLDER", 99)
    monkeypatch.setattr(batches, "MAX_FILES_IN_REPOSITORY", 3)
    assert "of a repository" in choose_form(dataset, "keep")[1]


def test_folders_count_as_entries_too() -> None:
    paths = [f"data/train/{number}/a.jpg" for number in range(10_000)]
    assert batches.exceeds_limits(paths) is None
    assert batches.exceeds_limits([*paths, "data/train/labels.csv"]) == (
        "10,001 entries of data/train/ exceed the 10,000 of a folder"
    )
    assert batches.exceeds_limits(f"{n // 5000}/{n}" for n in range(100_001)) == (
        "100,001 files exceed the 100,000 of a repository"
    )


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_too_many_annotation_files_are_packed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """Pascal VOC 2012 has 17,125 files of annotations in one folder."""
    monkeypatch.setattr(batches, "MAX_FILES_IN_FOLDER", 4)  # as are beside the folders
    out = make_out(EXAMPLES[layout], tmp_path, None)
    wanted = {
        carried.path: (out / "data" / carried.path).read_bytes()
        for carried in datasets.open_dataset(out).carried()
    }
    told: list[str] = []
    push(out, notify=told.append)
    assert any("annotation files are packed into tar" in line for line in told)
    packs = {path: data for path, data in hub.tree(REPO).items() if path.startswith("annot")}
    assert list(packs) == ["annotations/annotations-00000.tar"]
    assert len(wanted) > 4
    found = {}
    for data in packs.values():
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                assert stream is not None
                found[member.name] = stream.read()
    assert found == wanted
    head = hub.repos[REPO].head.oid
    push(out)
    assert hub.repos[REPO].head.oid == head


def test_packs_are_cut_near_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "SHARD_BYTES", 10)
    files = [
        datasets.Carried(path=str(n), sha256="", bytes=size, is_container=False)
        for n, size in enumerate((4, 6, 1, 20, 3, 3))
    ]
    assert [[file.bytes for file in pack] for pack in cutting.iter_packs(files)] == [
        [4, 6], [1], [20], [3, 3],
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["longer", "shorter", "other", "absent"])
def test_a_file_that_changed_is_not_packed(tmp_path: Path, damage: str) -> None:
    path, data = tmp_path / "a.xml", b"<annotation/>"
    file = datasets.Carried(
        path="a.xml", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), is_container=False
    )
    damaged = {"longer": data + b" ", "shorter": data[:-1], "other": data.swapcase()}
    if damage in damaged:
        path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=r"data/a\.xml is not what the manifest says"):
        cutting.write_pack([file], tmp_path, tmp_path / "a.tar")


def test_a_correction_is_published_with_what_it_changed(hub: Hub, tmp_path: Path) -> None:
    out = make_photos(tmp_path, 12)
    even = tmp_path / "even"
    _balance(out, even, tmp_path)
    (even / "card.toml").write_text((out / "card.toml").read_text())
    curate.write_card(even)
    text = (even / "README.md").read_text()
    assert "Before correction (`manifest/before.json`" in text
    assert "After correction (`manifest/after.json`" in text
    assert "`curate balance` with" in text
    shown = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    assert "\n\n| | |\n| --- | --- |\n| Images left out | " in shown
    push(even)
    tree = hub.tree(REPO)
    run = json.loads(tree["manifest/run.json"])
    assert run["kind"] == "correction"
    assert "files" not in run["recipe"]
    assert "manifest/balance.json" not in tree
    images = [path for path in tree if path.startswith("data/") and path.endswith(".bmp")]
    assert len(images) == sum(path.suffix == ".bmp" for path in (even / "data").rglob("*"))
    assert len(images) < 12


def _balance(out: Path, even: Path, folder: Path) -> None:
    from click.testing import CliRunner

    from curate.cli.main import group

    ids = [item.id for item in datasets.open_dataset(out).items() if item.is_written]
    lines = [f"{name},{'a' if number % 4 else 'b'}" for number, name in enumerate(ids)]
    (folder / "people.csv").write_text("\n".join(["id,group", *lines]) + "\n")
    done = CliRunner().invoke(
        group,
        ["balance", str(out), "--groups", str(folder / "people.csv"), "--by", "group",
         "--strategy", "subset", "-o", str(even)],
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)


def test_a_correction_of_visible_faces_is_refused(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from curate.cli.main import group
    from tests.publishing.outs import write_photos

    write_photos(tmp_path / "photos")
    names = sorted(
        path.relative_to(tmp_path / "photos").as_posix()
        for path in (tmp_path / "photos").rglob("*.bmp")
    )
    lines = [f"{name},{'a' if number % 3 else 'b'}" for number, name in enumerate(names)]
    (tmp_path / "people.csv").write_text("\n".join(["id,group", *lines]) + "\n")
    done = CliRunner().invoke(
        group,
        ["balance", str(tmp_path / "photos"), "--groups", str(tmp_path / "people.csv"), "--by",
         "group", "--strategy", "subset", "-o", str(tmp_path / "even"), "--visible-faces"],
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    with pytest.raises(DataError, match="whose faces were never hidden"):
        datasets.open_dataset(tmp_path / "even")
