"""Read records with group attributes and labels from a dataset, a table and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from curate.balance.join import Annotations, Joined, Match, Row, open_join
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError, SourceChangedError, UsageError, suggest
from curate.core.protocols import AliasedSource, AnnotatedSource, Source
from curate.core.records import escape_unprintable, printable
from curate.layouts import explain_no_images
from curate.layouts.faces.truth import format_value
from curate.layouts.groups import (
    find_id_column,
    holds_annotations,
    id_of,
    iter_table,
    list_names,
    load_columns,
)
from curate.layouts.memory_table import Table
from curate.manifest.files import MANIFEST
from curate.manifest.identity import ImageSample
from curate.manifest.store import RECORDS_FOLDER, RUN, iter_entries, load_run
from curate.pipeline.progress import counted
from curate.pipeline.session import Step, ignore

OUTCOMES = ("outcome", "has_face", "faces", "blurred_share")
"""Columns of a manifest."""

RECORD_COLUMNS = ("split", "category")
"""Columns of every dataset."""

T = TypeVar("T")

Record = tuple[str, Sequence[Row]]
"""A record's name for messages, and its rows: one, or one per person."""


@dataclass(frozen=True, slots=True)
class Input:
    """The inputs.

    Args:
        source: the dataset, or None.
        table: the table of groups, or None.
        manifest: the OUT of a run, or None.
        id_column: the table's column of ids; None for the first of the usual names.
        columns: the columns to read.
        per_person: an id may have several rows.
        by_id: a table alone must have ids, which are its records.
        of_people: columns that can differ between the people of a record.
        watch: called with the progress.
    """

    source: Source | None
    table: Table | None
    manifest: Path | None
    id_column: str | None
    columns: tuple[str, ...]
    per_person: bool
    by_id: bool = False
    of_people: tuple[str, ...] = ()
    watch: Callable[[Step], None] = ignore


@dataclass(frozen=True, slots=True)
class Reading:
    """A stream of records.

    Args:
        records: all records; a record of a table alone may come in several parts.
        facts: how the table matches, complete after all records were read.
        names: a sample of the names of the dataset's images, complete with the facts; empty for
            a table alone.
    """

    records: Iterator[Record]
    facts: dict[str, Any]
    names: ImageSample


@contextmanager
def open_input(given: Input) -> Iterator[Reading]:
    """Open the inputs and join them by record id.

    Raises:
        UsageError: if there is no input, or a column does not exist.
        DataError: if the table or the manifest cannot be used, or matches no record.
        SetupError: if there is no space for the temporary index.
    """
    facts: dict[str, Any] = {}
    names = ImageSample()
    with open_join() as annotations:
        if given.source is None and given.manifest is None:
            if given.table is None:
                raise UsageError("no input; give SOURCE, --groups or --manifest")
            joined = given.by_id or holds_annotations(given.table)
            read = _iter_joined if joined else _iter_table
            yield Reading(read(given, annotations, facts, names), facts, names)
        else:
            yield Reading(_iter_joined(given, annotations, facts, names), facts, names)


def _iter_table(
    given: Input, annotations: Annotations, facts: dict[str, Any], _: ImageSample
) -> Iterator[Record]:
    """A table alone: its rows are the records."""
    seen = _Seen(given.columns)
    table = _table(given)
    column = find_id_column(table, given.id_column, required=given.per_person)
    lines = 0

    def ids() -> Iterator[tuple[str, Row]]:
        for number, row in enumerate(iter_table(table, [column or ""]), start=1):
            yield id_of(row, str(column), table, number), {}

    if column is not None:
        facts["ids"] = annotations.add_lines(ids(), once=not given.per_person, table=_table(given))
    wanted = [*given.columns, *([column] if column else [])]
    for number, row in enumerate(iter_table(table, wanted), start=1):
        seen.add(row)
        lines = number
        yield f"{table}, record {number}", (row,)
    if not lines:
        raise DataError(f"{table} has no records")
    seen.check(table)
    facts["lines"] = lines
    facts["records"] = facts.get("ids", lines)


