"""Tables of sensitive features by image id: CSV, TSV, JSON Lines, Parquet, COCO JSON, in memory."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TextIO, TypeGuard

from curate.core.errors import DataError, UsageError, describe_malformed, suggest
from curate.layouts.access.folder import ARCHIVE_SUFFIXES
from curate.layouts.coco import groups as coco_groups
from curate.layouts.encodings import marked_encoding
from curate.layouts.faces.truth import format_value
from curate.layouts.files import is_image_name
from curate.layouts.memory_table import MemoryTable, Table, TableLike, as_table
from curate.storage.regular import open_regular, open_text

Groups = Mapping[str, str]
"""Values by column name; columns without a value are omitted."""

_MAX_ROW = 4 << 20  # characters of a line, and of a field of CSV, whose own limit is 131,072
_MAX_COLUMNS = 10_000
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")

TABLES = frozenset({*_SEPARATORS, *_JSON_LINES, ".parquet"})
"""Suffixes of tables."""


def describe_duplicate(name: str, per_person: bool = False) -> str:
    """Describe an id that several rows have, and what to do.

    Args:
        name: the id.
        per_person: whether the command counts persons with ``--per person``.
    """
    persons = ", or --per person if each row is a person" if per_person else ""
    return f"the id {name!r} is duplicated; keep one row per image{persons}"


def load_groups(path: Table) -> dict[str, Groups]:
    """Load a table of sensitive features into memory, by image id.

    Args:
        path: CSV, TSV, JSON Lines or Parquet file, or a table in memory, with a column of ids,
            see `ID_COLUMNS`; every other column with plain values is a sensitive feature.

    Raises:
        DataError: if the table is invalid, or an id is duplicated.
    """
    groups: dict[str, Groups] = {}
    column = find_id_column(path, None, required=False)
    if column is None:
        have = list_names(load_columns(path))
        raise DataError(f"{path} has no column of ids, such as id or file_name; it has: {have}")
    for number, row in enumerate(iter_rows(path), start=1):
        name = id_of(row, column, path, number)
        if name in groups:
            raise DataError(f"{path}: {describe_duplicate(name)}")
        values = {key: format_value(value) for key, value in row.items() if key != column}
        groups[name] = {key: value for key, value in values.items() if value is not None}
    return groups


def match_groups(
    groups: Mapping[str, Groups], ids: Iterable[str], table: Table, what: str = "an image"
) -> dict[str, Groups]:
    """Match a table with images, by record id.

    An id of the table matches the image with this id; otherwise with this id and a suffix, or
    whose path ends so. An id that matches several images matches none.

    Args:
        groups: from `load_groups`.
        ids: ids of the images.
        table: the table, for messages.
        what: name of an image in messages.

    Raises:
        DataError: if no id matches.
    """
    found: dict[str, str] = {}
    claims: Counter[str] = Counter()
    for name in ids:
        given = find_form(name, groups.__contains__)
        if given is not None:
            found[name] = given
            claims[given] += name != given
    matching = {
        name: groups[given]
        for name, given in found.items()
        if name == given or (claims[given] == 1 and given not in found)
    }
    if groups and not matching:
        raise DataError(
            f"none of the {len(groups):,} ids of {table}, such as {next(iter(groups))!r}, is "
            f"{what} of SOURCE; ids are paths or file names, with or without suffix"
        )
    return matching


def load_matching(
    given: TableLike | None, ids: Iterable[str], by: Iterable[str] = ()
) -> dict[str, Groups]:
    """Load a table and match it with images, as `load_groups` and `match_groups`.

    Args:
        given: the table; None for no groups.
        ids: ids of the images.
        by: columns that it must have.

    Raises:
        UsageError: if it lacks one.
    """
    table = as_table(given)
    if table is None:
        return {}
    check_columns(table, by)
    return match_groups(load_groups(table), ids, table)


def find_form(name: str, is_given: Callable[[str], bool]) -> str | None:
    """Return the longest form of an id that a table has, or None: see `match_groups`."""
    return next(filter(is_given, _iter_forms(name)), None)


def _iter_forms(name: str) -> Iterator[str]:
    """Iterate over an id and its shorter forms: without suffix, without the first folders."""
    parts = name.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield end
        yield strip_suffix(end)


def strip_suffix(path: str) -> str:
    """Return a path without the suffix of its file name."""
    return str(PurePosixPath(path).with_suffix("")) if PurePosixPath(path).name else path


def load_columns(path: Table) -> tuple[str, ...]:
    """Return the columns of a table without image columns; JSON Lines: of the first line.

    Raises:
        DataError: if the table is invalid or empty.
    """
    import pyarrow as pa

    from curate.layouts.tables.images import mentions_images
    from curate.storage.parquet import load_schema

    try:
        if isinstance(path, MemoryTable):
            return tuple(load_schema(path.open()).names)
        with open_regular(path, follow_links=True) as file:
            if file.read(4) == b"PAR1":
                return tuple(
                    field.name for field in load_schema(path) if not mentions_images(field.type)
                )
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as a table: {describe_malformed(error)}") from None
    except OSError as error:
        raise DataError(f"the table {path} cannot be read: {describe_malformed(error)}") from None
    first = next(iter_rows(path), None)
    if first is None:
        raise DataError(f"{path} is empty; expected a first line with names, and records")
    return tuple(first)


def holds_images(path: Path) -> bool:
    """Return whether a file is no table: Parquet with image columns, an archive, an image."""
    if path.suffix.lower() in ARCHIVE_SUFFIXES or is_image_name(path.name):
        return True
    if path.suffix.lower() != ".parquet":
        return False
    import pyarrow as pa

    from curate.layouts.tables.images import mentions_images
    from curate.storage.parquet import load_schema

    try:
        return any(mentions_images(field.type) for field in load_schema(path))
    except (pa.ArrowException, OSError):
        return False


def iter_rows(path: Table, columns: Sequence[str] | None = None) -> Iterator[Mapping[str, Any]]:
    """Iterate over the rows of a table, with values as stored.

    Args:
        path: CSV, TSV, JSON Lines or Parquet file, or a table in memory.
        columns: columns to read, unless from a text file; missing ones are skipped.

    Raises:
        DataError: if the table is invalid.
    """
    if isinstance(path, MemoryTable):
        yield from path.iter_rows(columns)
        return
    ending = path.suffix.lower()
    try:
        with open_regular(path, follow_links=True) as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            yield from _iter_parquet(path, columns)
        elif ending in _SEPARATORS:
            yield from _iter_separated(path, _SEPARATORS[ending])
        elif ending in _JSON_LINES:
            yield from _iter_json_lines(path)
        else:
            raise DataError(f"{path} is not a supported table; use .csv, .tsv, .jsonl or Parquet")
    except OSError as error:
        raise DataError(f"the table {path} cannot be read: {describe_malformed(error)}") from None
    except UnicodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {describe_malformed(error)}") from None


def _iter_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa

    from curate.storage.parquet import iter_table_rows

    try:
        yield from iter_table_rows(path, columns)
    except pa.ArrowException as error:
        raise DataError(f"{path} cannot be read as a table: {describe_malformed(error)}") from None


def _open_text(path: Path) -> TextIO:
    """Open a text file in the encoding that its byte order mark declares, else as UTF-8."""
    with open_regular(path, follow_links=True) as file:
        encoding = marked_encoding(file.read(4)) or "utf-8"
    return open_text(path, encoding, newline="")


def _iter_separated(path: Path, separator: str) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(_MAX_ROW)
    with _open_text(path) as file:
        header = file.readline(_MAX_ROW)
        file.seek(0)
        if separator == "," and "," not in header:  # spreadsheets write others in some locales
            separator = next((each for each in ";\t" if each in header), separator)
        table = csv.DictReader(_iter_lines(file, path), delimiter=separator, strict=True)
        names = table.fieldnames or ()
        if len(names) > _MAX_COLUMNS:
            raise DataError(f"{path} has {len(names):,} columns; at most {_MAX_COLUMNS:,} are read")
        if len(set(names)) < len(names):
            raise DataError(f"{path} has a duplicate column name in its header")
        for row in table:
            if None in row or None in row.values():
                want = "as many fields as the first line names"
                raise DataError(f"{path}, line {table.line_num}, does not have {want}")
            yield row


def _iter_lines(file: TextIO, path: Path) -> Iterator[str]:
    """Yield lines of bounded length.

    Raises:
        DataError: if a line is longer.
    """
    number = 0
    while line := file.readline(_MAX_ROW + 1):
        number += 1
        if len(line) > _MAX_ROW:
            raise DataError(
                f"{path}, line {number}, is longer than {_MAX_ROW >> 20} MB, which is too long for "
                "a row of a table"
            )
        yield line


def _iter_json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with _open_text(path) as file:
        for number, line in enumerate(_iter_lines(file, path), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path}, line {number}, is not valid JSON: {describe_malformed(error)}"
                ) from None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected an object with an id")
            yield row


ID_COLUMNS = ("id", "file_name", "file", "filename", "path", "image", "image_id")
"""Default names of the id column, in order of preference."""

_MAX_LISTED = 20


def holds_annotations(table: Table) -> TypeGuard[Path]:
    """Return whether a table is COCO JSON, which has one row per annotation, not per image."""
    return isinstance(table, Path) and table.suffix.lower() == ".json"


def iter_table(table: Table, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Iterate over the rows of a table, COCO JSON included; see `iter_rows`.

    Raises:
        DataError: if the table cannot be read.
    """
    if holds_annotations(table):
        return coco_groups.iter_annotation_rows(table)
    return iter_rows(table, columns)


