"""A table of groups, in whatever form it comes, and the ids in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, UsageError
from curate.layouts.coco import groups as coco_groups
from curate.layouts.groups import iter_rows, load_columns

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
