"""Rewriting of tables: only values within the limits, and dictionaries without unused entries."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from curate.core.errors import DataError, one_line
from curate.layouts.sidecars.budget import (
    Budget,
)
from curate.layouts.sidecars.columns import (
    drop_all,
    drop_rows,
    find_numbered,
    is_bytes,
    is_number,
    is_string,
    limit_plain,
)
from curate.layouts.sidecars.file_facts import rewrite_metadata
from curate.layouts.sidecars.shapes import (
    MATRIX_ROWS,
    find_spread_embedding,
    is_box_key,
    is_matrix_header,
)
from curate.layouts.sidecars.values import Limits

ROWS = 512
"""Rows limited together."""

_REWRITTEN = 1 << 14  # rows of a row group
_MAX_BYTES = 256 << 10  # of a text, which is in memory once for each of `ROWS`
_MAX_ITEMS = 1 << 16  # of a list of a known schema, such as the faces of all frames
_MAX_INNER_ITEMS = 1000  # of a list in it, such as the frames of a face
_MAX_PATH = 1024  # characters of the path of an image
_MAX_NAME = 255  # bytes of each of its names, as of file systems
_METADATA = (b"huggingface", b"pandas")
_OVERSIZED = object()  # a value with more items than are read


def rewrite_table(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite a Parquet file with nothing but its values, as far as these are within the limits.

    A copy would keep bytes between its pages, and dictionary entries that no row uses: a
    categorical column of a filtered table contains the categories of all removed rows. Values
    over the limits, and columns of bytes, become null.

    Raises:
        DataError: if it is not valid Parquet.
    """
    with _clear_errors(name):
        _rewrite(file, target, name, limits)


