"""Bounded reading of Parquet tables of any origin: a small file can expand to any size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import DataError
from curate.storage.cells import (
    MAX_CELLS,
    MAX_NESTED_TEXT,
    check_dense,
    count_bytes,
    iter_portions,
)
from curate.storage.regular import open_regular
from curate.storage.thrift import check_footer, check_pages

_MAX_CHUNK = 128 << 20
"""Maximum size of a column in a row group once decompressed, bytes."""
_MAX_ITEMS = 8 << 20
"""Maximum number of items of lists of a column in a row group."""
_MAX_ALL_ITEMS = 16 << 20
"""The same of all columns, which one row may have; Arrow takes 16 bytes for each."""
_MAX_TEXT = 1 << 20
"""Maximum length of a text, bytes."""
_MAX_COLUMNS = 10_000
_MAX_GROUPS = 50_000
_ROWS = 4096
_FREE_BYTES = 256 << 20
_MAX_EXPANSION = 256  # of the size of the file, of what all rows take one by one
_DECODED = 1024
"""Minimum number of values that Arrow decodes at a time."""
_CELLS = MAX_CELLS // 4  # of the rows that are read at a time, on average


@contextmanager
def open_parquet(
    source: Path | BinaryIO, texts: Sequence[str] = (), **options: Any
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose footer and pages are bounded.

    Args:
        source: path, or open file, which stays open.
        texts: columns to read as dictionaries, with a text that many rows repeat in memory once.
        options: passed to `pyarrow.parquet.ParquetFile`.

    Raises:
        pyarrow.ArrowInvalid: if its footer is too large, or states less than its pages contain.
        pyarrow.ArrowException: if it cannot be read.
    """
    if isinstance(source, Path):
        with (
            open_regular(source, follow_links=True) as file,
            open_parquet(file, texts, **options) as table,
        ):
            yield table
        return
    table = load_parquet(source, texts, **options)
    try:
        yield table
    finally:
        table.close()