def _iter_joined(
    given: Input, annotations: Annotations, facts: dict[str, Any], names: ImageSample
) -> Iterator[Record]:
    """Records of a dataset or a manifest, with their rows of the table."""
    alone = given.source is None and given.manifest is None
    seen = _Seen(given.columns)
    if not alone:
        seen.add(dict.fromkeys(RECORD_COLUMNS))
        records = _sampled(_iter_records(given, facts, seen), names)
        annotations.add_records(counted(records, given.watch, "listing", "images"))
    in_table = set() if given.table is None else _add_table(given, given.table, annotations, seen)
    if alone:
        annotations.add_ids_as_records()
    if given.source is not None:
        wanted = [name for name in given.columns if name not in in_table]
        annotations.add_own(_iter_own(given, wanted, facts, seen))
        if given.table is not None and isinstance(given.source, AliasedSource):
            annotations.add_aliases(_needed(given.source.aliases()))
    seen.check(given.table, is_joined=not alone)
    match = annotations.match()
    facts |= {
        **asdict(match),
        "unmatched_examples": list(match.unmatched_examples),
        "ambiguous_examples": list(match.ambiguous_examples),
    }
    if not match.records:
        if given.source is not None:
            raise DataError(explain_no_images(given.source))
        raise DataError("there are no records to audit")
    if given.table is not None:
        check_fit(match, given.table)
    of_people = given.of_people if given.per_person else ()
    for joined in annotations.iter_rows():
        yield joined.name, merge_rows(joined, of_people)


def _add_table(given: Input, table: Table, annotations: Annotations, seen: _Seen) -> set[str]:
    """Add a table; returns which of the requested columns it has."""
    column = str(find_id_column(table, given.id_column, required=True))
    alone = given.source is None and given.manifest is None
    kept = {*given.columns, *(("split",) if alone else ())}
    found: set[str] = set()

    def lines() -> Iterator[tuple[str, Row]]:
        for number, row in enumerate(iter_table(table, [*kept, column]), start=1):
            seen.add(row)
            values = {name: row[name] for name in kept if name in row}
            found.update(values)
            yield id_of(row, column, table, number), values

    if not annotations.add_lines(
        lines(), not (given.per_person or holds_annotations(table)), table
    ):
        raise DataError(f"{table} has no records")
    return found


def _needed(items: Iterator[T]) -> Iterator[T]:
    """Yield from annotations; an error states what to do about one that cannot be read."""
    try:
        yield from items
    except SourceChangedError:
        raise
    except DataError as error:
        raise DataError(f"{error}; fix it, or remove this annotation from SOURCE") from None


def _iter_own(
    given: Input, columns: Sequence[str], facts: dict[str, Any], seen: _Seen
) -> Iterator[tuple[str, Row]]:
    """Annotations of the dataset, for columns that the table does not have."""
    elsewhere = OUTCOMES if given.manifest is not None else ()
    wanted = [name for name in columns if name not in elsewhere]
    if not isinstance(given.source, AnnotatedSource) or not wanted:
        return
    found: set[str] = set()
    for name, row in _needed(given.source.annotations(wanted)):
        seen.add(row)
        # A row without values still is a person.
        values = {column: row[column] for column in wanted if row.get(column) is not None}
        found |= values.keys()
        yield printable(name), values
    if found:
        facts["own_columns"] = sorted(found)


def _iter_records(given: Input, facts: dict[str, Any], seen: _Seen) -> Iterator[tuple[str, Row]]:
    """Records with values from the dataset and the manifest."""
    describe_entry = _by_id(given.manifest) if given.manifest is not None else None
    if given.manifest is not None:
        seen.add(dict.fromkeys(OUTCOMES))
    if given.source is None:
        for entry in _entries(given.manifest):
            yield entry.id, {"split": entry.split, "category": entry.category, **describe(entry)}
        return
    described = 0
    for record in given.source.records():
        row: dict[str, Any] = {"split": record.split, "category": record.category}
        row |= record.sensitive_features
        seen.add(row)
        name = printable(record.id)
        entry_row = describe_entry(name) if describe_entry else None
        described += entry_row is not None
        yield name, {**row, **(entry_row or {})}
    if describe_entry is not None:
        facts["in_manifest"] = described
        if not described:
            raise DataError(
                f"{given.manifest} belongs to another dataset: none of its records is in SOURCE"
            )


def _sampled(records: Iterator[tuple[str, Row]], names: ImageSample) -> Iterator[tuple[str, Row]]:
    for name, row in records:
        names.add_name(name)
        yield name, row


def describe(entry: ManifestEntry) -> dict[str, Any]:
    """Columns of a manifest entry; faces of a withheld image are unknown."""
    written = entry.outcome is Outcome.WRITTEN
    return {
        "outcome": entry.outcome.value,
        "has_face": bool(entry.faces) if written else None,
        "faces": len(entry.faces) if written else None,
        "blurred_share": entry.blurred_share if written else None,
    }


