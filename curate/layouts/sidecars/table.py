"""Encoded images in tables: columns of bytes, lists of pixel values, and encoded text."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from curate.layouts.sidecars.text import MAX_NUMBERS, find_in_text

ROWS = 512
"""Rows searched together."""

_REWRITTEN = 1 << 14  # rows of a row group

# An image of 28 × 28 pixels spread over columns has 784; label tables have fewer.
_MAX_COLUMNS = 500


def find_in_table(path: Path) -> str | None:
    """Return why a Parquet file may contain images, or None.

    Args:
        path: Parquet file.

    Raises:
        OSError: if it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as stream:
        try:
            with pq.ParquetFile(stream) as table:
                if reason := find_in_schema(table.schema_arrow):
                    return reason
                batches = table.iter_batches(batch_size=ROWS)
                return next(filter(None, map(find_in_batch, batches)), None)
        except (pa.ArrowException, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # an error of the file system; invalid files have no errno
            return "it is not a readable Parquet file"


def open_compacted(file: BinaryIO) -> BinaryIO:
    """Rewrite a Parquet file to a temporary file with nothing but its values and metadata.

    A copy would keep bytes between its pages, and dictionary entries that no row uses: a
    categorical column of a filtered table contains the categories of all removed rows.

    Args:
        file: Parquet file; closed.

    Returns:
        The rewritten file at its start, or ``file`` at its start if it is not valid Parquet.
    """
    import pyarrow as pa

    target = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed by the caller
    try:
        _rewrite(file, target)
    except (pa.ArrowException, ValueError, OSError) as error:
        target.close()
        if isinstance(error, OSError) and error.errno is not None:
            raise
        file.seek(0)
        return file
    file.close()
    target.seek(0)
    return target


def _rewrite(file: BinaryIO, target: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file, pre_buffer=False)
    schema, groups = table.schema_arrow, table.metadata.num_row_groups
    codec = table.metadata.row_group(0).column(0).compression if groups and len(schema) else "NONE"
    codec = "NONE" if codec == "UNCOMPRESSED" else codec
    with pq.ParquetWriter(target, schema, compression=codec) as writer:
        for number in range(groups):
            batches = table.iter_batches(_REWRITTEN, row_groups=[number], use_threads=False)
            for batch in batches:
                fresh = [_compact(column) for column in batch.columns]
                writer.write_batch(pa.RecordBatch.from_arrays(fresh, schema=schema))


def _compact(column: Any) -> Any:
    """Return a column without unused dictionary entries and without data under nulls."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        fresh = column.dictionary_decode().dictionary_encode()
        indices = fresh.indices.cast(column.type.index_type)
        return pa.DictionaryArray.from_arrays(
            indices, fresh.dictionary, ordered=column.type.ordered
        )
    if "dictionary" in str(column.type):  # nested in lists, structs or maps
        return pa.array(column.to_pylist(), type=column.type)
    return column.take(pa.array(np.arange(len(column))))


def find_in_schema(schema: Any) -> str | None:
    """Return why the columns of an Arrow schema, or its metadata, may contain images, or None."""
    for field in schema:
        if kind := _forbidden(field.type, in_list=False):
            return f"its column {field.name!r} holds {kind}"
    return find_in_text(_iter_metadata(schema))


def _forbidden(kind: Any, in_list: bool) -> str | None:
    """Return what a column type contains that annotations do not, or None."""
    import pyarrow as pa

    kind = getattr(kind, "storage_type", kind)
    if pa.types.is_dictionary(kind):
        return _forbidden(kind.value_type, in_list)
    if pa.types.is_nested(kind):
        inside = in_list or not pa.types.is_struct(kind)
        parts = (_forbidden(kind.field(i).type, inside) for i in range(kind.num_fields))
        return next((part for part in parts if part), None)
    if "binary" in str(kind):
        return "bytes"
    if in_list and str(kind) in ("int8", "uint8", "int16", "uint16"):
        return "lists of small numbers"
    return None


def _iter_metadata(schema: Any) -> Iterator[bytes]:
    """Iterate over metadata and field names as text."""
    for holder in (schema, *_iter_fields(schema)):
        for key, value in (holder.metadata or {}).items():
            # The serialized schema, which the reader has decoded already.
            if key != b"ARROW:schema":
                yield key.decode().encode() + b": " + value.decode().encode() + b"\n"
    for field in _iter_fields(schema):
        yield field.name.encode() + b"\n"


def _iter_fields(parent: Any) -> Iterator[Any]:
    import pyarrow as pa

    for index in range(len(parent) if isinstance(parent, pa.Schema) else parent.num_fields):
        field = parent.field(index)
        yield field
        if pa.types.is_nested(field.type):
            yield from _iter_fields(field.type)


def find_in_batch(batch: Any) -> str | None:
    """Return why the rows of a record batch of about `ROWS` may contain images, or None."""
    leaves = [
        leaf
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        for leaf in _iter_leaves(name, column, None)
    ]
    texts = (_join(name, values) for name, values, _ in leaves if _is_text(values))
    return find_in_text(texts) or _find_pixels(leaves)


def _find_pixels(leaves: list[tuple[str, Any, Any]]) -> str | None:
    for name, values, offsets in leaves:
        if offsets is not None and _has_long_rows(values, offsets):
            return f"its column {name!r} holds a picture as numbers"
    small = sum(offsets is None and _is_like_pixels(values) for _, values, offsets in leaves)
    if small >= _MAX_COLUMNS:
        return f"it holds {small} columns of small numbers, which may be pixels"
    return None


def _iter_leaves(name: str, array: Any, offsets: Any) -> Iterator[tuple[str, Any, Any]]:
    """Iterate over flattened columns: name, values, and list offsets of each row.

    The offsets are None for values outside lists, which are one per row.
    """
    import pyarrow as pa

    array = getattr(array, "storage", array)
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _iter_leaves(name, array.dictionary_decode(), offsets)
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            inner_name = f"{name}.{kind.field(index).name}"
            yield from _iter_leaves(inner_name, array.field(index), offsets)
    elif pa.types.is_nested(kind):
        bounds = _bounds_of(array)
        inner = bounds if offsets is None else bounds[offsets]
        yield from _iter_leaves(name, array.values, inner)
    else:
        yield name, array, offsets


def _bounds_of(array: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(array.type):
        return (np.arange(len(array) + 1) + array.offset) * array.type.list_size
    return array.offsets.to_numpy(zero_copy_only=False)


def _is_text(leaf: Any) -> bool:
    return "string" in str(leaf.type)


def _join(name: str, leaf: Any) -> bytes:
    """Format strings as lines of JSON, so that they are searched like a text file."""
    lead = f"{json.dumps(name.rpartition('.')[2])}: "
    return "".join(f'{lead}"{text}"\n' for text in leaf.drop_null().to_pylist()).encode()


def _has_long_rows(leaf: Any, offsets: Any) -> bool:
    for row in np.flatnonzero(np.diff(offsets) >= MAX_NUMBERS):
        start, stop = int(offsets[row]), int(offsets[row + 1])
        if _is_like_pixels(leaf.slice(start, stop - start)):
            return True
    return False


def _is_like_pixels(values: Any) -> bool:
    """Return whether all values are in the range of pixels.

    These are 0 to 255, including fractions from 0 to 1, or integers from −128 to 127.
    Fractions of both signs also occur in embeddings.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return False
    extent = pc.min_max(values.cast(pa.float64(), safe=False)).as_py()
    low, high = extent["min"], extent["max"]
    if low is None:
        return False
    signed = pa.types.is_integer(values.type) and low >= -128 and high <= 127
    return bool(signed or (low >= 0 and high <= 255))
