"""SOURCE of a correction: its kind, opening it in any process, loading its records."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.balance.correct.decisions import DecisionIndex, open_decisions
from curate.balance.correct.options import ADDING, BalanceOptions
from curate.balance.correct.strata import LoadedRecords, Stratum, collect_strata
from curate.balance.groups import Reading, read_units
from curate.balance.records import Input, Record, open_input
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, escape_unprintable, set_names
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.memory_table import Table, TableLike, set_tables
from curate.manifest import corrections, store
from curate.manifest.files import DATA, MANIFEST
from curate.pipeline.progress import counted
from curate.pipeline.session import Step

TABLE = "table"
"""Layout name of a table without images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceInputs:
    """Input files of a correction; paths never appear in an output.

    Args:
        groups: a table of groups, a file or in memory such as a DataFrame, or None.
        id_column: its column of ids; None for the first of the usual names.
        targets: tables of reference populations.
        labels: JSON report of `curate audit labels`, or None.
        augmentation: a preset's name or a file, or None.
        layout: SOURCE's, or ``auto``.
        visible_faces: write images although SOURCE was not obfuscated.
    """

    groups: TableLike | None = None
    id_column: str | None = None
    targets: Sequence[str | Path] = ()
    labels: str | Path | None = None
    augmentation: str | None = None
    layout: str = "auto"
    visible_faces: bool = False

    def __post_init__(self) -> None:
        set_names(self, "targets")
        set_tables(self, "groups")


@dataclass(frozen=True, slots=True)
class Origin:
    """The kind of SOURCE.

    Args:
        uri: path or URI of its images; None for a table alone.
        layout: its layout, or ``auto``.
        run: manifest of the `curate blur` run that wrote it, or None.
        earlier: manifest of the correction that wrote it, or None.
        is_obfuscated: whether its faces were obfuscated.
        recipe: recipe of the run or correction that wrote it; empty if there was none.
    """

    uri: str | None
    layout: str
    run: Path | None = None
    earlier: Path | None = None
    is_obfuscated: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str | None:
        """SHA-256 of ``run.json`` or ``balance.json``, or None."""
        if self.run is not None:
            return store.digest_file(self.run / store.RUN)
        if self.earlier is not None:
            return store.digest_file(self.earlier / corrections.FACTS)
        return None


def find_origin(source: str | None, layout: str) -> Origin:
    """Find the kind of SOURCE.

    Raises:
        DataError: if it does not exist.
        ManifestError: if its manifest cannot be read.
    """
    if source is None or is_table(source):
        return Origin(None, TABLE)
    if is_address(source):
        return Origin(source, layout)
    if not Path(source).exists():
        raise DataError(f"SOURCE {source!r} does not exist")
    manifest = Path(source) / MANIFEST
    if (manifest / store.RUN).is_file():
        run = store.load_run(manifest)
        return Origin(
            str(Path(source) / DATA),
            run["source"]["layout"],
            run=manifest,
            is_obfuscated=True,
            recipe=run["recipe"],
        )
    if (manifest / corrections.FACTS).is_file():
        facts = corrections.load_facts(manifest)
        if not (Path(source) / DATA).is_dir():
            raise DataError(
                f"{source} is the output of --list-only and has no images; give its SOURCE"
            )
        return Origin(
            str(Path(source) / DATA),
            facts["source"]["layout"],
            earlier=manifest,
            is_obfuscated=facts["source"]["obfuscated"],
            recipe=facts["recipe"],
        )
    return Origin(source, layout)


def is_table(source: str) -> bool:
    """Whether SOURCE is a table of records and not a dataset."""
    path = Path(source)
    return path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson") and path.is_file()


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """How to open SOURCE in a worker process.

    Args:
        uri: path or URI of the dataset; None for a table alone.
        layout: its layout, or ``auto``.
        decisions: index file with the records of a table alone.
        follow_links: whether symbolic links that point outside the dataset are followed.
    """

    uri: str | None
    layout: str
    decisions: Path
    follow_links: bool | None = None

    def open(self) -> Source:
        """Open it; raises as `curate.layouts.open_source` does."""
        if self.uri is None:
            return TableRecords(self.decisions)
        return open_source(self.uri, self.layout, follow_links=self.follow_links)