def find_id_column(table: Table, named: str | None, required: bool) -> str | None:
    """Return the id column of a table.

    Raises:
        UsageError: if the named column is missing.
        DataError: if the table is invalid or empty, or no column is an id column.
    """
    if holds_annotations(table):
        return coco_groups.NAME
    columns = load_columns(table)
    if named is not None:
        check_columns(table, [named], columns)
        return named
    folded = {name.lower(): name for name in reversed(columns)}
    found = next((folded[name] for name in ID_COLUMNS if name in folded), None)
    if found is None and required:
        have = list_names(columns)
        raise DataError(
            f"{table} has no column of ids, such as id or file_name; select one with --id; it has: "
            f"{have}"
        )
    return found


def check_columns(table: Table, names: Iterable[str], among: Sequence[str] | None = None) -> None:
    """Check that a table has columns that an option names.

    Args:
        table: the table.
        names: the columns.
        among: its columns that can be named; None for all.

    Raises:
        UsageError: if it lacks one.
        DataError: if it cannot be read.
    """
    columns = load_columns(table) if among is None else among
    for name in names:
        if name not in columns:
            have = f"{list_names(columns)}{suggest(name, columns)}"
            raise UsageError(f"{table} has no column {name!r}; it has: {have}")


def id_of(row: Mapping[str, Any], column: str, table: Table, number: int) -> str:
    """Return the id of a row.

    Raises:
        DataError: if the row has no id.
    """
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataError(f"{table}, record {number}, has no id in its column {column!r}")
    return str(value).replace("\\", "/").removeprefix("./")


def list_names(names: Iterable[str]) -> str:
    """Join names for a message, at most 20."""
    return ", ".join(list(names)[:_MAX_LISTED])