def load_parquet(
    file: BinaryIO,
    texts: Sequence[str] = (),
    has_checked_pages: bool = False,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> pq.ParquetFile:
    """Open a Parquet file as `open_parquet` does; the caller closes it.

    Args:
        file: open file, which stays open.
        texts: as of `open_parquet`.
        columns: columns that are read; None for all.
        has_checked_pages: whether the pages were checked before, or none is read. To check them
            reads all their headers, up to a million.
        options: passed to `pyarrow.parquet.ParquetFile`.
    """
    size = check_footer(file)
    table = pq.ParquetFile(
        file,
        read_dictionary=list(texts),
        thrift_string_size_limit=size,
        thrift_container_size_limit=_MAX_GROUPS,
        **{"pre_buffer": False, **options},
    )
    if table.metadata.num_columns > _MAX_COLUMNS:
        raise pa.ArrowInvalid(
            f"it has {table.metadata.num_columns:,} columns; at most {_MAX_COLUMNS:,} are read"
        )
    if not has_checked_pages:
        check_pages(file, table.metadata, None if columns is None else frozenset(columns))
    return table


def load_schema(source: Path | BinaryIO) -> Any:
    """Return the Arrow schema of a Parquet file whose footer is bounded; reads no pages.

    Raises:
        pyarrow.ArrowException: if it cannot be read.
    """
    with open_parquet(source, has_checked_pages=True) as table:
        return table.schema_arrow


def iter_table_rows(
    path: Path | BinaryIO, columns: Sequence[str] | None = None, name: str | None = None
) -> Iterator[dict[str, Any]]:
    """Iterate over the rows of a Parquet file in bounded memory.

    Args:
        path: the file, or an open one.
        columns: columns to read, missing ones are skipped; None for all that are not nested.
        name: name of the file in messages.

    Raises:
        DataError: if a column of a row group, or a text, is too large, or the rows are far larger
            than the file.
        pyarrow.ArrowException: if the file cannot be read.
    """
    name = name or str(path)
    limit = max(_FREE_BYTES, _MAX_EXPANSION * _measure(path))
    total = 0
    with open_parquet(path, has_checked_pages=True) as table:
        schema = table.schema_arrow
        wanted = [
            field.name
            for field in schema
            if (not pa.types.is_nested(field.type) if columns is None else field.name in columns)
        ]
        rows = check_chunks(table.metadata, frozenset(wanted), name)
        texts = text_paths(table.metadata, frozenset(wanted))
    with open_parquet(path, texts, columns=wanted) as table:
        batches = iter_group_batches(table, rows, wanted)
        for batch in chain.from_iterable(map(iter_portions, batches)):
            total += count_bytes(batch)
            if total > limit:
                raise DataError(
                    f"{name}: its rows repeat values to more than {limit >> 20:,} MB, more than "
                    f"{_MAX_EXPANSION} times its size; remove repeated rows, or shorten texts "
                    "that many rows repeat"
                )
            for label, column in zip(batch.schema.names, batch.columns, strict=True):
                check_dense(column, label, name, _MAX_TEXT)
            values = [_load_column(column) for column in batch.columns]
            for row in zip(*values, strict=True):
                yield dict(zip(batch.schema.names, row, strict=True))


def _measure(file: Path | BinaryIO) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    position, size = file.tell(), file.seek(0, io.SEEK_END)
    file.seek(position)
    return size


def iter_group_batches(table: pq.ParquetFile, rows: int, columns: Sequence[str]) -> Iterator[Any]:
    """Iterate over batches that do not span row groups.

    Each row group has dictionaries of its own, and Arrow cannot join those of nested texts.

    Args:
        table: the open file.
        rows: maximum number of rows of a batch.
        columns: columns to read.
    """
    for group in range(table.metadata.num_row_groups):
        yield from table.iter_batches(
            rows, row_groups=[group], columns=list(columns), use_threads=False
        )


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
        max_items: maximum number of items of lists of a column in a row group; None for 8 million,
            and 16 million of all columns.

    Raises:
        DataError: naming the column.
    """
    max_chunk = _MAX_CHUNK if max_chunk is None else max_chunk
    max_items = _MAX_ITEMS if max_items is None else max_items
    nested = leaves = cells = 1
    leaves += sum(path.partition(".")[0] in wanted for path in _paths(footer))
    for group in map(footer.row_group, range(footer.num_row_groups)):
        items = 0
        for chunk in map(group.column, range(footer.num_columns)):
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
                items += chunk.num_values
                if chunk.num_values > max_items:
                    raise DataError(
                        f"{name}: column {path!a} has {chunk.num_values:,} items in one row group, "
                        f"and at most {max_items:,} are read; write smaller row groups, or remove "
                        "the column"
                    )
                if items > max(max_items, _MAX_ALL_ITEMS):
                    raise DataError(
                        f"{name}: its columns have more than {_MAX_ALL_ITEMS:,} items of lists in "
                        "one row group, which are too many; write smaller row groups, or remove "
                        f"columns such as {path!a}"
                    )
                if chunk.physical_type == "BYTE_ARRAY":
                    nested = max(nested, chunk.total_uncompressed_size)
            # Each text may repeat most of the last one.
            most = chunk.total_uncompressed_size * min(chunk.num_values, _DECODED)
            if "DELTA_BYTE_ARRAY" in chunk.encodings and most > 2 * _MAX_CHUNK:
                raise DataError(
                    f"{name}: column {path!a} has the encoding DELTA_BYTE_ARRAY, which can expand "
                    "to any size; write it with another"
                )
        cells = max(cells, items // max(group.num_rows, 1))
    rows = max(16, min(_ROWS, MAX_NESTED_TEXT // nested))
    return max(1, min(rows, MAX_CELLS // leaves, _CELLS // cells))


def _paths(footer: Any) -> list[str]:
    return [footer.schema.column(number).path for number in range(footer.num_columns)]


def text_paths(footer: Any, wanted: frozenset[str]) -> list[str]:
    """Return the paths of the texts that can be read as dictionaries, nested ones included.

    Args:
        footer: metadata of the file.
        wanted: names of columns.
    """
    leaves = [footer.schema.column(number) for number in range(footer.num_columns)]
    deltas = {
        chunk.path_in_schema
        for group in map(footer.row_group, range(footer.num_row_groups))
        for chunk in map(group.column, range(group.num_columns))
        if any("DELTA" in encoding for encoding in chunk.encodings)  # Arrow cannot
    }
    return [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY"
        and leaf.path.partition(".")[0] in wanted
        and leaf.path not in deltas
    ]


def check_texts(file: BinaryIO, names: Sequence[str], name: str, max_bytes: int) -> None:
    """Refuse long texts, which a dictionary repeats for every row, and lists of many texts.

    Args:
        file: the open file, whose pages `load_parquet` checked; its position is kept.
        names: columns to check.
        name: name of the file in messages.
        max_bytes: maximum length of a text.

    Raises:
        DataError: naming the column.
    """
    position = file.tell()
    table = load_parquet(file, has_checked_pages=True)
    rows = check_chunks(table.metadata, frozenset(names), name)
    texts = text_paths(table.metadata, frozenset(names))
    table = load_parquet(file, texts, has_checked_pages=True)
    leaves = [table.metadata.schema.column(number) for number in range(table.metadata.num_columns)]
    for path in (leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"):
        if path.partition(".")[0] not in names:
            continue
        batches = iter_group_batches(table, rows, [path])
        for batch in chain.from_iterable(map(iter_portions, batches)):
            for column in batch.columns:
                check_dense(column, path.partition(".")[0], name, max_bytes)
    file.seek(position)


def _load_column(column: Any) -> list[Any]:
    """Return the values of a column of a batch; repeated texts are one object."""
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    used = column.indices.unique().drop_null()
    values = dict(zip(used.to_pylist(), column.dictionary.take(used).to_pylist(), strict=True))
    return [None if index is None else values[index] for index in column.indices.to_pylist()]