def spec_of(origin: Origin, decisions: Path) -> SourceSpec:
    """How to open a SOURCE."""
    return SourceSpec(origin.uri, origin.layout, decisions)


class TableRecords:
    """The records of a table without images.

    Args:
        decisions: the index file that contains them.
    """

    layout = TABLE
    follow_links = False

    def __init__(self, decisions: Path) -> None:
        self.uri = str(decisions)
        self._decisions = decisions

    def check(self, strict: bool = False) -> Iterator[str]:
        """Nothing to check: the table was read completely."""
        yield from ()

    def records(self) -> Iterator[ImageRecord]:
        """All records, sorted by id."""
        with open_decisions(self._decisions, fresh=False) as decisions:
            for decision in decisions.iter_decisions():
                yield ImageRecord(id=decision.id, uri=decision.id, split=decision.split)

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None."""
        with open_decisions(self._decisions, fresh=False) as decisions:
            found = decisions.find(record_id)
        return None if found is None else ImageRecord(id=record_id, uri=record_id)

    def read(self, record: ImageRecord) -> bytes:
        """Raises `DataError`: a table has no images."""
        raise DataError(f"{record.id!a} is a table row without an image")

    def stamp(self, record: ImageRecord) -> str:
        """Empty: the index is rebuilt whenever the table is read."""
        return ""

    def size(self, record: ImageRecord) -> int | None:
        """Unknown."""
        return None


_HELD_OUT = re.compile(
    r"(?:^|[^a-z])(?:val|valid|validation|dev|test|testing|eval|evaluation|holdout)(?=$|[^a-z])",
    re.IGNORECASE,
)


def is_held_out(split: str | None) -> bool:
    """Whether a split is for validation or test; nothing is added to it."""
    return split is not None and _HELD_OUT.search(split) is not None


def load_records(
    source: Source | None,
    table: Table | None,
    origin: Origin,
    options: BalanceOptions,
    decisions: DecisionIndex,
    inputs: BalanceInputs,
    watch: Callable[[Step], None] = lambda _: None,
) -> LoadedRecords:
    """Load every record with its groups and labels into the index.

    Args:
        source: the dataset, or None of a table alone.
        table: the table of groups, or None.
        origin: the kind of SOURCE.
        options: attributes, label, splits and seed.
        decisions: receives the records.
        inputs: names the id column.
        watch: called with the progress.

    Raises:
        UsageError: if a column or split does not exist.
        DataError: if the table cannot be used, or no record is to be corrected.
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
        records = counted(read.records, watch, "reading", "records")
        decisions.add(_iter_strata(records, reading, options, splits), options.seed)
        facts = {key: value for key, value in read.facts.items() if key != "records"}
    strata = decisions.count()
    unseen = set(options.splits) - splits["corrected"].keys()
    if unseen:
        have = ", ".join(sorted({*splits["corrected"], *splits["fixed"]} - {""})) or "none"
        raise UsageError(f"no record is in split {sorted(unseen)[0]!r}; splits: {have}")
    if not strata:
        raise DataError("there is no record to correct: all are in validation or test splits")
    return LoadedRecords(collect_strata(options.attributes, strata), facts, splits)


def _check_splits(options: BalanceOptions) -> None:
    if options.strategy not in ADDING:
        return
    for split in options.splits:
        if is_held_out(split):
            raise UsageError(
                f"{options.strategy} adds no records to {split!r}, a validation or test split; "
                "name a training split"
            )


def _iter_strata(
    records: Iterator[Record], reading: Reading, options: BalanceOptions,
    splits: Mapping[str, dict[str, int]],
) -> Iterator[tuple[str, str | None, Stratum, bool]]:  # fmt: skip
    for name, rows in records:
        split = next((row["split"] for row in rows if row.get("split")), None)
        if options.splits:
            is_fixed = split not in options.splits
        else:
            is_fixed = options.strategy in ADDING and is_held_out(split)
        counts = splits["fixed" if is_fixed else "corrected"]
        counts[split or ""] = counts.get(split or "", 0) + 1
        try:
            units = list(read_units(rows, reading))
        except DataError as error:
            raise DataError(f"{escape_unprintable(name)}: {error}") from None
        people = tuple(sorted(unit.groups for unit in units))
        labels = sorted({label for unit in units for named in unit.labels for label in named})
        yield name, split, (people, tuple(labels)), is_fixed