def check_table(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Check the texts of a Parquet file of a known schema; nothing is written.

    The schema fixes what its numbers are: boxes, frames and sizes are not limited, except in the
    lengths of lists. The distinct texts of a row share the limits of a record, as methods and
    detectors are repeated for each of its faces.

    Raises:
        DataError: if it is not valid Parquet, or naming a column and a row over the limits.
    """
    from curate.storage.parquet import check_chunks, check_texts, load_parquet

    with _clear_errors(name):
        table = load_parquet(file)
        rows = check_chunks(table.metadata, frozenset(table.schema_arrow.names), name)
        check_texts(file, table.schema_arrow.names, name, _MAX_BYTES)
        for batch in table.iter_batches(min(rows, ROWS), use_threads=False):
            if excess := _find_excess(batch, limits):
                raise DataError(excess)


def _find_excess(batch: Any, limits: Limits) -> str | None:
    """Return a line with the first column and row of a batch over the limits, or None."""
    texts: list[dict[tuple[str, str], None]] = [{} for _ in range(len(batch))]
    for label, column in zip(batch.schema.names, batch.columns, strict=True):
        for row, path, text in _iter_texts(label, column, np.arange(len(batch))):
            if text is None:
                return f"{path} of {_name_row(batch, row)} is over the limits"
            texts[row][path, text] = None
    for row, found in enumerate(texts):
        limits.begin()
        for path, text in found:
            if limits.value(path.rpartition(".")[2], text) != text:
                return f"{path} of {_name_row(batch, row)} is over the limits"
    return None


def _name_row(batch: Any, row: int) -> str:
    return ascii(batch.column(0)[row].as_py())[:200]


def _iter_texts(path: str, column: Any, rows: Any) -> Iterator[tuple[int, str, str | None]]:
    """Iterate over the texts in a column, with their rows and the paths of their fields.

    Args:
        path: path of the column.
        column: array of the values.
        rows: row of each value, int, shape (N,).

    Yields:
        Row, path and text; None for a list that is too long, or a value of another type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_struct(kind):
        for field, inner in zip(kind, column.flatten(), strict=True):
            yield from _iter_texts(f"{path}.{field.name}", inner, rows)
    elif pa.types.is_list(kind):
        most = _MAX_ITEMS if "." not in path else _MAX_INNER_ITEMS
        lengths = np.asarray(pc.list_value_length(column).fill_null(0))
        yield from ((int(row), path, None) for row in rows[lengths > most])
        yield from _iter_texts(path, column.flatten(), np.repeat(rows, lengths))
    elif is_string(kind) and not pa.types.is_nested(kind):
        pairs = zip(rows.tolist(), column.to_pylist(), strict=True)
        yield from ((row, path, text) for row, text in pairs if text is not None)
    elif not (pa.types.is_primitive(kind) or pa.types.is_null(kind)):
        valid = np.asarray(column.is_valid())
        yield from ((int(row), path, None) for row in rows[valid])


@contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the file system; invalid files have no errno
        line = one_line(error)
        raise DataError(f"{name} is not a readable Parquet file ({line})") from None


def _rewrite(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.storage.parquet import check_chunks, check_texts, load_parquet

    table = load_parquet(file)
    rows = min(ROWS, check_chunks(table.metadata, frozenset(table.schema_arrow.names), name))
    check_texts(file, table.schema_arrow.names, name, _MAX_BYTES)
    groups = table.metadata.num_row_groups
    schema = limit_schema(table.schema_arrow, limits)
    codec = table.metadata.row_group(0).column(0).compression if groups and len(schema) else "NONE"
    codec = "NONE" if codec == "UNCOMPRESSED" else codec
    is_matrix = table.metadata.num_rows >= MATRIX_ROWS and is_matrix_header(schema.names)
    matrix = {field.name for field in schema if is_matrix and is_number(field.type)}
    with pq.ParquetWriter(target, schema, compression=codec) as writer:
        for number in range(groups):
            batches = table.iter_batches(rows, row_groups=[number], use_threads=False)
            limited = (
                pa.RecordBatch.from_arrays(limit_columns(batch, limits, (), matrix), schema=schema)
                for batch in batches
            )
            while some := list(islice(limited, -(-_REWRITTEN // rows))):
                writer.write_table(pa.Table.from_batches(some), _REWRITTEN)


def limit_schema(schema: Any, limits: Limits, images: Collection[str] = ()) -> Any:
    """Return a schema with nullable columns and without metadata over the limits.

    Args:
        schema: Arrow schema.
        limits: limits on the metadata.
        images: image columns, which are kept as they are.

    Raises:
        DataError: if a column name is over the limits.
    """
    import pyarrow as pa

    limits.begin()
    fields: list[Any] = []
    for field in schema:
        fault = next((name for name in _iter_names(field) if not limits.accepts_key(name)), None)
        if fault is not None and fields and limits.copy().accepts_key(fault):
            raise DataError(
                f"the names of its {len(schema):,} columns are over the limits together, from "
                f"{fault[:80]!a} on; remove columns, or write shorter names"
            )
        if fault is not None:
            raise DataError(f"the column {fault[:80]!a} has a name over the limits; rename it")
        is_image = field.name in images
        fields.append(
            pa.field(field.name, _plain_type(field.type), field.nullable if is_image else True)
        )
    metadata = {}
    for key, value in (schema.metadata or {}).items():
        kept = rewrite_metadata(value, limits) if key in _METADATA else None
        if kept is not None:
            metadata[key] = kept
        elif key != b"ARROW:schema":
            limits.drop(f"metadata {key[:128].decode('ascii', 'replace')}")
    return pa.schema(fields, metadata or None)


def _iter_names(field: Any) -> Iterator[str]:
    """Iterate over the names of a column: its own, of fields inside it, and of its time zone."""
    yield field.name
    yield from filter(None, (getattr(field.type, "tz", None),))
    for number in range(field.type.num_fields):
        yield from _iter_names(field.type.field(number))


def _plain_type(kind: Any) -> Any:
    """Return a type without the metadata of fields inside it."""
    import pyarrow as pa

    def plain(field: Any) -> Any:
        return pa.field(field.name, _plain_type(field.type), field.nullable)

    if pa.types.is_struct(kind):
        return pa.struct([plain(field) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(plain(kind.key_field), plain(kind.item_field), kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(plain(kind.value_field))
    return pa.list_(plain(kind.value_field)) if pa.types.is_list(kind) else kind


def limit_columns(
    batch: Any, limits: Limits, images: Collection[str] = (), dropped: Collection[str] = ()
) -> list[Any]:
    """Return the columns of a record batch with values over the limits replaced by null.

    Args:
        batch: rows of a table.
        limits: limits on the values.
        images: image columns, of which only the paths are limited.
        dropped: columns that become null.
    """
    import pyarrow as pa

    def limit(batch: Any) -> Any:
        columns = _limit_once(batch, limits, images, dropped)
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    return list(limits.settle(limit, batch).columns)


def _limit_once(
    batch: Any, limits: Limits, images: Collection[str], dropped: Collection[str]
) -> list[Any]:
    columns = []
    budgets = _start_rows(batch, limits, images)
    spread = {*dropped, *_find_spread(batch, limits)}
    crowded = find_numbered(batch)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in images:
            columns.append(_limit_paths(name, column, limits))
            continue
        if name in spread:
            columns.append(drop_all(name, column, limits))
            continue
        if name in crowded:
            column = drop_rows(name, column, crowded[name], limits)
        columns.append(_limit_column(name, column, limits, budgets))
    return columns


def _find_spread(batch: Any, limits: Limits) -> set[Any]:
    """Return the columns of an embedding that is spread over columns."""
    import pyarrow as pa

    if not limits.drops_embeddings:
        return set()
    floats = (field.name for field in batch.schema if pa.types.is_floating(field.type))
    return find_spread_embedding(dict.fromkeys(floats, 0.5))


def _start_rows(batch: Any, limits: Limits, images: Collection[str]) -> list[Budget]:
    """Return the budget of each row, with what its boxes allow."""
    budgets = [Budget() for _ in range(len(batch))]
    for name in images:
        for budget, path in zip(budgets, _paths_of(batch.column(name)), strict=True):
            if path and is_path(path):
                budget.own += (path, *_names_of(path))
    names = [name for name in batch.schema.names if name in ("width", "height") or is_box_key(name)]
    if not any(map(is_box_key, names)):
        return budgets
    from curate.storage.cells import iter_values

    boxes = zip(*(iter_values(batch.column(name), None) for name in names), strict=True)
    for row, limits.budget in zip(boxes, budgets, strict=True):
        limits.allow_boxes(dict(zip(names, row, strict=True)))
    return budgets


def _paths_of(column: Any) -> list[str | None]:
    import pyarrow.compute as pc

    return list(pc.struct_field(column, "path").to_pylist())


def _names_of(path: str) -> tuple[str, str]:
    name = PurePosixPath(path.replace("\\", "/"))
    return name.name, name.stem


def _limit_paths(name: str, column: Any, limits: Limits) -> Any:
    """Return an image column without paths over the limits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    paths = pc.struct_field(column, "path")
    fits = [path is None or is_path(path) for path in _paths_of(column)]
    if all(fits):
        return column
    limits.drop(f"{name}.path", len(fits) - sum(fits))
    arrays = [
        pc.if_else(pa.array(fits), paths, None) if field.name == "path" else column.field(index)
        for index, field in enumerate(column.type)
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(column.type), mask=column.is_null())


def is_path(text: str, longest: int = _MAX_PATH) -> bool:
    """Return whether a text can be the path of a file: of names that file systems have."""
    names = re.split(r"[/\\]", text)
    return len(text) <= longest and all(len(os.fsencode(name)) <= _MAX_NAME for name in names)


def _limit_column(name: str, column: Any, limits: Limits, budgets: list[Budget]) -> Any:
    import pyarrow as pa

    from curate.storage.cells import iter_values

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(
            kind, _limit_column(name, column.storage, limits, budgets)
        )
    if pa.types.is_dictionary(kind):
        fresh = _limit_column(name, column.dictionary_decode(), limits, budgets).dictionary_encode()
        indices = fresh.indices.cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, fresh.dictionary, ordered=kind.ordered)
    if limits.drops(name) or is_bytes(kind):
        return drop_all(name, column, limits)
    if not (pa.types.is_nested(kind) or is_string(kind)):
        return limit_plain(name, column, limits, budgets)
    is_map = pa.types.is_map(kind)
    kept: list[Any] = []
    changed = False
    for value, limits.budget in zip(iter_values(column, _OVERSIZED), budgets, strict=True):
        if value is _OVERSIZED:
            limits.drop(name)
            kept.append(None)
            changed = True
            continue
        plain = dict(value) if is_map and value is not None else value
        limited = limits.value(name, plain) if plain is not None else None
        same = limited == plain or (limited is not None and _has_nan(plain))
        changed |= not same
        kept.append(value if same else list(limited.items()) if is_map and limited else limited)
    if changed or "dictionary" in str(kind) or _hides_values(column):
        return pa.array(kept, type=kind)
    return column.take(pa.array(np.arange(len(column))))


def _hides_values(column: Any) -> bool:
    """Return whether values may be stored below missing structs or lists of one size."""
    kind = column.type
    if "struct" not in str(kind) and "fixed_size_list" not in str(kind):
        return False
    is_list = hasattr(column, "values")  # not of its slice alone
    inner = [column.values] if is_list else map(column.field, range(kind.num_fields))
    return column.null_count > 0 or any(map(_hides_values, inner))


def _has_nan(value: Any) -> bool:
    return isinstance(value, list | dict) and "nan" in str(value)
