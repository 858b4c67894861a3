"""Bounded reading of Parquet tables of any origin: a small file can expand to any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.errors import DataError

_MAX_CHUNK = 128 << 20
"""Maximum size of a column in a row group once decompressed, bytes."""
_MAX_ITEMS = 8 << 20
"""Maximum number of items of lists of a column in a row group."""
_MAX_TEXT = 1 << 20
"""Maximum length of a text, bytes."""
_MAX_COLUMNS = 10_000
_ROWS = 4096
_NESTED_TEXT = 64 << 20


def iter_table_rows(
    path: Path, columns: Sequence[str] | None = None, name: str | None = None
) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of a Parquet file in bounded memory.

    Args:
        path: the file.
        columns: columns to read, missing ones are skipped; None for all that are not nested.
        name: name of the file in messages.

    Raises:
        DataError: if a column of a row group, or a text, is too large.
        pyarrow.ArrowException: if the file cannot be read.
    """
    name = name or str(path)
    with pq.ParquetFile(path) as table:
        schema = table.schema_arrow
        if len(schema) > _MAX_COLUMNS:
            raise DataError(f"{name} has {len(schema):,} columns; at most {_MAX_COLUMNS:,}")
        wanted = [
            field.name
            for field in schema
            if (not pa.types.is_nested(field.type) if columns is None else field.name in columns)
        ]
        rows = check_chunks(table.metadata, frozenset(wanted), name)
        texts = [each for each in wanted if is_text(schema.field(each).type)]
    # As dictionaries, a text that many rows repeat is in memory once.
    with pq.ParquetFile(path, read_dictionary=texts) as table:
        for batch in table.iter_batches(batch_size=rows, columns=wanted):
            values = [_load_column(column, name) for column in batch.columns]
            for row in zip(*values, strict=True):
                yield dict(zip(batch.schema.names, row, strict=True))


def check_chunks(
    footer: Any,
    wanted: frozenset[str],
    name: str,
    max_chunk: int | None = None,
    max_items: int | None = None,
) -> int:
    """Refuse columns that are too large; returns the number of rows to read at a time.

    Args:
        footer: metadata of the file.
        wanted: columns that are read.
        name: name of the file in messages.
        max_chunk: maximum size of a column in a row group once decompressed, bytes; None for
            128 MB.
        max_items: maximum number of items of lists of a column in a row group; None for 8 million.

    Raises:
        DataError: naming the column.
    """
    max_chunk = _MAX_CHUNK if max_chunk is None else max_chunk
    max_items = _MAX_ITEMS if max_items is None else max_items
    nested = 1
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            chunk = footer.row_group(group).column(number)
            path = chunk.path_in_schema
            if path.partition(".")[0] not in wanted:
                continue
            if chunk.total_uncompressed_size > max_chunk:
                size = chunk.total_uncompressed_size >> 20
                raise DataError(
                    f"{name}: column {path!a} has {size:,} MB in one row group, and at most "
                    f"{max_chunk >> 20} MB are read; write smaller row groups"
                )
            if "." in path:
                if chunk.num_values > max_items:
                    raise DataError(
                        f"{name}: column {path!a} has {chunk.num_values:,} items in one row group, "
                        f"and at most {max_items:,} are read; write smaller row groups"
                    )
                if chunk.physical_type == "BYTE_ARRAY":
                    nested = max(nested, chunk.total_uncompressed_size)
    return max(16, min(_ROWS, _NESTED_TEXT // nested))


def check_texts(file: Any, schema: Any, name: str, max_bytes: int) -> None:
    """Refuse long texts in columns that are not nested, which a dictionary repeats for every row.

    Args:
        file: the open file; its position is kept.
        schema: its Arrow schema.
        name: name of the file in messages.
        max_bytes: maximum length of a text.

    Raises:
        DataError: naming the column.
    """
    texts = [field.name for field in schema if is_text(field.type)]
    position = file.tell()
    # As dictionaries, a text that many rows repeat is in memory once.
    table = pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False)
    for text in texts:
        for batch in table.iter_batches(_ROWS, columns=[text], use_threads=False):
            for column in batch.columns:
                values = column.dictionary if pa.types.is_dictionary(column.type) else column
                longest = pc.max(pc.binary_length(values)).as_py() or 0
                if longest > max_bytes:
                    raise DataError(
                        f"{name}: the column {text!a} has a value of {longest:,} bytes; at most "
                        f"{max_bytes:,} are read"
                    )
    file.seek(position)


def _load_column(column: Any, name: str) -> list[Any]:
    """Return the values of a column of a batch; repeated texts are one object."""
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    used = column.indices.unique().drop_null()
    texts = column.dictionary.take(used)
    if is_text(texts.type) and max(pc.binary_length(texts).to_pylist(), default=0) > (_MAX_TEXT):
        raise DataError(f"{name} has a text of more than {_MAX_TEXT >> 20} MB, which is too long")
    values = dict(zip(used.to_pylist(), texts.to_pylist(), strict=True))
    return [None if index is None else values[index] for index in column.indices.to_pylist()]


def is_text(kind: Any) -> bool:
    """Return whether a type is of texts or bytes of any length."""
    return any(
        holds(kind)
        for holds in (
            *(pa.types.is_string, pa.types.is_large_string),
            *(pa.types.is_binary, pa.types.is_large_binary),
        )
    )
