from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError, WithheldError
from curate.layouts import explain_no_images, open_source, recognize
from curate.layouts.access.folder import LocalFolder
from curate.layouts.tables import layout as table_layout
from curate.layouts.tables.parquet import Parquet
from tests.layouts.shards import picture, read_all, rebuild
from tests.layouts.tables.samples import IMAGE, images, table, write_parquet

NAME = "data/train-00000-of-00001.parquet"
BASE64 = "aVBORw0KGgo" + "A" * 900


def open_parquet(root: Path) -> Parquet:
    return Parquet(LocalFolder(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_parquet(tmp_path / "in" / NAME, table(), row_group_size=2, compression="zstd")
    return tmp_path / "in"


def test_images_are_found_in_order_and_read(root: Path) -> None:
    source = open_parquet(root)
    assert read_all(source) == {f"{NAME}/{row:08d}": picture(row) for row in range(5)}
    records = list(source.records())
    assert [record.category for record in records] == [None, "cat", "dog", None, "cat"]
    assert {record.split for record in records} == {"train"}
    assert [source.read(record) for record in reversed(records)] == [
        picture(row) for row in (4, 3, 2, 1, 0)
    ]
    for odd in (f"{NAME}/00000009", f"{NAME}/00000000/image", f"{NAME}/0", "x/00000000"):
        assert source.find(odd) is None


def test_identity_keeps_rows_schema_groups_and_codecs(root: Path, tmp_path: Path) -> None:
    source = open_parquet(root)
    rebuilt, left = rebuild(source, read_all(source), tmp_path / "out")
    assert left == []
    before, after = pq.ParquetFile(root / NAME), pq.ParquetFile(tmp_path / "out" / NAME)
    with before, after:
        assert after.read().equals(before.read())
        assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
        assert _groups(after) == _groups(before)
    assert read_all(rebuilt) == read_all(source)
    assert list(rebuilt.inspect(NAME)) == []


def _groups(file: Any) -> list[tuple[int, list[str]]]:
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    return [
        (group.num_rows, [group.column(i).compression for i in range(group.num_columns)])
        for group in groups
    ]


def test_a_withheld_image_is_null_in_its_row(root: Path, tmp_path: Path) -> None:
    source = open_parquet(root)
    outputs = read_all(source)
    del outputs[f"{NAME}/00000003"]
    rebuilt, _ = rebuild(source, outputs, tmp_path / "out")
    after = pq.read_table(tmp_path / "out" / NAME).to_pylist()
    assert after[3] == {"image": None, "label": -1, "text": "row 3"}
    assert read_all(rebuilt) == outputs


def test_a_large_group_is_divided(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(root / NAME, table())
    monkeypatch.setattr(table_layout, "_GROUP_BYTES", 1)
    source = open_parquet(root)
    rebuilt, _ = rebuild(source, read_all(source), tmp_path / "out")
    assert read_all(rebuilt) == read_all(source)


def test_rows_without_bytes(tmp_path: Path) -> None:
    values = [*images(0), None, {"bytes": None, "path": "far.png"}, {"bytes": None, "path": None}]
    write_parquet(tmp_path / "in/a.parquet", table(4, image=pa.array(values, IMAGE)))
    source = open_parquet(tmp_path / "in")
    assert [record.id for record in source.records()] == [
        "a.parquet/00000000",
        "a.parquet/00000002",
    ]
    with pytest.raises(WithheldError, match="external"):
        source.read(list(source.records())[1])
    rebuilt, _ = rebuild(source, read_all(source), tmp_path / "out")
    after = pq.read_table(tmp_path / "out/a.parquet").column("image").to_pylist()
    assert after == [values[0], None, None, values[3]]
    assert [record.id for record in rebuilt.records()] == ["a.parquet/00000000"]


def test_several_columns_of_images(tmp_path: Path) -> None:
    content = table(2, mask=pa.array([None, *images(7)], IMAGE))
    write_parquet(tmp_path / "in/a.parquet", content)
    source = open_parquet(tmp_path / "in")
    found = read_all(source)
    assert list(found) == [
        "a.parquet/00000000/image",
        "a.parquet/00000001/image",
        "a.parquet/00000001/mask",
    ]
    assert found["a.parquet/00000001/mask"] == picture(7)
    assert source.find("a.parquet/00000000") is None
    assert source.find("a.parquet/00000000/mask") is None
    assert source.find("a.parquet/00000000/other") is None
    rebuilt, _ = rebuild(source, found, tmp_path / "out")
    assert read_all(rebuilt) == found
    assert pq.read_table(tmp_path / "out/a.parquet").equals(content)


def test_columns_of_every_other_kind_stay(tmp_path: Path) -> None:
    content = table(
        3,
        boxes=pa.array([[[1.5, 2, 3, 4]], [], None]),
        tags=pa.array(["a", "b", None]).dictionary_encode(),
        facts=pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}]),
        large=pa.array(
            images(1, 2, 3), pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())])
        ),
    )
    write_parquet(tmp_path / "in/a.parquet", content)
    source = open_parquet(tmp_path / "in")
    rebuild(source, read_all(source), tmp_path / "out")
    before, after = (pq.read_table(tmp_path / name / "a.parquet") for name in ("in", "out"))
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.to_pylist() == before.to_pylist()


