"""Group attributes of records: values, bins, missing values, several people in one photo."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from curate.core.errors import DataError, UsageError
from curate.core.records import as_names

MISSING = "(missing)"
"""The group of records without a value."""

JOINER = "+"
"""Joins several values of one record if records are counted."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bins:
    """Ranges of a number.

    Args:
        names: names of the ranges, ascending; one more than edges.
        edges: ascending; a number equal to an edge is in the range above it.
    """

    names: tuple[str, ...]
    edges: tuple[float, ...]

    def find(self, number: float) -> str:
        """The name of the range that contains a number."""
        return self.names[sum(number >= edge for edge in self.edges)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows are converted to units of counting.

    Args:
        attributes: columns whose groups are counted.
        labels: columns of labels; a record may have several labels.
        per: count each record once, or each person in it.
        separator: separator of several values in one text field, or None.
        bins: ranges of numeric columns.
    """

    attributes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    per: Literal["record", "person"] = "record"
    separator: str | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)


class Unit(NamedTuple):
    """One unit of counting: its value per attribute and its labels per column of labels.

    ``times`` identical units can be given as one.
    """

    groups: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    times: int = 1


def read_units(rows: Sequence[Row], reading: Reading) -> Iterator[Unit]:
    """Convert one record to units of counting.

    Per record, a record is one unit; several values of an attribute form a group of their
    own, such as ``Female+Male``, so that groups are disjoint. Per person, each row is a
    person, and so is each index of a row's lists, which are parallel.

    Args:
        rows: the rows of the record; none means that all values are missing.
        reading: how to convert them.

    Raises:
        DataError: if parallel lists differ in length, or a number is not valid.
    """
    if reading.per == "record":
        groups = tuple(_group(rows, name, reading) for name in reading.attributes)
        yield Unit(groups, _labels(rows, reading))
        return
    for row in rows or ({},):
        labels = _labels((row,), reading)
        values = [_values((row,), name, reading) for name in reading.attributes]
        people = max([1, *map(len, values)])
        for name, each in zip(reading.attributes, values, strict=True):
            if len(each) not in (0, 1, people):
                raise DataError(
                    f"a record has {len(each)} values of {name} and {people} of another attribute; "
                    "with --per person, lists must have equal lengths"
                )
        for person in range(people):
            groups = tuple(
                _join(_of_person(each, person), name, reading)
                for name, each in zip(reading.attributes, values, strict=True)
            )
            yield Unit(groups, labels)


def parse_groupings(by: str | Sequence[str | Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Split ``"gender,age"`` into columns; tuples are kept, and one text is one grouping."""
    return tuple(
        tuple(part.strip() for part in each.split(",")) if isinstance(each, str) else tuple(each)
        for each in as_names(by)
    )


def parse_bins(text: str) -> tuple[str, Bins]:
    """Parse ``age=child<18,adult<65,old`` or, without names, ``age=18,65``.

    Raises:
        UsageError: if it is not valid.
    """
    name, _, ranges = text.partition("=")
    parts = [part.strip() for part in ranges.split(",")]
    try:
        if not name or not all(parts):
            raise ValueError
        if "<" in ranges:
            names, edges = _parse_named(parts)
        else:
            edges = tuple(map(parse_number, parts))
            names = _name_ranges(parts)
        if list(edges) != sorted(set(edges)):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--bins {text!r} is not valid; use NAME=child<18,adult<65,old with ascending edges, "
            "or the edges alone, NAME=18,65"
        ) from None
    return name, Bins(names, edges)


def parse_number(value: object) -> float:
    """Return a number, or a text as programs write numbers: ASCII, without underscores.

    Raises:
        ValueError: if it is none, or not finite.
    """
    text = value if isinstance(value, str) else str(float(value))  # type: ignore[arg-type]
    if not text.isascii() or "_" in text or not math.isfinite(number := float(text)):
        raise ValueError
    return number


def _parse_named(parts: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    *lower, last = parts
    pairs = [part.rpartition("<") for part in lower]
    if "<" in last or not all(name.strip() for name, _, _ in pairs):
        raise ValueError
    names = (*(name.strip() for name, _, _ in pairs), last)
    if len(set(names)) < len(names):
        raise ValueError
    return names, tuple(parse_number(edge) for _, _, edge in pairs)


def _name_ranges(edges: Sequence[str]) -> tuple[str, ...]:
    between = (f"{low} to <{high}" for low, high in pairwise(edges))
    return (f"<{edges[0]}", *between, f"≥{edges[-1]}")


def _group(rows: Sequence[Row], name: str, reading: Reading) -> str:
    """The group of a record."""
    text = _plain(rows, name, reading)
    return _join(_values(rows, name, reading), name, reading) if text is None else text


def _labels(rows: Sequence[Row], reading: Reading) -> tuple[tuple[str, ...], ...]:
    return tuple(_labels_of(rows, name, reading) for name in reading.labels)


def _labels_of(rows: Sequence[Row], name: str, reading: Reading) -> tuple[str, ...]:
    text = _plain(rows, name, reading)
    if text is not None:
        return (text,)
    return tuple(sorted({value or MISSING for value in _values(rows, name, reading)})) or (MISSING,)


def _plain(rows: Sequence[Row], name: str, reading: Reading) -> str | None:
    """Fast path for a single text value; None for everything else."""
    if len(rows) != 1 or reading.separator or name in reading.bins:
        return None
    value = rows[0].get(name)
    return value.strip() or MISSING if isinstance(value, str) else None


def _values(rows: Sequence[Row], name: str, reading: Reading) -> list[str | None]:
    """All values of a column as text, None for missing ones."""
    bins = reading.bins.get(name)
    found: list[str | None] = []
    for row in rows:
        value = row.get(name)
        if isinstance(value, str) and reading.separator:
            value = value.split(reading.separator)
        if isinstance(value, (list, tuple)):
            found += [_format(each, name, bins) for each in value]
        else:
            found.append(_format(value, name, bins))
    return found


def _format(value: Any, name: str, bins: Bins | None) -> str | None:
    if value is None or value != value or value == "":
        return None
    if bins is not None:
        return _bin(value, name, bins)
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return str(value)
    raise DataError(f"{name} holds {str(value)[:60]!r}; expected text, a number, or a list of them")


def _bin(value: Any, name: str, bins: Bins) -> str | None:
    if isinstance(value, str) and value.strip().lower() in ("", "nan"):
        return None
    try:
        return bins.find(parse_number(value))
    except (TypeError, ValueError, OverflowError):
        shown = str(value)[:60]
        raise DataError(f"{name} is binned, but {shown!r} is not a finite number") from None


def _join(values: Sequence[str | None], name: str, reading: Reading) -> str:
    known = {value for value in values if value is not None}
    if len(known) < 2:
        return next(iter(known), MISSING)
    if name in reading.bins:
        return JOINER.join(each for each in reading.bins[name].names if each in known)
    return JOINER.join(sorted(known))


def _of_person(values: Sequence[str | None], person: int) -> Sequence[str | None]:
    """One person's value; a single value applies to everyone in the record."""
    return values if len(values) < 2 else values[person : person + 1]
