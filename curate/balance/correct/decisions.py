"""The decision for every record, in an index on disk: memory does not grow with the dataset."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from curate.balance.audit.representation import format_group
from curate.balance.correct.goal import Allocation
from curate.balance.correct.strata import Stratum
from curate.core.errors import DataError, SetupError
from curate.storage.index import describe_index_error

_BATCH = 5_000
_TABLES = """
CREATE TABLE records (id TEXT PRIMARY KEY, split TEXT, stratum INTEGER, rank INTEGER,
                      position INTEGER, fixed INTEGER) WITHOUT ROWID;
CREATE TABLE strata (stratum INTEGER PRIMARY KEY, people TEXT, labels TEXT, kept INTEGER,
                     added INTEGER, weight REAL, why TEXT);
CREATE TABLE expected (id TEXT PRIMARY KEY, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE output_paths (id TEXT PRIMARY KEY, output TEXT) WITHOUT ROWID;
CREATE TABLE added (id TEXT PRIMARY KEY, origin TEXT, number INTEGER, affine TEXT) WITHOUT ROWID;
"""
_DECIDED = """
SELECT id, split, people, labels, fixed, position, kept, added, weight, why
FROM records JOIN strata USING (stratum)
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one record.

    Args:
        id: the record's id.
        split: its split, or None.
        groups: the formatted group of each person in it.
        labels: its labels.
        is_fixed: its split is not corrected, so that it stays unchanged.
        is_kept: it is kept.
        copies: number of copies to add.
        weight: its weight, and that of each copy.
        why: reason for removing or copying it, or None.
    """

    id: str
    split: str | None
    groups: tuple[str, ...]
    labels: tuple[str, ...]
    is_fixed: bool
    is_kept: bool
    copies: int
    weight: float
    why: str | None


class DecisionIndex:
    """Records, their strata and the decisions; opened by `open_decisions`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._stratum_ids: dict[Stratum, int] = {}

    def add(self, rows: Iterable[tuple[str, str | None, Stratum, bool]], seed: int) -> None:
        """Add records.

        Args:
            rows: id, split, stratum, and whether the split is left unchanged; in any order.
            seed: random seed of their order within a stratum.

        Raises:
            DataError: if an id is duplicated.
        """
        waiting: list[tuple[str, str | None, int, int, bool]] = []
        for name, split, stratum, fixed in rows:
            number = self._stratum_ids.setdefault(stratum, len(self._stratum_ids))
            waiting.append((name, split, number, _rank(seed, name), fixed))
            if len(waiting) == _BATCH:
                self._write(waiting)
                waiting = []
        self._write(waiting)

    def expect(self, digests: Iterable[tuple[str, str]]) -> None:
        """Store the SHA-256 that images must have."""
        self._database.executemany("INSERT INTO expected VALUES (?, ?)", digests)
        self._database.commit()

    def find_unexpected(self) -> str | None:
        """The first record by id without a stored digest, or None."""
        query = "SELECT id FROM records WHERE id NOT IN (SELECT id FROM expected) ORDER BY id"
        row = self._database.execute(f"{query} LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def expect_files(self, digests: Iterable[tuple[str, str]]) -> None:
        """Store the SHA-256 that annotation files and containers must have."""
        self._database.executemany("INSERT INTO files VALUES (?, ?)", digests)
        self._database.commit()

    def expected_file(self, path: str) -> str | None:
        """The stored digest of an annotation file or container, or None."""
        row = self._database.execute("SELECT sha256 FROM files WHERE path = ?", (path,)).fetchone()
        return None if row is None else str(row[0])

    def count(self) -> dict[Stratum, int]:
        """Number of records to correct, by stratum."""
        names = {number: stratum for stratum, number in self._stratum_ids.items()}
        query = "SELECT stratum, count(*) FROM records WHERE NOT fixed GROUP BY stratum"
        return {names[number]: count for number, count in self._database.execute(query)}

    def decide(self, strata: Iterable[Stratum], correction: Allocation) -> None:
        """Apply an allocation: records are selected by their random order within the stratum.

        Args:
            strata: the strata, in the correction's order.
            correction: the allocation.
        """
        run = self._database.execute
        for (
            stratum,
            number,
        ) in self._stratum_ids.items():  # including strata without records to correct
            run(
                "INSERT INTO strata VALUES (?, ?, ?, 0, 0, 1.0, NULL)",
                (number, _spell_people(stratum), json.dumps(list(stratum[1]))),
            )
        for position, stratum in enumerate(strata):
            kept, added = int(correction.kept[position]), int(correction.added[position])
            run(
                "UPDATE strata SET kept = ?, added = ?, weight = ?, why = ? WHERE stratum = ?",
                (kept, added, float(correction.weights[position]), correction.why[position],
                 self._stratum_ids[stratum]),
            )  # fmt: skip
        run("CREATE INDEX by_kind ON records (stratum, fixed, rank, id)")
        self._number_positions()
        self._database.commit()

    def _number_positions(self) -> None:
        run = self._database.execute
        run("CREATE TEMP TABLE positions (id TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID")
        run(
            "INSERT INTO positions SELECT id, ROW_NUMBER() OVER (PARTITION BY stratum "
            "ORDER BY rank, id) - 1 FROM records WHERE NOT fixed"
        )
        run(
            "UPDATE records SET position = "
            "(SELECT at FROM positions WHERE positions.id = records.id)"
        )
        run("DROP TABLE positions")

    def iter_decisions(self) -> Iterator[Decision]:
        """All decisions, sorted by id."""
        for row in self._database.execute(f"{_DECIDED} ORDER BY id"):
            yield _decision(*row)

    def find(self, name: str) -> Decision | None:
        """The decision for a record, or None if the id is unknown."""
        row = self._database.execute(f"{_DECIDED} WHERE id = ?", (name,)).fetchone()
        return None if row is None else _decision(*row)

    def find_between(self, first: str, last: str) -> dict[str, Decision]:
        """The decisions for ids from ``first`` to ``last``, both included."""
        rows = self._database.execute(f"{_DECIDED} WHERE id >= ? AND id <= ?", (first, last))
        return {row[0]: _decision(*row) for row in rows}

    def expected(self, name: str) -> str | None:
        """The stored digest of an image, or None."""
        row = self._database.execute("SELECT sha256 FROM expected WHERE id = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note_made(self, rows: Iterable[tuple[str, str, int, str | None]]) -> None:
        """Store the added records: id, original, number and affine map as JSON.

        Raises:
            DataError: if two have the same id.
        """
        for row in rows:
            try:
                self._database.execute("INSERT INTO added VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise DataError(
                    f"a copy of {row[1]!r} would be named {row[0]!r} like a copy of another image; "
                    "rename one of the two images"
                ) from None
        self._database.execute("CREATE INDEX added_from ON added (origin, number)")
        self._database.commit()

    def iter_made(self) -> Iterator[str]:
        """Ids of all added images."""
        for row in self._database.execute("SELECT id FROM added ORDER BY id"):
            yield str(row[0])

    def made_from(self, origin: str) -> list[tuple[str, str | None]]:
        """Copies of a record: ids and affine maps as JSON, in order."""
        query = "SELECT id, affine FROM added WHERE origin = ? ORDER BY number"
        return self._database.execute(query, (origin,)).fetchall()

    def set_output_path(self, name: str, output: str) -> None:
        """Store the id that an image has in the output's container."""
        self._database.execute("INSERT OR REPLACE INTO output_paths VALUES (?, ?)", (name, output))

    def output_path(self, name: str) -> str:
        """The id that an image has in the output; its own unless the layout renamed it."""
        query = "SELECT output FROM output_paths WHERE id = ?"
        row = self._database.execute(query, (name,)).fetchone()
        return name if row is None else str(row[0])

    def _write(self, rows: list[tuple[str, str | None, int, int, bool]]) -> None:
        try:
            self._database.executemany(
                "INSERT INTO records (id, split, stratum, rank, fixed) VALUES (?, ?, ?, ?, ?)", rows
            )
        except sqlite3.IntegrityError:
            raise DataError("two records have the same id; ids must be unique") from None


def _rank(seed: int, name: str) -> int:
    """Pseudo-random rank, a function of the seed and the id only."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _spell_people(stratum: Stratum) -> str:
    return json.dumps([format_group(group) for group in stratum[0] if group])


@lru_cache(maxsize=4096)
def _texts(stored: str) -> tuple[str, ...]:
    """Parse a stored list; there are few different ones."""
    return tuple(json.loads(stored))


def _decision(
    name: str, split: str | None, people: str, labels: str, fixed: int, position: int | None,
    kept: int, added: int, weight: float, why: str | None,
) -> Decision:  # fmt: skip
    groups, named = _texts(people), _texts(labels)
    if fixed or position is None:
        return Decision(name, split, groups, named, True, True, 0, 1.0, None)
    is_kept = position < kept
    copies = added // kept + (position < added % kept) if is_kept else 0
    reason = why if copies or not is_kept else None
    return Decision(name, split, groups, named, False, is_kept, copies, weight, reason)


@contextmanager
def open_decisions(path: Path, fresh: bool) -> Iterator[DecisionIndex]:
    """Open the index of decisions.

    Args:
        path: its file.
        fresh: replace an existing file by an empty index.

    Raises:
        SetupError: if it cannot be read or written.
    """
    if fresh:
        path.unlink(missing_ok=True)
    try:
        database = sqlite3.connect(path)
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
    except sqlite3.Error as error:
        raise SetupError(describe_index_error("index of decisions", error)) from None
    try:
        if fresh:
            database.executescript(_TABLES)
        yield DecisionIndex(database)
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise SetupError(describe_index_error("index of decisions", error)) from None
    finally:
        database.close()
