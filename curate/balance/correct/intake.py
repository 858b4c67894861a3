"""Read every record with its groups and labels, and count its kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.balance.audit.inputs import Input, Record, open_input
from curate.balance.census import Plan
from curate.balance.correct.kinds import Kind, Kinds, collect_kinds
from curate.balance.correct.ledger import Ledger
from curate.balance.correct.options import MAKING, Balancing, Inputs
from curate.balance.correct.origin import Origin
from curate.balance.groups import Reading, read_units
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.core.records import escape_unprintable

_HELD_OUT = re.compile(
    r"(?:^|[^a-z])(?:val|valid|validation|dev|test|testing|eval|evaluation|holdout)(?=$|[^a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class Intake:
    """What was read.

    Args:
        kinds: the records that are corrected, by kind.
        facts: how the table fits the records.
        splits: records of each split, of those corrected and of those left as they are.
    """

    kinds: Kinds
    facts: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, int]]


def is_held_out(split: str | None) -> bool:
    """Whether a split is for validation or test: nothing is ever made of its records."""
    return split is not None and _HELD_OUT.search(split) is not None


def take_in(
    source: Source | None, table: Path | None, origin: Origin, options: Balancing, ledger: Ledger,
    inputs: Inputs,
) -> Intake:  # fmt: skip
    """Read every record into the ledger.

    Args:
        source: the dataset, or None of a table alone.
        table: the table of groups, or None.
        origin: what SOURCE is.
        options: what to look at.
        ledger: takes the records.
        inputs: where the table's ids are.

    Raises:
        UsageError: if a column is nowhere, or a split is.
        DataError: if the table cannot be used, or nothing is left to correct.
    """
    _check_splits(options)
    labels = (options.label,) if options.label is not None else ()
    reading = Reading(
        attributes=options.attributes,
        labels=labels,
        per="person" if options.per == "person" else "record",
        separator=options.separator,
        bins=options.bins,
    )
    given = Input(
        source, table, origin.run, inputs.id_column, (*options.attributes, *labels),
        options.per == "person", by_id=True, of_people=options.attributes,
    )  # fmt: skip
    splits: dict[str, dict[str, int]] = {"corrected": {}, "fixed": {}}
    with open_input(given) as read:
        ledger.add(_iter_kinds(read.records, reading, options, splits), options.seed)
        facts = {key: value for key, value in read.facts.items() if key != "records"}
    counted = ledger.count()
    unseen = set(options.splits) - splits["corrected"].keys()
    if unseen:
        have = ", ".join(sorted({*splits["corrected"], *splits["fixed"]} - {""})) or "none"
        raise UsageError(f"no record is of the split {sorted(unseen)[0]!r}; there is: {have}")
    if not counted:
        raise DataError("no record is left to correct: all are for validation or test")
    return Intake(collect_kinds(options.attributes, counted), facts, splits)


def plan_audit(options: Balancing) -> Plan:
    """What an audit of the corrected records looks at."""
    return Plan(options.by, options.label, (), ())


def _check_splits(options: Balancing) -> None:
    if options.strategy not in MAKING:
        return
    for split in options.splits:
        if is_held_out(split):
            raise UsageError(
                f"{options.strategy} makes no records of {split!r}, a split for validation or "
                "test; name a training split"
            )


def _iter_kinds(
    records: Iterator[Record], reading: Reading, options: Balancing,
    splits: Mapping[str, dict[str, int]],
) -> Iterator[tuple[str, str | None, Kind, bool]]:  # fmt: skip
    for name, rows in records:
        split = next((row["split"] for row in rows if row.get("split")), None)
        if options.splits:
            is_fixed = split not in options.splits
        else:
            is_fixed = options.strategy in MAKING and is_held_out(split)
        counts = splits["fixed" if is_fixed else "corrected"]
        counts[split or ""] = counts.get(split or "", 0) + 1
        try:
            units = list(read_units(rows, reading))
        except DataError as error:
            raise DataError(f"{escape_unprintable(name)}: {error}") from None
        people = tuple(sorted(unit.groups for unit in units))
        labels = sorted({label for unit in units for named in unit.labels for label in named})
        yield name, split, (people, tuple(labels)), is_fixed
