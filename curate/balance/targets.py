"""Reference populations from tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from curate.balance.audit.measure import Targets
from curate.balance.audit.representation import Group
from curate.balance.contingency import Columns
from curate.balance.groups import MISSING, parse_number
from curate.core.errors import DataError, UsageError
from curate.layouts.faces.truth import format_value
from curate.layouts.groups import iter_rows

_AMOUNTS = ("share", "count")


def load_targets(paths: Sequence[Path], attributes: Columns) -> Targets:
    """Read reference populations: one row per group, with its share or count.

    Args:
        paths: tables with a column ``share`` or ``count``, and one for each attribute.
        attributes: the requested attributes.

    Raises:
        UsageError: if two tables have the same attributes, or one has none.
        DataError: if a table is malformed.
    """
    targets: dict[Columns, dict[Group, float]] = {}
    for path in paths:
        columns, target = _load(path)
        unknown = [name for name in columns if name not in attributes]
        if unknown or not columns:
            problem = f"{unknown[0]!r} is not in --by" if unknown else "it has no attribute column"
            raise UsageError(f"{path} is not a valid target: {problem}")
        if columns in targets:
            raise UsageError(f"{path} is a second target for {','.join(columns)}")
        targets[columns] = target
    return targets


_MAX_SHOWN = 80  # characters


def _load(path: Path) -> tuple[Columns, dict[Group, float]]:
    amounts: dict[Group, float] = {}
    columns: Columns | None = None
    for number, row in enumerate(iter_rows(path), start=1):
        amount = next((name for name in _AMOUNTS if name in row), None)
        if amount is None:
            raise DataError(f"{path} has no column share or count; add one beside the attributes")
        if columns is None:
            columns = tuple(name for name in row if name not in _AMOUNTS)
        group = tuple(format_value(row.get(name)) or MISSING for name in columns)
        if group in amounts:
            raise DataError(f"{path} has a duplicate row for {'|'.join(group)[:_MAX_SHOWN]!r}")
        amounts[group] = _parse_amount(row[amount], f"{path}, record {number}")
    total = math.fsum(amounts.values())
    if columns is None or not total > 0:
        raise DataError(f"{path} is an empty target; give shares or counts above 0")
    if any(MISSING in group for group in amounts):
        raise DataError(f"{path} has an empty group; missing values cannot have a target")
    return columns, {group: amount / total for group, amount in amounts.items()}


def _parse_amount(value: object, where: str) -> float:
    try:
        amount = parse_number(str(value))
    except ValueError:
        amount = -1.0
    if amount < 0:
        raise DataError(f"{where}: {str(value)[:_MAX_SHOWN]!r} is not a share or count")
    return amount
