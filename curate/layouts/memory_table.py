"""Tables of sensitive features in memory, such as a DataFrame, read as Parquet files are."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Protocol, TypeAlias

from curate.core.errors import DataError, UsageError, describe_malformed
from curate.core.records import as_path
from curate.storage.regular import open_regular

_ROWS = 65_536  # of a row group, whose size is limited
_INDEX = re.compile(r"__index_level_\d+__")  # of a DataFrame, without a name


class ArrowTable(Protocol):
    """A table of pandas, PyArrow, Polars, or any library that exports Arrow tables."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the table."""


class HubTable(Protocol):
    """A table of Hugging Face `datasets`."""

    def select_columns(self, column_names: str | list[str]) -> Any:
        """Keep some columns."""


@dataclass(frozen=True, eq=False, repr=False)
class MemoryTable:
    """A table that the caller gave in memory.

    Args:
        name: of the argument, which messages name instead of a file.
        parquet: its columns without images, as a Parquet file.
    """

    name: str
    parquet: bytes

    def __str__(self) -> str:
        return self.name

    def open(self) -> io.BytesIO:
        """Open it as a file."""
        return io.BytesIO(self.parquet)

    def iter_rows(self, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
        """Iterate over its rows, as those of a Parquet file."""
        from curate.storage.parquet import iter_table_rows

        return iter_table_rows(self.open(), columns, self.name)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the names of its columns and of its values, in hexadecimal."""
        from curate.storage.parquet import load_schema

        columns = load_schema(self.open()).names
        digest = hashlib.sha256(json.dumps(columns).encode())
        for row in self.iter_rows(columns):
            line = json.dumps([row[name] for name in columns], default=str)
            digest.update(f"\n{line}".encode())
        return digest.hexdigest()


Table: TypeAlias = Path | MemoryTable
TableLike: TypeAlias = str | Path | MemoryTable | ArrowTable | HubTable
"""What a caller can give for a table: a path, or a table in memory."""


def as_table(given: TableLike | None, name: str = "groups") -> Table | None:
    """Return a table that a caller gave as a path or in memory; None stays None.

    Args:
        given: what was given. Of a DataFrame, an index without a name is no column.
        name: of the argument.

    Raises:
        UsageError: if it can be no table.
        DataError: if its columns cannot be read, such as one with values of several types.
    """
    if given is None or isinstance(given, str | PurePath):
        return as_path(given, name)
    if isinstance(given, MemoryTable):
        return given
    import pyarrow as pa

    try:
        return MemoryTable(name, _to_parquet(_to_arrow(given, name)))
    except pa.ArrowException as error:
        why = f"{error.args[-1]}; give each column values of one type"  # names the column
        raise DataError(f"{name} cannot be read as a table: {why}") from None
    except ValueError as error:
        raise DataError(f"{name} cannot be read as a table: {describe_malformed(error)}") from None


def _to_arrow(given: Any, name: str) -> Any:
    """Convert a table to Arrow, without columns of images."""
    import pyarrow as pa

    from curate.layouts.tables.images import mentions_images

    library = sys.modules.get("datasets")
    if library is not None and isinstance(given, library.Dataset):
        schema = given.features.arrow_schema
        plain = [field.name for field in schema if not mentions_images(field.type)]
        return given.select_columns(plain).with_format("arrow")[:]
    if not (hasattr(given, "__arrow_c_stream__") and hasattr(given, "columns")):
        what = f"{name} is a {type(given).__name__}, not a path or a table"
        raise UsageError(f"{what}; give the path of a file, or a DataFrame")
    table = pa.table(given)
    if len(set(table.column_names)) < table.num_columns:
        raise ValueError("it has a duplicate column name")
    return table.select([field.name for field in table.schema if not mentions_images(field.type)])


def _to_parquet(table: Any) -> bytes:
    """Write a table as a Parquet file, without an index that has no name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = table.select([name for name in table.column_names if not _INDEX.fullmatch(name)])
    schema = pa.schema([(field.name, _storable(field.type)) for field in table.schema])
    buffer = io.BytesIO()
    pq.write_table(table.cast(schema), buffer, row_group_size=_ROWS)
    return buffer.getvalue()


def _storable(kind: Any) -> Any:
    """Return the type of a column in Parquet: Arrow cannot write all texts of Polars."""
    import pyarrow as pa

    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(pa.int32(), _storable(kind.value_type))
    return kind


def set_tables(options: object, *fields: str) -> None:
    """Make fields of a frozen dataclass tables; None stays None. Raises as `as_table`."""
    for name in fields:
        object.__setattr__(options, name, as_table(getattr(options, name), name))


def describe_table(given: TableLike | None) -> dict[str, Any]:
    """Describe a table of groups in a report, by its digest."""
    table = as_table(given)
    if table is None:
        return {"groups_sha256": None}
    if isinstance(table, MemoryTable):
        return {"groups_sha256": table.sha256, "groups_in_memory": True}
    return {"groups_sha256": digest_table(table)}


def digest_table(table: Table) -> str:
    """SHA-256 of a file, or of the values of a table in memory, in hexadecimal.

    Raises:
        DataError: if the file cannot be read.
    """
    if isinstance(table, MemoryTable):
        return table.sha256
    try:
        with open_regular(table, follow_links=True) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"the table {table} cannot be read: {describe_malformed(error)}") from None