def test_a_column_that_may_not_be_null_may_be_withheld(tmp_path: Path) -> None:
    fields = [pa.field("image", IMAGE, nullable=False)]
    content = pa.table([pa.array(images(0, 1), IMAGE)], schema=pa.schema(fields))
    write_parquet(tmp_path / "in/a.parquet", content)
    source = open_parquet(tmp_path / "in")
    rebuild(source, {"a.parquet/00000000": b"x"}, tmp_path / "out")
    after = pq.read_table(tmp_path / "out/a.parquet").column("image").to_pylist()
    assert after == [{"bytes": b"x", "path": "0.png"}, None]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00001.parquet", "train"),
        ("test/train-00000-of-00001.parquet", "train"),  # a configuration
        ("test/validation.parquet", "validation"),
        ("test/0000.parquet", "test"),
        ("plain_text/0000.parquet", None),
    ],
)
def test_the_split_is_that_of_the_file_else_of_its_folders(
    path: str, split: str | None, tmp_path: Path
) -> None:
    assert Parquet(LocalFolder(tmp_path)).split_of(path) == split


def test_tables_without_images_are_annotations(root: Path) -> None:
    write_parquet(root / "labels.parquet", pa.table({"a": [1]}))
    source = open_parquet(root)
    assert list(source.containers()) == [NAME]
    assert [(other.uri, other.copied) for other in source.sidecars()] == [("labels.parquet", True)]
    assert recognize(source.folder) == ("parquet", NAME)
    (root / NAME).unlink()
    assert recognize(source.folder)[0] == "imagefolder"


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ({"many": pa.array([images(1)], pa.list_(IMAGE))}, "'many' .* holds lists of images"),
        ({"label": pa.array([images(1)[0]], IMAGE)}, "'label' .* holds ClassLabel"),
    ],
)
def test_a_column_that_may_contain_images_is_named(
    tmp_path: Path, column: dict[str, Any], reason: str
) -> None:
    write_parquet(tmp_path / "in/a.parquet", table(1, **column))
    source = open_parquet(tmp_path / "in")
    with pytest.raises(DataError, match=reason) as raised:
        list(source.check())
    assert "\n" not in str(raised.value)
    assert list(source.inspect("a.parquet")) == [str(raised.value)]
    with pytest.raises(DataError, match=reason):
        rebuild(source, {"a.parquet/00000000": b"x"}, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("raw", pa.array([b"x"])),
        ("text", pa.array([BASE64])),
        ("pixels", pa.array([list(range(256)) * 8])),
        ("image", pa.array([{"bytes": b"x", "path": BASE64}], IMAGE)),
    ],
)
def test_a_value_over_the_limits_becomes_null(tmp_path: Path, name: str, column: pa.Array) -> None:
    write_parquet(tmp_path / "in/a.parquet", table(1, **{name: column}))
    source = open_parquet(tmp_path / "in")
    assert list(source.check()) == []
    assert list(source.inspect("a.parquet")) != []
    rebuilt, _ = rebuild(source, {"a.parquet/00000000": b"x"}, tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out/a.parquet").to_pylist()
    assert row[name] == ({"bytes": b"x", "path": None} if name == "image" else None)
    assert BASE64.encode() not in (tmp_path / "out/a.parquet").read_bytes()
    assert list(rebuilt.inspect("a.parquet")) == []


PLAIN = {
    "bytes": pa.array([None, picture(1)]),
    "large bytes": pa.array([picture(1)], pa.large_binary()),
    "bytes of one size": pa.array([picture(1)], pa.binary(len(picture(1)))),
    "a dictionary of bytes": pa.array([picture(1)]).dictionary_encode(),
    "a list of bytes": pa.array([list(picture(1))], pa.list_(pa.uint8())),
    "a list of images": pa.array([[picture(1), picture(2)]]),
    "base64": pa.array([base64.b64encode(picture(1)).decode()]),
    "base64 in lines": pa.array([base64.encodebytes(picture(1)).decode()]),
    "a data URL": pa.array(["data:image/png;base64," + base64.b64encode(picture(1)).decode()]),
    "a struct of three": pa.array([{"bytes": picture(1), "path": "a.png", "width": 8}]),
    "rows of pixels": pa.array([[[n % 256] * 32 for n in range(32)]]),
    "rows of colors": pa.array([[[[n % 256, 0, 0]] * 32 for n in range(32)]]),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("path", ["a.parquet", "data/train-00000-of-00001.parquet"])
def test_a_table_with_images_in_another_form_only_is_refused(
    tmp_path: Path, name: str, path: str
) -> None:
    label = pa.array(["dog"] * len(PLAIN[name]))
    write_parquet(tmp_path / path, pa.table({"label": label, "jpg": PLAIN[name]}))
    source = open_source(str(tmp_path))
    assert source.layout == "parquet"
    with pytest.raises(DataError, match=f"^the column 'jpg' of '{path}' holds images") as raised:
        list(source.check())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", PLAIN)
def test_images_in_another_form_beside_images_are_named(tmp_path: Path, name: str) -> None:
    mask = PLAIN[name][len(PLAIN[name]) - 1 :]
    write_parquet(tmp_path / "in/a.parquet", table(1, mask=mask))
    write_parquet(tmp_path / "in/thumbnails.parquet", pa.table({"key": ["a"], "jpg": mask}))
    source = open_parquet(tmp_path / "in")
    inner, beside = sorted(source.check())
    assert inner.startswith("the column 'jpg' of 'thumbnails.parquet' holds")
    assert beside.startswith("the column 'mask' of 'a.parquet' holds")
    rebuild(source, {"a.parquet/00000000": b"x"}, tmp_path / "out")
    assert pq.read_table(tmp_path / "out/a.parquet")["mask"].to_pylist() == [None]


def test_annotations_are_no_images_in_another_form(tmp_path: Path) -> None:
    columns = {
        "boxes": pa.array([[[1.0, 2.0, 3.0, 4.0]] * 40]),
        "digest": pa.array([b"\x01" * 32]),
        "caption": pa.array(["BM of a dog"]),
        "points": pa.array([[[1, 2, 2]] * 133]),
        "name": pa.array(["dog"]).dictionary_encode(),
    }
    write_parquet(tmp_path / "a.parquet", table(1, **columns))
    assert list(open_parquet(tmp_path).check()) == []


def test_table_metadata_are_limited(tmp_path: Path) -> None:
    content = table(1)
    known = content.schema.metadata
    content = content.replace_schema_metadata({**known, "thumbnail": BASE64})
    write_parquet(tmp_path / "in/a.parquet", content)
    source = open_parquet(tmp_path / "in")
    rebuild(source, {"a.parquet/00000000": b"x"}, tmp_path / "out")
    assert pq.read_schema(tmp_path / "out/a.parquet").metadata == known


def test_statistics_contain_nothing_of_the_source_images(root: Path, tmp_path: Path) -> None:
    source = open_parquet(root)
    rebuild(source, dict.fromkeys(read_all(source), b"hidden"), tmp_path / "out")
    written = (tmp_path / "out" / NAME).read_bytes()
    assert not any(picture(row)[-40:] in written for row in range(5))


@pytest.mark.parametrize("spoil", [lambda data: data[:-100], lambda _: b"", lambda _: b"PAR1" * 9])
def test_a_damaged_table_is_one_clear_line(root: Path, spoil: Any) -> None:
    (root / NAME).write_bytes(spoil((root / NAME).read_bytes()))
    with pytest.raises(DataError, match="is not a valid Parquet file") as raised:
        list(open_parquet(root).records())
    assert "\n" not in str(raised.value)


def test_a_damaged_page_is_one_clear_line(root: Path) -> None:
    data = (root / NAME).read_bytes()
    source = open_parquet(root)
    records = list(source.records())
    (root / NAME).write_bytes(data[:4] + bytes(200) + data[204:])
    with pytest.raises(DataError, match="is not a valid Parquet file"):
        open_parquet(root).read(records[0])


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 300])
def test_a_column_name_that_is_not_a_file_name_is_refused(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "a.parquet", table(1, **{name: pa.array(images(1), IMAGE)}))
    with pytest.raises(DataError, match="not a valid file name"):
        list(open_parquet(tmp_path).records())


