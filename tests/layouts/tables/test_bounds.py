"""Tables whose buffers or dictionaries expand to more than can be read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.layouts.sidecars.table import limit_columns
from curate.layouts.sidecars.values import Limits
from curate.layouts.tables.arrow import ArrowTable
from curate.layouts.tables.parquet import ParquetTable
from curate.storage.parquet import load_parquet

TABLE = pa.table(
    {
        "image": pa.array(
            [{"bytes": b"\0" * 1000, "path": f"{number}.png"} for number in range(40)],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "text": ["a dog"] * 40,
    }
)


IMAGES = TABLE["image"][:1].combine_chunks()


def arrow_stream(compression: str | None) -> io.BytesIO:
    file = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(file, TABLE.schema, options=options) as writer:
        writer.write_table(TABLE, 10)
        writer.write_table(TABLE)
    file.seek(0)
    return file


def test_arrow_streams_are_read() -> None:
    slices = list(ArrowTable(arrow_stream(None)).iter_slices(["image", "text"]))
    assert sum(piece.batch.num_rows for piece in slices) == 80
    assert slices[-1].first + slices[-1].batch.num_rows == 80


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_arrow_streams_are_refused(compression: str) -> None:
    table = ArrowTable(arrow_stream(compression))
    with pytest.raises(pa.ArrowInvalid, match="its buffers are compressed; save it without"):
        list(table.iter_slices(["text"]))


def repeated(value: bytes, rows: int) -> Any:
    """An image column in which a dictionary has one value for all rows."""
    return images([value] * rows)


def images(values: list[bytes]) -> Any:
    columns = [pa.array(values), pa.nulls(len(values), pa.string())]
    return pa.table({"image": pa.StructArray.from_arrays(columns, ["bytes", "path"])})


def test_a_large_image_that_many_rows_repeat_is_read_row_by_row() -> None:
    pq.write_table(
        repeated(bytes(4 << 20), 64), file := io.BytesIO(), compression="zstd",
        dictionary_pagesize_limit=1 << 30,
    )  # fmt: skip
    slices = ParquetTable(file, "a.parquet").iter_slices(["image"])
    assert [piece.batch.num_rows for piece in slices][:3] in ([1, 1, 1], [2, 2, 2])


def test_images_of_usual_files_are_read_many_at_a_time() -> None:
    table = images([bytes([number]) * 64 for number in range(64)])
    pq.write_table(table, file := io.BytesIO(), compression="none")
    assert [
        piece.batch.num_rows for piece in ParquetTable(file, "a.parquet").iter_slices(["image"])
    ] == [64]


SHARED = (
    *(pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.string_view()), pa.binary_view()),
    *(pa.list_view(pa.int8()), pa.struct([("a", pa.large_list_view(pa.int8()))])),
    pa.run_end_encoded(pa.int32(), pa.string()),
)


@pytest.mark.parametrize("kind", SHARED, ids=str)
def test_arrow_types_whose_values_share_bytes_are_refused(kind: Any) -> None:
    schema = pa.schema([("dictionary", pa.struct([("list_view", pa.int8())])), ("x", kind)])
    with pa.ipc.new_stream(file := io.BytesIO(), schema):
        pass
    with pytest.raises(
        pa.ArrowInvalid, match=r"the column 'x' has the type .*; cast it to a plain"
    ):
        ArrowTable(file)
    with pa.ipc.new_stream(file := io.BytesIO(), schema.remove(1)):
        pass
    assert ArrowTable(file).schema.names == ["dictionary"]


def lists(*lengths: int) -> Any:
    offsets = np.cumsum([0, *lengths], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.zeros(offsets[-1], np.int8)))


def test_only_a_value_of_too_many_items_becomes_null() -> None:
    column = lists(3, 2_000_000, 0, 3)
    nested = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), column)
    offsets = pa.array([0, 2, 2_000_002, 2_000_002, 2_000_003], pa.int32())
    items = pa.array(range(2_000_003), pa.int32())
    maps = pa.MapArray.from_arrays(offsets, items, items)
    batch = pa.record_batch({"x": column, "y": nested, "z": maps, "n": [1, 2, 3, 4]})
    limits = Limits(())
    limited = limit_columns(batch, limits)
    for column in limited[:3]:
        assert [value is None for value in column.to_pylist()] == [False, True, False, False]
    assert limited[3].null_count == 0
    assert limits.content.to_dict()["dropped"] == {"": {"x": 1, "y": 1, "z": 1}}


def test_lists_of_all_columns_are_bounded_together() -> None:
    table = pa.table({"image": IMAGES, **{name: lists(6_000_000) for name in "abc"}})
    pq.write_table(table, file := io.BytesIO(), compression="zstd")
    with pytest.raises(DataError, match=r"a\.parquet: its columns have more than 16,777,216 items"):
        ParquetTable(file, "a.parquet")
    pq.write_table(table.select(["image", "a"]), file := io.BytesIO(), compression="zstd")
    [piece] = ParquetTable(file, "a.parquet").iter_slices(["image", "a"])
    assert piece.batch.num_rows == 1


def test_pages_of_all_columns_are_bounded_together() -> None:
    value = pa.array([bytes(1 << 20)] * 50, pa.binary(1 << 20))
    table = pa.table(dict.fromkeys("abcdef", value))
    pq.write_table(table, file := io.BytesIO(), compression="zstd", use_dictionary=False,
                   data_page_size=1 << 30)  # fmt: skip
    with pytest.raises(pa.ArrowInvalid, match=r"pages of its columns expand to 30. MB together"):
        load_parquet(file)
    load_parquet(file, columns=["a", "b"])


def test_lists_of_one_text_that_a_dictionary_repeats_are_refused() -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["a" * 50_000])
    column = pa.ListArray.from_arrays(pa.array([0, 10_000], pa.int32()), texts)
    pq.write_table(pa.table({"image": IMAGES, "x": column}), file := io.BytesIO(),
                   store_schema=False)  # fmt: skip
    table = ParquetTable(file, "a.parquet")
    assert len(list(table.iter_slices(["image"]))) == 1
    with pytest.raises(DataError, match="the lists of the column 'x' have 476 MB of text in 1 row"):
        next(table.iter_slices(["x"]))
