"""Join a table with records by id, on disk: memory does not grow with the dataset."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from curate.core.errors import DataError
from curate.core.records import escape_unprintable
from curate.layouts.groups import describe_duplicate, strip_suffix
from curate.layouts.memory_table import Table
from curate.storage.index import open_index

Row = Mapping[str, Any]

_EXAMPLES = 5
_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Match:
    """How the ids of a table match the records.

    Args:
        lines: rows of the table.
        ids: distinct ids of the table.
        records: number of records.
        matched: records with rows.
        unmatched: ids that match no record.
        unmatched_examples: some of them.
        ambiguous: ids that match several records, or the same record as other ids.
        ambiguous_examples: some of them; none of them is joined.
    """

    lines: int
    ids: int
    records: int
    matched: int
    unmatched: int
    unmatched_examples: tuple[str, ...]
    ambiguous: int
    ambiguous_examples: tuple[str, ...]


class Joined(NamedTuple):
    """All values of a record.

    Args:
        name: the record's id.
        record: values from the dataset's layout.
        own: rows of the dataset's annotations.
        rows: rows of the table.
    """

    name: str
    record: Row
    own: list[Row]
    rows: list[Row]


class Annotations:
    """The rows of a table and the records, in a temporary SQLite database.

    An id matches the record with the same id or alias; otherwise the only record whose path,
    with or without its suffix, ends with the id, or that the id ends with. Ambiguous ids are
    not joined.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._database.executescript(
            "CREATE TABLE lines (number INTEGER PRIMARY KEY, id TEXT, row TEXT);"
            "CREATE TABLE records (id TEXT PRIMARY KEY, row TEXT) WITHOUT ROWID;"
            "CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE own (number INTEGER PRIMARY KEY, id TEXT, row TEXT);"
            "CREATE TABLE aliases (name TEXT, record TEXT, PRIMARY KEY (name, record)) "
            "WITHOUT ROWID;"
            "CREATE TABLE claims (given TEXT, record TEXT, PRIMARY KEY (given, record));"
        )

    def add_lines(self, rows: Iterable[tuple[str, Row]], once: bool, table: Table) -> int:
        """Add the rows of a table; returns the number of distinct ids.

        Args:
            rows: ids with values.
            once: ids must be unique.
            table: the table, for messages.

        Raises:
            DataError: if one is duplicated.
        """
        self._fill("INSERT INTO lines (id, row) VALUES (?, ?)", rows)
        self._database.execute("CREATE INDEX lines_by_id ON lines (id)")
        twice = "SELECT id FROM lines GROUP BY id HAVING count(*) > 1 ORDER BY min(number) LIMIT 1"
        if once and (row := self._database.execute(twice).fetchone()):
            raise DataError(f"{table}: {describe_duplicate(row[0], per_person=True)}")
        return self._database.execute("INSERT INTO ids SELECT DISTINCT id FROM lines").rowcount

    def add_records(self, records: Iterable[tuple[str, Row]]) -> None:
        """Add records with values."""
        self._fill("INSERT INTO records VALUES (?, ?)", records)

    def add_own(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Add rows from the dataset's annotations, one or several per record."""
        self._fill("INSERT INTO own (id, row) VALUES (?, ?)", rows)
        self._database.execute("CREATE INDEX own_by_id ON own (id)")

    def add_aliases(self, names: Iterable[tuple[str, str]]) -> None:
        """Add aliases of records."""
        self._batch("INSERT OR IGNORE INTO aliases VALUES (?, ?)", names)

    def add_ids_as_records(self) -> None:
        """Make a record of every id of the table."""
        self._database.execute("INSERT INTO records SELECT id, '{}' FROM ids")

    def match(self) -> Match:
        """Match ids with records."""
        run = self._database.execute
        run("INSERT INTO claims SELECT id, id FROM ids JOIN records USING (id)")
        run("CREATE INDEX claims_by_record ON claims (record)")
        run(
            "INSERT INTO claims SELECT name, record FROM aliases JOIN ids ON ids.id = name "
            "JOIN records ON records.id = record WHERE name NOT IN (SELECT given FROM claims) "
            "AND record NOT IN (SELECT record FROM claims)"
        )
        self._match_ends("records", "ids", "record")
        self._match_ends("ids", "records", "given")
        self._match_stems()
        run(
            "CREATE TABLE given AS SELECT given, record FROM claims WHERE "
            "(SELECT count(*) FROM claims AS c WHERE c.given = claims.given) = 1 AND "
            "(SELECT count(*) FROM claims AS c WHERE c.record = claims.record) = 1"
        )
        run("CREATE INDEX given_by_record ON given (record)")
        return self._describe()

    def iter_rows(self) -> Iterator[Joined]:
        """All records with their rows, sorted by id."""
        run = self._database.cursor
        own = _Groups(run().execute("SELECT id, row FROM own ORDER BY id, number"))
        given = _Groups(
            run().execute(
                "SELECT record, row FROM given JOIN lines ON lines.id = given.given "
                "ORDER BY record, number"
            )
        )
        for name, known in run().execute("SELECT id, row FROM records ORDER BY id"):
            yield Joined(name, json.loads(known), own.take(name), given.take(name))

    def _match_ends(self, long: str, short: str, side: str) -> None:
        """Match what is still unmatched by the longest path suffix."""
        other = "given" if side == "record" else "record"
        left = f"SELECT id FROM {long} WHERE id NOT IN (SELECT {side} FROM claims)"  # noqa: S608
        free = f"SELECT 1 FROM {short} WHERE id = ? AND id NOT IN exact"  # noqa: S608
        run = self._database.execute
        run("DROP TABLE IF EXISTS exact")
        run(f"CREATE TEMP TABLE exact AS SELECT {other} AS id FROM claims")  # noqa: S608
        run("CREATE INDEX exact_by_id ON exact (id)")
        run("DROP TABLE IF EXISTS unclaimed")
        run(f"CREATE TEMP TABLE unclaimed AS {left}")
        for (name,) in run("SELECT id FROM unclaimed"):
            parts = name.split("/")
            ends = ("/".join(parts[start:]) for start in range(1, len(parts)))
            end = next((end for end in ends if run(free, (end,)).fetchone()), None)
            if end is not None:
                pair = {side: name, other: end}
                values = (pair["given"], pair["record"])
                run("INSERT OR IGNORE INTO claims VALUES (?, ?)", values)

    def _match_stems(self) -> None:
        """Match ids that are still unmatched with records without their suffix, or their ends."""
        run = self._database.execute
        left = "SELECT id FROM ids WHERE id NOT IN (SELECT given FROM claims)"
        if run(f"SELECT 1 FROM ({left}) LIMIT 1").fetchone() is None:  # noqa: S608
            return
        run(f"CREATE TEMP TABLE short AS {left}")
        run("CREATE INDEX short_by_id ON short (id)")
        free = "SELECT id FROM records WHERE id NOT IN (SELECT record FROM claims)"
        run(f"CREATE TEMP TABLE suffixed AS {free}")
        for (name,) in run("SELECT id FROM suffixed"):
            parts = strip_suffix(name).split("/")
            ends = ("/".join(parts[start:]) for start in range(len(parts)))
            query = "SELECT 1 FROM short WHERE id = ?"
            end = next((end for end in ends if run(query, (end,)).fetchone()), None)
            if end is not None:
                run("INSERT OR IGNORE INTO claims VALUES (?, ?)", (end, name))

    def _describe(self) -> Match:
        def count(what: str) -> int:
            query = f"SELECT count(*) FROM {what}"  # noqa: S608
            return int(self._database.execute(query).fetchone()[0])

        def examples(what: str) -> tuple[str, ...]:
            query = f"SELECT id FROM {what} ORDER BY id LIMIT {_EXAMPLES}"  # noqa: S608
            return tuple(row[0] for row in self._database.execute(query))

        claimed, given = "(SELECT given FROM claims)", "(SELECT given FROM given)"
        unmatched = f"ids WHERE id NOT IN {claimed}"
        ambiguous = f"ids WHERE id IN {claimed} AND id NOT IN {given}"
        return Match(
            lines=count("lines"),
            ids=count("ids"),
            records=count("records"),
            matched=count("given"),
            unmatched=count(unmatched),
            unmatched_examples=examples(unmatched),
            ambiguous=count(ambiguous),
            ambiguous_examples=examples(ambiguous),
        )

    def _fill(self, statement: str, rows: Iterable[tuple[str, Row]]) -> None:
        self._batch(statement, ((name, _dump(name, row) if row else "{}") for name, row in rows))

    def _batch(self, statement: str, pairs: Iterable[tuple[str, str]]) -> None:
        waiting: list[tuple[str, str]] = []
        for pair in pairs:
            waiting.append(pair)
            if len(waiting) == _BATCH:
                self._write(statement, waiting)
                waiting = []
        self._write(statement, waiting)

    def _write(self, statement: str, rows: Sequence[tuple[str, str]]) -> None:
        try:
            self._database.executemany(statement, rows)
        except UnicodeEncodeError:
            raise DataError("an id of the table is not valid text") from None


class _Groups:
    """Rows sorted by id, read by ascending ids."""

    def __init__(self, rows: Iterator[tuple[str, str]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def take(self, name: str) -> list[Row]:
        """The rows of an id; rows of smaller ids are skipped."""
        found: list[Row] = []
        # SQLite sorts by bytes.
        while self._next is not None and self._next[0].encode() <= name.encode():
            if self._next[0] == name:
                found.append(json.loads(self._next[1]))
            self._next = next(self._rows, None)
        return found


def _dump(name: str, row: Row) -> str:
    try:
        return json.dumps(dict(row))
    except (TypeError, ValueError):
        for column, value in row.items():
            if not _is_plain(value):
                raise DataError(
                    f"{escape_unprintable(name)}: {column} holds {str(value)[:60]!r}; "
                    "expected text, a number, or a list of them"
                ) from None
        raise


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


@contextmanager
def open_join() -> Iterator[Annotations]:
    """Open an empty temporary database, which is removed when the block ends.

    Raises:
        SetupError: if it cannot be written, as when the disk is full.
    """
    with open_index(what="temporary index of the table") as database:
        yield Annotations(database)
