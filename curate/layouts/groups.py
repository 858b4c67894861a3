"""A table that says to which groups each image belongs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.layouts.coco import groups as coco_groups
from curate.layouts.faces.boxes import one_line
from curate.layouts.faces.truth import format_value

Groups = Mapping[str, str]
"""Values by column name; a column without a value is absent."""

_LONGEST = 2**26  # characters of a field; csv's own limit is for smaller ones
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")

TABLES = frozenset({*_SEPARATORS, *_JSON_LINES, ".parquet"})
"""Endings of tables."""


def load_groups(path: Path) -> dict[str, Groups]:
    """Read a table of groups into memory, by the image's id.

    Args:
        path: a CSV, TSV, JSON Lines or Parquet file with a column ``id``; every other
            column with plain values is a set of groups.

    Raises:
        DataError: if it is no such table, or an id comes twice.
    """
    groups: dict[str, Groups] = {}
    for number, row in enumerate(iter_rows(path), start=1):
        name = row.get("id")
        if not isinstance(name, (str, int)) or name == "":
            raise DataError(f"{path}, record {number}, has no id; want a column id")
        if str(name) in groups:
            raise DataError(f"{path} has the id {str(name)!r} twice")
        values = {key: format_value(value) for key, value in row.items() if key != "id"}
        groups[str(name)] = {key: value for key, value in values.items() if value is not None}
    return groups


def load_columns(path: Path) -> tuple[str, ...]:
    """The columns of a table, but for those of images; of JSON Lines, those of the first line.

    Raises:
        DataError: if it is no such table, or empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.layouts.tables.images import mentions_images

    try:
        with path.open("rb") as file:
            if file.read(4) == b"PAR1":
                return tuple(
                    field.name for field in pq.read_schema(path) if not mentions_images(field.type)
                )
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as a table: {one_line(error)}") from None
    except OSError as error:
        raise DataError(f"the table {path} cannot be read: {error.strerror}") from None
    first = next(iter_rows(path), None)
    if first is None:
        raise DataError(f"{path} is empty; want a first line with names, and records")
    return tuple(first)


def holds_images(path: Path) -> bool:
    """Whether it is a Parquet file with images inside, which is a dataset by itself."""
    if path.suffix.lower() != ".parquet":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.layouts.tables.images import mentions_images

    try:
        return any(mentions_images(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError):
        return False


def iter_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Read a table row by row, its values as the file has them.

    Args:
        path: a CSV, TSV, JSON Lines or Parquet file.
        columns: all that is needed; a Parquet file is read no further. Those that the
            table does not have are left out.

    Raises:
        DataError: if it is no such table.
    """
    ending = path.suffix.lower()
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            yield from _iter_parquet(path, columns)
        elif ending in _SEPARATORS:
            yield from _iter_separated(path, _SEPARATORS[ending])
        elif ending in _JSON_LINES:
            yield from _iter_json_lines(path)
        else:
            raise DataError(f"{path} is no known table; give .csv, .tsv, .jsonl or Parquet")
    except OSError as error:
        raise DataError(f"the table {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it anew as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {one_line(error)}") from None


def _iter_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            wanted = names if columns is None else [name for name in names if name in columns]
            for batch in table.iter_batches(columns=wanted):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as a table: {one_line(error)}") from None


def _iter_separated(path: Path, separator: str) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(_LONGEST)
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, delimiter=separator, strict=True)
        if len(set(table.fieldnames or ())) < len(table.fieldnames or ()):
            raise DataError(f"{path} names a column twice in its first line")
        for row in table:
            if None in row or None in row.values():
                want = "as many fields as the first line names"
                raise DataError(f"{path}, line {table.line_num}, does not have {want}")
            yield row


def _iter_json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number}, is no JSON: {one_line(error)}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: want an object with an id")
            yield row


ID_COLUMNS = ("id", "file_name", "file", "filename", "path", "image", "image_id")
"""Columns taken for the record's id where none is named."""

_MOST_LISTED = 20


def holds_annotations(table: Path) -> bool:
    """Whether it is COCO JSON, which has a row for each annotation and not for each image."""
    return table.suffix.lower() == ".json"


def iter_table(table: Path, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Read a table row by row; of some forms no more than the columns asked for.

    Raises:
        DataError: if it cannot be read.
    """
    if holds_annotations(table):
        return coco_groups.iter_annotation_rows(table)
    return iter_rows(table, columns)


def find_id_column(table: Path, named: str | None, required: bool) -> str | None:
    """The column of ids of a table.

    Raises:
        UsageError: if the column that was named is not there, or there is none.
        DataError: if the table is empty, or none.
    """
    if holds_annotations(table):
        return coco_groups.NAME
    columns = load_columns(table)
    if named is not None:
        if named not in columns:
            raise UsageError(f"{table} has no column {named!r}; it has: {list_names(columns)}")
        return named
    found = next((name for name in ID_COLUMNS if name in columns), None)
    if found is None and required:
        have = list_names(columns)
        raise UsageError(f"name the column of ids of {table} with --id; it has: {have}")
    return found


def id_of(row: Mapping[str, Any], column: str, table: Path, number: int) -> str:
    """The id of a row.

    Raises:
        DataError: if it has none.
    """
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataError(f"{table}, record {number}, has no id in its column {column!r}")
    return str(value).removeprefix("./")


def list_names(names: Iterable[str]) -> str:
    """Some names, for a message."""
    return ", ".join(list(names)[:_MOST_LISTED])
