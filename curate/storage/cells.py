"""Values of Arrow columns, counted before they become Python objects of a hundred bytes each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.core.errors import DataError

MAX_CELLS = 1 << 20
"""Maximum number of values that are in memory as Python objects, of 100 bytes each."""
_ROW = 32
MAX_NESTED_TEXT = 64 << 20
"""Maximum size of the texts in lists of a column that are in memory, bytes."""


def iter_portions(batch: Any) -> Iterator[Any]:
    """Iterate over parts of a batch whose values fit in memory, of at least one row each.

    Rows are read together by their average size; neighbors may be larger.
    """
    if batch.num_rows > 1 and any(map(_is_large, batch.columns)):
        half = batch.num_rows // 2
        yield from iter_portions(batch.slice(0, half))
        yield from iter_portions(batch.slice(half))
    else:
        yield batch


def count_bytes(batch: Any) -> int:
    """Bytes that the values of a batch take one by one, as in an index, and 32 for each row.

    In a file, a dictionary and run lengths can repeat values at no cost.
    """
    leaves = [leaf for column in batch.columns for leaf in _iter_leaves(column)]
    sizes = (_count_text(leaf) or 8 * len(leaf) for leaf in leaves)
    return sum(sizes) + _ROW * int(batch.num_rows)


def _is_large(column: Any) -> bool:
    cells = count_cells(column)
    texts = (_count_text(leaf) for leaf in _iter_leaves(column) if leaf is not column)
    return len(column) < cells > MAX_CELLS or any(total > MAX_NESTED_TEXT for total in texts)


def _count_text(leaf: Any) -> int:
    """Bytes of the texts of an array, each as often as a dictionary repeats it."""
    shared = pa.types.is_dictionary(leaf.type)
    if not is_text(leaf.type.value_type if shared else leaf.type):
        return 0
    lengths = pc.binary_length(leaf.dictionary if shared else leaf)
    return int(pc.sum(lengths.take(leaf.indices) if shared else lengths).as_py() or 0)


def check_dense(column: Any, label: str, name: str, max_bytes: int) -> None:
    """Refuse long texts, and lists whose texts a dictionary repeats too often.

    Args:
        column: of a batch.
        label: its name.
        name: name of the file in messages.
        max_bytes: maximum length of a text.

    Raises:
        DataError: naming the column.
    """
    check_cells(column, label, name)
    for leaf in _iter_leaves(column):
        shared = pa.types.is_dictionary(leaf.type)
        if not is_text(leaf.type.value_type if shared else leaf.type):
            continue
        lengths = pc.binary_length(leaf.dictionary if shared else leaf)
        longest = pc.max(lengths).as_py() or 0
        if longest > max_bytes:
            raise DataError(
                f"{name}: the column {label!r} has a value of {longest:,} bytes; at most "
                f"{max_bytes:,} are read"
            )
        # Rows of their own are few; lists may have any number of items.
        total = _count_text(leaf) if leaf is not column else 0
        if total > MAX_NESTED_TEXT:
            raise DataError(
                f"{name}: the lists of the column {label!r} have {total >> 20:,} MB of text in "
                f"{len(column):,} rows, and at most {MAX_NESTED_TEXT >> 20} MB are read"
            )


def check_cells(column: Any, label: str, name: str) -> None:
    """Refuse a column of a batch whose lists have too many items to be read as Python objects.

    Args:
        column: of a batch.
        label: its name.
        name: name of the file in messages.

    Raises:
        DataError: naming the column.
    """
    cells = count_cells(column)
    if cells > MAX_CELLS and cells > len(column):
        raise DataError(
            f"{name}: the lists of the column {label!r} have {cells:,} items in "
            f"{len(column):,} rows, and at most {MAX_CELLS:,} are read; shorten them, or remove "
            "the column"
        )


def iter_values(column: Any, oversized: Any) -> Iterator[Any]:
    """Iterate over the values of a column, of which a million items are in memory at a time.

    Args:
        column: of a batch.
        oversized: what stands for a value with more items.
    """
    if count_cells(column) <= MAX_CELLS:
        yield from column.to_pylist()
    elif len(column) == 1:
        yield oversized
    else:
        half = len(column) // 2
        yield from iter_values(column.slice(0, half), oversized)
        yield from iter_values(column.slice(half), oversized)


def count_cells(column: Any) -> int:
    """Return the number of values of an array, of its lists, and of the lists in them."""
    return len(column) + sum(map(count_cells, _inner_arrays(column)))


def _iter_leaves(column: Any) -> Iterator[Any]:
    """Iterate over the arrays without inner arrays inside an array."""
    inner = _inner_arrays(column)
    if not inner:
        yield column
    for each in inner:
        yield from _iter_leaves(each)


def _inner_arrays(column: Any) -> list[Any]:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return [column.storage]
    if pa.types.is_struct(kind):
        return list(column.flatten())
    if pa.types.is_map(kind):
        first, end = column.offsets[0].as_py(), column.offsets[-1].as_py()
        return [each.slice(first, end - first) for each in (column.keys, column.items)]
    return [column.flatten()] if pa.types.is_nested(kind) else []


def is_text(kind: Any) -> bool:
    """Return whether a type is of texts or bytes of any length."""
    return any(
        holds(kind)
        for holds in (
            *(pa.types.is_string, pa.types.is_large_string),
            *(pa.types.is_binary, pa.types.is_large_binary),
        )
    )
