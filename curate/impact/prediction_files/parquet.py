"""Predictions as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.errors import DataError
from curate.impact.prediction_files.batch import (
    DENSE,
    DIGEST,
    LISTED,
    REQUIRED,
    ROWS,
    Batch,
    choose_columns,
    make_batch,
)
from curate.layouts.faces.boxes import one_line


def iter_ids(path: Path) -> Iterator[list[str]]:
    """The images' ids, some at a time."""
    with _reading(path):
        for batch in _iter_tables(path, REQUIRED[:1]):
            yield _texts(batch.column(0), "id", path)


def iter_batches(path: Path) -> Iterator[Batch]:
    """The predictions, some at a time."""
    with _reading(path):
        for batch in _iter_tables(path, None):
            named = zip(batch.schema.names, batch.columns, strict=True)
            yield make_batch({name: _convert(column, name, path) for name, column in named}, path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into one line."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as predictions: {one_line(error)}") from None
    except OSError as error:
        why = error.strerror or one_line(error)
        raise DataError(f"{path} cannot be read as predictions: {why}") from None


def _iter_tables(path: Path, names: Sequence[str] | None) -> Iterator[Any]:
    """Batches of some columns, or of all that are to be read."""
    with pq.ParquetFile(path) as table:
        columns = choose_columns(table.schema_arrow.names, path)
        for batch in table.iter_batches(ROWS, columns=list(names or columns)):
            if batch.num_rows:
                yield batch


def _convert(column: Any, name: str, path: Path) -> Any:
    if name == DIGEST:
        return column.cast(pa.string()).to_pylist()
    if name == "id":
        return _texts(column, name, path)
    if name in (DENSE, *LISTED):
        return _matrix(column, name, path)
    return _values(column, name, path)


def _texts(column: Any, name: str, path: Path) -> list[str]:
    _refuse_nulls(column, name, path)
    return [str(text) for text in column.cast(pa.string()).to_pylist()]


def _values(column: Any, name: str, path: Path) -> npt.NDArray[Any]:
    """A column, or the items of lists, as an array."""
    _refuse_nulls(column, name, path)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _matrix(column: Any, name: str, path: Path) -> npt.NDArray[Any]:
    """Lists of the same length as the rows of a matrix."""
    _refuse_nulls(column, name, path)
    if not (
        pa.types.is_list(column.type)
        or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):
        raise DataError(f"{path} has a column {name!r} of {column.type}, not of lists")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1:
        few, many = min(lengths), max(lengths)
        raise DataError(f"{path} has lists in {name!r} of {few:,} to {many:,} classes")
    return _values(column.flatten(), name, path).reshape(len(column), lengths[0])


def _refuse_nulls(column: Any, name: str, path: Path) -> None:
    if column.null_count:
        raise DataError(f"{path} has an empty value in {name!r}")