def _entries(out: Path | None) -> Iterator[ManifestEntry]:
    if out is None:
        return
    manifest = out if (out / RUN).is_file() else out / MANIFEST
    load_run(manifest)  # raises if it is not a manifest
    yield from iter_entries(manifest / RECORDS_FOLDER)


def _by_id(out: Path) -> Callable[[str], Mapping[str, Any] | None]:
    """Find entries by ascending ids, in the order of a manifest."""
    entries = _entries(out)
    current = next(entries, None)

    def find(name: str) -> Mapping[str, Any] | None:
        nonlocal current
        while current is not None and current.id.encode() < name.encode():
            current = next(entries, None)
        return describe(current) if current is not None and current.id == name else None

    return find


def _table(given: Input) -> Table:
    if given.table is None:
        raise UsageError("no input; give SOURCE, --groups or --manifest")
    return given.table


class _Seen:
    """Requested columns that were not found yet."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._absent = set(columns)
        self._others: dict[str, None] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        if self._absent:
            self._absent -= row.keys()
            self._others |= dict.fromkeys(row)

    def check(self, table: Table | None, is_joined: bool = False) -> None:
        if self._absent:
            name = sorted(self._absent)[0]
            if table is not None and not holds_annotations(table):
                self._others |= dict.fromkeys(load_columns(table))  # Parquet: some were read
            where = f"{table} has" if table else "there is"
            have = f"; there is: {list_names(self._others)}" if self._others else ""
            hint = suggest(name, self._others)
            if not hint and table is None:
                hint = "; name the table that has it with --groups"
            if table and is_joined:
                raise UsageError(f"neither {table} nor the dataset has {name!r}{have}{hint}")
            raise UsageError(f"{where} no column {name!r}{have}{hint}")


def merge_rows(joined: Joined, of_people: Collection[str]) -> list[Row]:
    """One row per person; the table takes precedence over the dataset.

    Args:
        joined: all values of a record.
        of_people: columns that can differ between people.

    Raises:
        DataError: if both dataset and table list several people, who cannot be matched.
    """
    if not joined.rows:
        return [{**joined.record, **own} for own in joined.own] or [joined.record]
    several = joined.own if len(joined.own) > 1 else []
    twofold = next((name for own in several for name in own if name in of_people), None)
    if twofold is not None:
        raise DataError(
            f"{escape_unprintable(joined.name)}: both the dataset and the table list several "
            f"people ({twofold}); with --per person, put all attributes into the table"
        )
    base = dict(joined.record)
    if len(joined.own) == 1:
        base |= joined.own[0]
    else:
        names = dict.fromkeys(name for own in joined.own for name in own)
        base |= {name: [own.get(name) for own in joined.own] for name in names}
    return [{**base, **row} for row in joined.rows]


def check_fit(match: Match, table: Table) -> None:
    """Refuse a table that matches no record.

    Raises:
        DataError: if none of its ids matches.
    """
    if match.matched:
        return
    if match.ambiguous:
        raise DataError(
            f"all {match.ambiguous:,} matching ids of {table}, such as "
            f"{match.ambiguous_examples[0]!r}, are ambiguous; use longer paths"
        )
    example = next(iter(match.unmatched_examples), "")
    raise DataError(
        f"none of the {match.ids:,} ids of {table}, such as {example!r}, matches a record; "
        "ids are file names with or without suffix, paths relative to SOURCE, or COCO image ids"
    )


CATEGORY, SPLIT = "category", "split"


@dataclass(frozen=True, slots=True)
class Labeled:
    """An image's labels.

    Args:
        id: the record's id.
        split: its split, or None.
        categories: its labels, sorted; several if its annotations have several.
    """

    id: str
    split: str | None
    categories: tuple[str, ...]


def iter_categories(source: Source) -> Iterator[Labeled]:
    """The labels of every image, by folder, class label or annotations, sorted by id.

    Raises:
        DataError: if the annotations are malformed, or there are no images.
        SetupError: if there is no space for the temporary index.
    """
    given = Input(source, None, None, None, (CATEGORY,), per_person=False)
    with open_input(given) as read:
        for name, rows in read.records:
            values = (value for row in rows for value in _values(row.get(CATEGORY)))
            split = next(_values(rows[0].get(SPLIT)), None)
            yield Labeled(name, split, tuple(sorted(set(values))))


def _values(given: object) -> Iterator[str]:
    for value in given if isinstance(given, list) else [given]:
        if (text := format_value(value)) is not None:
            yield printable(text)
