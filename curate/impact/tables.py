"""Tables by image id: labels, weights and groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.core.errors import DataError, UsageError
from curate.impact.experiment import Bools, Floats
from curate.impact.pair_index import PairIndex
from curate.layouts.faces.truth import format_value
from curate.layouts.groups import (
    check_columns,
    find_id_column,
    id_of,
    iter_rows,
    list_names,
    load_columns,
)
from curate.layouts.memory_table import Table, TableLike, as_table
from curate.storage.index import NameIndex

MAX_GROUPS = 12
"""Attributes with more values are used only if requested with ``--by``."""

Groups = Mapping[str, Sequence[str | None]]
"""By attribute, the group of each image; None where it is unknown."""

_WEIGHT = "weight"


def load_labels(table: Path) -> NameIndex:
    """Read a table of classes by image id: names of kind ``label``.

    Raises:
        DataError: if it cannot be read, a row lacks its id or label, or an id is duplicated.
    """
    names = NameIndex()
    column = _find_id(table)
    for number, row in enumerate(iter_rows(table, (column, "label")), start=1):
        name, label = id_of(row, column, table, number), row.get("label")
        if label in (None, ""):
            raise DataError(f"{table}, record {number}, has no label; want columns id and label")
        if not names.add("label", name, str(label)):
            raise DataError(f"{table} has the id {name!r} twice")
    return names


def load_weights(path: Path, index: PairIndex, wanted: Bools) -> Floats:
    """Read weights by position, with mean 1 over the wanted images.

    Args:
        path: a table with a column of ids and ``weight``; it may list other images.
        index: the images.
        wanted: images that must have a weight, bool, shape (N,).

    Raises:
        DataError: if a weight is missing or invalid, or the table lacks a column.
    """
    column = _find_id(path)
    _check_columns(path, (_WEIGHT,))
    _match(path, column, index)
    weights = np.full(len(wanted), np.nan)
    for number, row in enumerate(iter_rows(path, (column, _WEIGHT)), start=1):
        name = id_of(row, column, path, number)
        position = index.find(name)
        if position is None:
            continue
        weights[position] = _parse_weight(row[_WEIGHT], name, path)
    absent = np.flatnonzero(wanted & np.isnan(weights))
    if len(absent):
        raise DataError(
            f"{path} has no weight for {len(absent):,} of {int(wanted.sum()):,} training images, "
            f"such as {index.name(int(absent[0]))!r}"
        )
    mean = float(weights[wanted].mean())
    if mean == 0:
        raise DataError(f"{path} gives every training image the weight 0")
    return weights / mean


def _parse_weight(value: Any, name: str, path: Path) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"{path} gives {name!r} the weight {value!r}; want a number of 0 or more")
    return weight


def check_groups(given: TableLike | None, by: Sequence[str]) -> tuple[str, ...]:
    """Check the options about groups and return the attributes, before any work.

    Args:
        given: the table; None if there is none.
        by: requested attributes; several joined by commas for their intersection.

    Raises:
        UsageError: if attributes are requested without a table, or it lacks one.
        DataError: if the table cannot be read.
    """
    path = as_table(given)
    if path is None:
        if by:
            raise UsageError("--by needs the table of groups; name it with --groups")
        return ()
    ids = _find_id(path)
    others = [column for column in load_columns(path) if column != ids]
    check_columns(path, (part for each in by for part in split_attribute(each)), others)
    return tuple(by) or tuple(others)


def split_attribute(name: str) -> list[str]:
    """Return the columns of an attribute or of an intersection such as ``gender,age``."""
    return [part.strip() for part in name.split(",")]


def load_groups(
    given: TableLike | None, by: Sequence[str], index: PairIndex, rows: Bools | None = None
) -> Groups:
    """Read the groups of images by attribute.

    Args:
        given: a table with a column of ids, see `ID_COLUMNS`; ids match images as in
            `match_groups`. None for no groups.
        by: attributes, or intersections of several joined by commas; empty for every column
            with 2 to `MAX_GROUPS` values.
        index: the images.
        rows: the images to return, bool, shape (N,); None for all.

    Raises:
        DataError: if the table lists none of the images, or an id is duplicated.
        UsageError: if it lacks an attribute.
    """
    path = as_table(given)
    if path is None:
        return {}
    names = check_groups(path, by)
    columns = list(dict.fromkeys(part for name in names for part in split_attribute(name)))
    size = sum(1 for _ in index.iter_ids()) if rows is None else len(rows)
    values: dict[str, list[str | None]] = {name: [None] * size for name in columns}
    seen = np.zeros(size, dtype=bool)
    ids = _find_id(path)
    _match(path, ids, index)
    for number, row in enumerate(iter_rows(path, (ids, *columns)), start=1):
        position = index.find(id_of(row, ids, path, number))
        if position is None or (rows is not None and not rows[position]):
            continue
        seen[position] = True
        for column, found in values.items():
            found[position] = format_value(row.get(column))
    if not seen.any():
        which = "images" if rows is None else "test images"
        raise DataError(
            f"{path} lists none of the {which}; ids are paths or file names, with or without suffix"
        )
    kept = range(size) if rows is None else np.flatnonzero(rows).tolist()
    groups = {name: _intersect(values, split_attribute(name), kept) for name in names}
    return groups if by else {name: each for name, each in groups.items() if _has_few(each)}


def _intersect(
    values: Mapping[str, Sequence[str | None]], columns: Sequence[str], kept: Sequence[int]
) -> list[str | None]:
    """Values of one attribute, or of several joined; None where one is unknown."""
    found: list[str | None] = []
    for position in kept:
        parts = [values[column][position] for column in columns]
        known = [part for part in parts if part is not None]
        found.append(" & ".join(known) if len(known) == len(parts) else None)
    return found


def _has_few(values: Sequence[str | None]) -> bool:
    return 2 <= len({value for value in values if value is not None}) <= MAX_GROUPS


def _find_id(path: Table) -> str:
    """Return the column of ids.

    Raises:
        DataError: if there is none.
    """
    column = find_id_column(path, None, required=False)
    if column is None:
        have = list_names(load_columns(path))
        raise DataError(f"{path} has no column of ids, such as id or file_name; it has: {have}")
    return column


def _match(path: Table, column: str, index: PairIndex) -> None:
    rows = enumerate(iter_rows(path, (column,)), start=1)
    index.match((id_of(row, column, path, number) for number, row in rows), path)


def _check_columns(path: Path, wanted: Sequence[str]) -> None:
    columns = load_columns(path)
    for name in wanted:
        if name not in columns:
            raise DataError(f"{path} has no column {name!r}; it has: {list_names(columns)}")
