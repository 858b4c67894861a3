"""Weights and groups of the paired images, from tables by id."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.core.errors import DataError, UsageError
from curate.impact.arrays import Bools, Floats, Ints
from curate.impact.predictions.run import MOST_GROUPS
from curate.impact.train.pairs import Pairs
from curate.layouts.faces.truth import format_value
from curate.layouts.groups import id_of, iter_rows, list_names, load_columns

Groups = Mapping[str, Sequence[str | None]]

_ID, _WEIGHT = "id", "weight"


def load_weights(path: Path, pairs: Pairs, wanted: Bools) -> Floats:
    """Weights by place, 1 in the mean over the images that are wanted.

    Args:
        path: a table with columns ``id`` and ``weight``; other images may stand in it.
        pairs: the images.
        wanted: N, which images must have a weight.

    Raises:
        DataError: if one has none, or a weight is none that can be used.
        UsageError: if the table lacks a column.
    """
    _check_columns(path, (_ID, _WEIGHT))
    weights = np.full(len(pairs), np.nan)
    for number, row in enumerate(iter_rows(path, (_ID, _WEIGHT)), start=1):
        name = id_of(row, _ID, path, number)
        place = pairs.pairing.find(name)
        if place is None:
            continue
        if not np.isnan(weights[place]):
            raise DataError(f"{path} has the id {name!r} twice")
        weights[place] = _parse_weight(row[_WEIGHT], name, path)
    absent = np.flatnonzero(wanted & np.isnan(weights))
    if len(absent):
        raise DataError(
            f"{path} has no weight for {len(absent):,} of {int(wanted.sum()):,} training images, "
            f"such as {pairs.pairing.name(int(absent[0]))!r}"
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


def load_groups(path: Path, by: Sequence[str], pairs: Pairs, rows: Ints) -> Groups:
    """Groups of some images, by attribute; those that are asked for, or all of few values.

    Args:
        path: a table with a column ``id``.
        by: attributes; none for all of 2 to 12 values.
        pairs: the images.
        rows: n, places of the images.

    Raises:
        DataError: if the table knows none of them.
        UsageError: if it lacks an attribute.
    """
    columns = _check_columns(path, (_ID, *by))
    names = list(by) or [name for name in columns if name != _ID]
    order = np.full(len(pairs), -1, dtype=np.int64)
    order[rows] = np.arange(len(rows))
    found: dict[str, list[str | None]] = {name: [None] * len(rows) for name in names}
    seen = np.zeros(len(rows), dtype=bool)
    for number, row in enumerate(iter_rows(path, (_ID, *names)), start=1):
        name = id_of(row, _ID, path, number)
        place = pairs.pairing.find(name)
        at = -1 if place is None else int(order[place])
        if at < 0:
            continue
        if seen[at]:
            raise DataError(f"{path} has the id {name!r} twice")
        seen[at] = True
        for column, values in found.items():
            values[at] = format_value(row.get(column))
    if not seen.any():
        raise DataError(f"{path} knows none of the test images")
    return found if by else {name: each for name, each in found.items() if _has_few(each)}


def _has_few(values: Sequence[str | None]) -> bool:
    return 2 <= len({value for value in values if value is not None}) <= MOST_GROUPS


def _check_columns(path: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    columns = load_columns(path)
    for name in wanted:
        if name not in columns:
            raise UsageError(f"{path} has no column {name!r}; it has: {list_names(columns)}")
    return columns
