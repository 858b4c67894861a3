"""What SOURCE is: the output of a run, of an earlier correction, a dataset, or a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from curate.balance.census import Plan
from curate.balance.correct.decisions import Ledger, open_ledger
from curate.balance.correct.options import MAKING, Balancing, Inputs
from curate.balance.correct.strata import Kind, Kinds, collect_kinds
from curate.balance.groups import Reading, read_units
from curate.balance.records import Input, Record, open_input
from curate.core.errors import DataError, UsageError
from curate.core.protocols import CarriedFile, Source
from curate.core.records import ImageRecord, escape_unprintable
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.manifest import corrections, store
from curate.manifest.layout import DATA, MANIFEST

TABLE = "table"
"""The layout of a table without images."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What SOURCE is.

    Args:
        place: where its images are; None of a table alone.
        layout: theirs, or ``auto``.
        run: the manifest of the run that has hidden their faces, or None.
        earlier: the manifest of the correction that made them, or None.
        is_obfuscated: whether a run has hidden the faces.
    """

    place: str | None
    layout: str
    run: Path | None = None
    earlier: Path | None = None
    is_obfuscated: bool = False

    @property
    def sha256(self) -> str | None:
        """Digest of what says how the images came about, or None."""
        if self.run is not None:
            return store.digest_file(self.run / store.RUN)
        if self.earlier is not None:
            return store.digest_file(self.earlier / corrections.FACTS)
        return None


def find_origin(source: str | None, layout: str) -> Origin:
    """Tell what SOURCE is.

    Raises:
        UsageError: if there is nothing.
        ManifestError: if it is the output of a run or a correction that cannot be read.
    """
    if source is None or is_table(source):
        return Origin(None, TABLE)
    if is_address(source):
        return Origin(source, layout)
    if not Path(source).exists():
        raise UsageError(f"SOURCE {source!r} does not exist")
    manifest = Path(source) / MANIFEST
    if (manifest / store.RUN).is_file():
        run = store.load_run(manifest)
        name = run["source"]["layout"]
        return Origin(str(Path(source) / DATA), name, run=manifest, is_obfuscated=True)
    if (manifest / corrections.FACTS).is_file():
        facts = corrections.load_facts(manifest)
        if not (Path(source) / DATA).is_dir():
            raise DataError(f"{source} is a list of corrections without images; give its SOURCE")
        return Origin(
            str(Path(source) / DATA),
            facts["source"]["layout"],
            earlier=manifest,
            is_obfuscated=facts["source"]["obfuscated"],
        )
    return Origin(source, layout)


def is_table(source: str) -> bool:
    """Whether SOURCE is a table of records, and not a dataset."""
    path = Path(source)
    return path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson") and path.is_file()


@dataclass(frozen=True, slots=True)
class Opening:
    """How what is corrected is opened.

    Args:
        place: where the dataset is; None of a table alone.
        layout: its layout, or ``auto``.
        ledger: what has the records of a table alone.
    """

    place: str | None
    layout: str
    ledger: Path

    def open(self) -> Source:
        """Open it; raises as `curate.layouts.open_source` does."""
        if self.place is None:
            return TableRecords(self.ledger)
        return open_source(self.place, self.layout)


def opening_of(origin: Origin, ledger: Path) -> Opening:
    """How a SOURCE is opened, with the ledger of its records."""
    return Opening(origin.place, origin.layout, ledger)


class TableRecords:
    """The records of a table without images, which a ledger has.

    Args:
        ledger: the ledger.
    """

    layout = TABLE

    def __init__(self, ledger: Path) -> None:
        self.place = str(ledger)
        self._ledger = ledger

    def check(self) -> Iterator[str]:
        """Nothing to look over: the table was read to its end."""
        yield from ()

    def records(self) -> Iterator[ImageRecord]:
        """Every record, by id."""
        with open_ledger(self._ledger, fresh=False) as ledger:
            for decision in ledger.iter_decisions():
                yield ImageRecord(id=decision.id, uri=decision.id, split=decision.split)

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None."""
        with open_ledger(self._ledger, fresh=False) as ledger:
            found = ledger.find(record_id)
        return None if found is None else ImageRecord(id=record_id, uri=record_id)

    def read(self, record: ImageRecord) -> bytes:
        """Never possible: a table has no images."""
        raise DataError(f"{record.id!a} is a row of a table, and no image")

    def stamp(self, record: ImageRecord) -> str:
        """The ledger is made anew whenever the table is read."""
        return ""

    def size(self, record: ImageRecord) -> int | None:
        """Unknown."""
        return None

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """None: what the table says was read with it."""
        yield from ()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """None: the table's ids are its records."""
        yield from ()

    def others(self) -> Iterator[CarriedFile]:
        """None."""
        yield from ()

    def is_map(self, path: str, data: bytes) -> bool:
        """Never: there are no files."""
        return False

    def open(self, other: CarriedFile) -> BinaryIO:
        """Never possible: there are no files."""
        raise DataError(f"{other.uri!a} is no file")

    def containers(self) -> Iterator[str]:
        """None."""
        yield from ()

    def rebuild(
        self, container: str, outputs: Callable[[str], bytes | None], target: BinaryIO
    ) -> Iterator[CarriedFile]:
        """Never possible: there are no containers."""
        raise DataError(f"{container!a} is no file")

    def inspect(self, container: str) -> Iterator[str]:
        """Never possible: there are no containers."""
        raise DataError(f"{container!a} is no file")


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
