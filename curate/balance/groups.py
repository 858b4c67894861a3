"""Which groups a record is of: values, bins, missing values, several people in one photo."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from curate.core.errors import DataError, UsageError

MISSING = "(missing)"
"""The group of what has no value; a group like any other."""

TOGETHER = "+"
"""Joins the values of a record that has several, where records are counted."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bins:
    """Names for the ranges of a number.

    Args:
        names: one more than edges, from the lowest range up.
        edges: ascending; a number on an edge is of the range above it.
    """

    names: tuple[str, ...]
    edges: tuple[float, ...]

    def place(self, number: float) -> str:
        """The name of the range that a number is in."""
        return self.names[sum(number >= edge for edge in self.edges)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows become what is counted.

    Args:
        attributes: columns whose groups are counted.
        labels: columns of labels, of which a record may have several at once.
        per: whether each record counts once, or each person in it.
        separator: what stands between several values in one text; None for nothing.
        bins: ranges of the columns that are numbers.
    """

    attributes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    per: Literal["record", "person"] = "record"
    separator: str | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)


class Unit(NamedTuple):
    """What counts as one: its group per attribute, and its labels per column of labels.

    With ``times``, it stands for as many that are alike.
    """

    groups: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    times: int = 1


def read_units(rows: Sequence[Row], reading: Reading) -> Iterator[Unit]:
    """What is counted of one record.

    Per record, a record is one unit; where it has several values of an attribute, its
    group is that of them all, such as ``Female+Male``: groups never overlap. Per person,
    each row is a person, and so is each place in a row's lists, which belong together.

    Args:
        rows: what the table says of the record, a row or several; none is all missing.
        reading: what to count, and how.

    Raises:
        DataError: if lists that belong together differ in length, or a number is none.
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
                    f"a record has {len(each)} values of {name} and {people} of another "
                    "attribute: to count people, give one of each to everyone"
                )
        for person in range(people):
            groups = tuple(
                _join(_of_person(each, person), name, reading)
                for name, each in zip(reading.attributes, values, strict=True)
            )
            yield Unit(groups, labels)


def parse_bins(text: str) -> tuple[str, Bins]:
    """Read ``age=child<18,adult<65,old`` or, without names, ``age=18,65``.

    Raises:
        UsageError: if it is neither.
    """
    name, _, ranges = text.partition("=")
    parts = [part.strip() for part in ranges.split(",")]
    try:
        if not name or not all(parts):
            raise ValueError
        if "<" in ranges:
            names, edges = _parse_named(parts)
        else:
            edges = tuple(float(part) for part in parts)
            names = _name_ranges(parts)
        if not all(map(math.isfinite, edges)) or list(edges) != sorted(set(edges)):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{text!r} names no ranges; want NAME=child<18,adult<65,old with ascending edges, "
            "or the edges alone, NAME=18,65"
        ) from None
    return name, Bins(names, edges)


def _parse_named(parts: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    *lower, last = parts
    pairs = [part.rpartition("<") for part in lower]
    if "<" in last or not all(name.strip() for name, _, _ in pairs):
        raise ValueError
    names = (*(name.strip() for name, _, _ in pairs), last)
    if len(set(names)) < len(names):
        raise ValueError
    return names, tuple(float(edge) for _, _, edge in pairs)


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
    """The group of a single text, which most values are; None for whatever needs more thought."""
    if len(rows) != 1 or reading.separator or name in reading.bins:
        return None
    value = rows[0].get(name)
    return value.strip() or MISSING if isinstance(value, str) else None


def _values(rows: Sequence[Row], name: str, reading: Reading) -> list[str | None]:
    """Every value of a column as a text, None for each that is missing."""
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
    raise DataError(f"{name} holds {str(value)[:60]!r}; want a text, a number or a list of them")


def _bin(value: Any, name: str, bins: Bins) -> str | None:
    if isinstance(value, str) and not value.strip():
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{name} is binned, but {str(value)[:60]!r} is no number") from None
    return None if math.isnan(number) else bins.place(number)


def _join(values: Sequence[str | None], name: str, reading: Reading) -> str:
    known = {value for value in values if value is not None}
    if len(known) < 2:
        return next(iter(known), MISSING)
    if name in reading.bins:
        return TOGETHER.join(each for each in reading.bins[name].names if each in known)
    return TOGETHER.join(sorted(known))


def _of_person(values: Sequence[str | None], person: int) -> Sequence[str | None]:
    """One person's value: what is said once is said of everyone in the record."""
    return values if len(values) < 2 else values[person : person + 1]