def test_datasets_reads_the_same(root: Path, tmp_path: Path) -> None:
    import datasets

    source = open_parquet(root)
    outputs = {**read_all(source), f"{NAME}/00000001": picture(40)}
    del outputs[f"{NAME}/00000003"]
    rebuild(source, outputs, tmp_path / "out")
    found = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / NAME),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert found.features["label"].names == ["cat", "dog"]
    assert [row["text"] for row in found] == [f"row {row}" for row in range(5)]
    assert [row["image"] is None for row in found] == [False, False, False, True, False]
    assert found[0]["image"].size == (8, 8)


def test_a_record_is_read_in_another_process_than_its_own(root: Path) -> None:
    source = open_source(str(root))
    again = open_source(source.uri, source.layout)
    assert [again.read(record) for record in source.records()] == list(read_all(source).values())


def test_images_of_which_none_has_a_path_are_images(tmp_path: Path) -> None:
    pictures = [picture(10), picture(20)]
    columns = {
        "left": [{"bytes": data, "path": "a.jpg"} for data in pictures],
        "right": [{"bytes": data, "path": None} for data in pictures],
    }
    write_parquet(tmp_path / "two" / NAME, pa.table(columns))
    write_parquet(tmp_path / "one" / NAME, pa.table({"image": columns["right"]}))
    both, alone = open_parquet(tmp_path / "two"), open_parquet(tmp_path / "one")
    assert len(read_all(both)) == 4
    assert list(read_all(alone).values()) == pictures
    rebuild(both, read_all(both), tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / NAME)
    assert [row["bytes"] for row in found["right"].to_pylist()] == pictures


@pytest.mark.parametrize("columns", [0, 10_001])
def test_a_folder_of_nothing_but_an_unreadable_table_names_it(tmp_path: Path, columns: int) -> None:
    pq.write_table(pa.table({str(n): [] for n in range(columns)}), tmp_path / "a.parquet")
    if not columns:
        (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(9) + b"PAR1")
    line = explain_no_images(open_source(str(tmp_path)))
    assert line.startswith(
        "SOURCE has no images that can be read: 'a.parquet' is not a valid Parqu"
    )
