from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.core.errors import DataError
from curate.layouts import open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.tables.arrow import ArrowDataset
from tests.layouts.shards import picture, read_all, rebuild
from tests.layouts.tables.samples import IMAGE, images, table, write_arrow

NAME = "data-00000-of-00001.arrow"


def open_arrow(root: Path) -> ArrowDataset:
    return ArrowDataset(LocalFolder(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_arrow(tmp_path / "in", table())
    return tmp_path / "in"


def test_images_are_found_in_order_and_read(root: Path) -> None:
    source = open_arrow(root)
    assert read_all(source) == {f"{NAME}/{row:08d}": picture(row) for row in range(5)}
    records = list(source.records())
    assert [record.category for record in records] == [None, "cat", "dog", None, "cat"]
    assert [source.read(record) for record in reversed(records)] == [
        picture(row) for row in (4, 3, 2, 1, 0)
    ]
    again = open_source(source.uri, source.layout)
    assert again.read(records[3]) == picture(3)
    assert again.find(f"{NAME}/00000009") is None


def test_identity_keeps_rows_schema_and_batches(root: Path, tmp_path: Path) -> None:
    (root / "cache-0123.arrow").write_bytes(b"")
    source = open_arrow(root)
    out = tmp_path / "out"
    rebuilt, left = rebuild(source, read_all(source), out)
    assert left == []
    for name in ("state.json", "dataset_info.json"):
        assert (out / name).read_bytes() == (root / name).read_bytes()
    before, after = (pa.ipc.open_stream((folder / NAME).read_bytes()) for folder in (root, out))
    assert after.schema.equals(before.schema, check_metadata=True)
    for one, other in zip(before, after, strict=True):
        assert one.equals(other)
    assert {other.uri: other.copied for other in source.sidecars()} == {
        "cache-0123.arrow": False,
        "dataset_info.json": True,
        "state.json": True,
    }
    assert list(rebuilt.inspect(NAME)) == []
    assert recognize(source.folder) == ("arrow", "state.json and dataset_info.json")


def test_a_withheld_image_is_null_in_its_row(root: Path, tmp_path: Path) -> None:
    source = open_arrow(root)
    outputs = read_all(source)
    del outputs[f"{NAME}/00000003"]
    rebuilt, _ = rebuild(source, outputs, tmp_path / "out")
    assert read_all(rebuilt) == outputs
    assert picture(3)[-40:] not in (tmp_path / "out" / NAME).read_bytes()


def test_data_under_a_null_is_not_copied(tmp_path: Path) -> None:
    """A column's buffers may hold what no value shows."""
    texts = pa.array(["kept", "the name of a person"])
    mask = pa.array([False, True])
    validity = pa.array([True, False]).buffers()[1]
    hidden = pa.StringArray.from_buffers(2, *texts.buffers()[1:], validity)
    column = pa.StructArray.from_arrays(
        [pa.array([picture(0), picture(1)]), pa.array(["a", "b"])], fields=list(IMAGE), mask=mask
    )
    write_arrow(tmp_path / "in", table(2, image=column, text=hidden))
    assert picture(1)[-40:] in (tmp_path / "in" / NAME).read_bytes()
    source = open_arrow(tmp_path / "in")
    outputs = read_all(source)
    assert list(outputs) == [f"{NAME}/00000000"]
    rebuild(source, outputs, tmp_path / "out")
    written = (tmp_path / "out" / NAME).read_bytes()
    assert picture(1)[-40:] not in written
    assert b"person" not in written


@pytest.mark.parametrize("name", ["cats", "train"])
def test_splits_are_folders(tmp_path: Path, name: str) -> None:
    write_arrow(tmp_path / "in" / name, table(2))
    (tmp_path / "in/dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    write_arrow(tmp_path / "in/stray", table(2))
    source = open_arrow(tmp_path / "in")
    assert recognize(source.folder) == ("arrow", "dataset_dict.json")
    assert list(source.containers()) == [f"{name}/{NAME}"]
    assert {record.split for record in source.records()} == {name}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("state.json", '{"_data_files": [{"filename": "data'),
        ("state.json", "[]"),
        ("state.json", '{"_data_files": []}'),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}'),
        ("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}'),
        ("state.json", '{"_data_files": [7]}'),
        ("dataset_dict.json", '{"splits": ["../.."]}'),
        ("dataset_dict.json", '{"splits": ["gone"]}'),
        ("dataset_dict.json", '{"splits": "train"}'),
    ],
)
def test_malformed_descriptions_are_one_clear_line(root: Path, path: str, content: str) -> None:
    (root / path).write_text(content)
    with pytest.raises(DataError) as raised:
        list(open_arrow(root).records())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["_indices_files", "_indices_data_files"])
def test_a_dataset_with_an_indices_mapping_is_refused(root: Path, key: str) -> None:
    state = json.loads((root / "state.json").read_text())
    (root / "state.json").write_text(json.dumps({**state, key: [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="flatten_indices"):
        list(open_arrow(root).records())


@pytest.mark.parametrize("spoil", [lambda data: data[:-600], lambda _: b"", lambda _: b"x" * 99])
def test_a_damaged_stream_is_one_clear_line(root: Path, spoil: Any) -> None:
    (root / NAME).write_bytes(spoil((root / NAME).read_bytes()))
    with pytest.raises(DataError, match="is not a valid Arrow file") as raised:
        list(open_arrow(root).records())
    assert "\n" not in str(raised.value)


def test_invalid_offsets_are_found(tmp_path: Path) -> None:
    path = write_arrow(tmp_path, table(1, text=pa.array(["x" * 777])))
    offsets, astray = struct.pack("<ii", 0, 777), struct.pack("<ii", 0, 1 << 30)
    before, _, after = path.read_bytes().rpartition(offsets)
    path.write_bytes(before + astray + after)
    with pytest.raises(DataError, match="not a valid Arrow file"):
        list(open_arrow(tmp_path).records())


def test_a_column_of_bytes_becomes_null(tmp_path: Path) -> None:
    write_arrow(tmp_path / "in", table(1, raw=pa.array([images(1)[0]["bytes"]])))
    source = open_arrow(tmp_path / "in")
    outputs = read_all(source)
    rebuilt, _ = rebuild(source, outputs, tmp_path / "out")
    assert read_all(rebuilt) == outputs
    assert list(rebuilt.inspect(NAME)) == []
    assert list(source.inspect(NAME)) != []


def test_a_dataset_of_plain_bytes_is_refused(tmp_path: Path) -> None:
    content = pa.table({"image": [images(1)[0]["bytes"]], "label": [1]})
    write_arrow(tmp_path, content)
    with pytest.raises(DataError, match=r"^the column 'image' of 'data-.*' holds images"):
        list(open_arrow(tmp_path).check())


def test_datasets_saves_and_loads_the_same(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": images(0, 1, 2), "label": [0, 1, 0]}
    saved = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": saved}).save_to_disk(tmp_path / "in")
    source = open_arrow(tmp_path / "in")
    outputs = {**read_all(source), f"train/{NAME}/00000002": picture(40)}
    assert [record.category for record in source.records()] == ["cat", "dog", "cat"]
    del outputs[f"train/{NAME}/00000001"]
    rebuild(source, outputs, tmp_path / "out")
    found = datasets.load_from_disk(tmp_path / "out")["train"]
    assert found.features == features
    assert [row["image"] is None for row in found] == [False, True, False]
    found = found.cast_column("image", datasets.Image(decode=False))
    assert found[2]["image"] == {"bytes": picture(40), "path": "2.png"}
