"""Tables whose buffers or dictionaries expand to more than can be read."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.layouts.tables.arrow import ArrowTable
from curate.layouts.tables.parquet import ParquetTable

TABLE = pa.table(
    {
        "image": pa.array(
            [{"bytes": b"\0" * 1000, "path": f"{number}.png"} for number in range(40)],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "text": ["a dog"] * 40,
    }
)


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
    slices = ParquetTable(file).iter_slices(["image"])
    assert [piece.batch.num_rows for piece in slices][:3] in ([1, 1, 1], [2, 2, 2])


def test_images_of_usual_files_are_read_many_at_a_time() -> None:
    table = images([bytes([number]) * 64 for number in range(64)])
    pq.write_table(table, file := io.BytesIO(), compression="none")
    assert [piece.batch.num_rows for piece in ParquetTable(file).iter_slices(["image"])] == [64]
