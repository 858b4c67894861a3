"""What is decided of every record, on disk: memory does not grow with the dataset."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from curate.balance.audit.representation import spell
from curate.balance.correct.goal import Correction
from curate.balance.correct.strata import Kind
from curate.core.errors import DataError, SetupError

_BATCH = 5_000
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE records (id TEXT PRIMARY KEY, split TEXT, kind INTEGER, rank INTEGER, place INTEGER,
                      fixed INTEGER) WITHOUT ROWID;
CREATE TABLE kinds (kind INTEGER PRIMARY KEY, people TEXT, labels TEXT, kept INTEGER, made INTEGER,
                    weight REAL, why TEXT);
CREATE TABLE expected (id TEXT PRIMARY KEY, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE placed (id TEXT PRIMARY KEY, output TEXT) WITHOUT ROWID;
CREATE TABLE made (id TEXT PRIMARY KEY, origin TEXT, number INTEGER, affine TEXT) WITHOUT ROWID;
"""
_DECIDED = """
SELECT id, split, people, labels, fixed, place, kept, made, weight, why
FROM records JOIN kinds USING (kind)
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided of a record.

    Args:
        id: the record.
        split: its split, or None.
        groups: the groups of everyone in it, a text each, as a report spells them.
        labels: its labels.
        is_fixed: whether its split is not corrected; then it stays as it is.
        is_kept: whether it stays.
        copies: how many records are made from it.
        weight: its weight, and that of each record made from it.
        why: why it is removed, or why others are made from it; None where neither is.
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


class Ledger:
    """Records, their kinds, and what is decided; made by ``open_ledger``."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._numbers: dict[Kind, int] = {}

    def add(self, rows: Iterable[tuple[str, str | None, Kind, bool]], seed: int) -> None:
        """Take in records: id, split, kind, and whether the split is not corrected.

        Args:
            rows: the records, in any order.
            seed: decides their order within a kind.

        Raises:
            DataError: if an id comes twice.
        """
        waiting: list[tuple[str, str | None, int, int, bool]] = []
        for name, split, kind, fixed in rows:
            number = self._numbers.setdefault(kind, len(self._numbers))
            waiting.append((name, split, number, _rank(seed, name), fixed))
            if len(waiting) == _BATCH:
                self._write(waiting)
                waiting = []
        self._write(waiting)

    def expect(self, digests: Iterable[tuple[str, str]]) -> None:
        """Note which bytes images must have."""
        self._database.executemany("INSERT INTO expected VALUES (?, ?)", digests)
        self._database.commit()

    def find_unexpected(self) -> str | None:
        """A record of which no bytes are noted, the first by id; None if there is none."""
        query = "SELECT id FROM records WHERE id NOT IN (SELECT id FROM expected) ORDER BY id"
        row = self._database.execute(f"{query} LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def expect_files(self, digests: Iterable[tuple[str, str]]) -> None:
        """Note which bytes files beside the images must have, and containers."""
        self._database.executemany("INSERT INTO files VALUES (?, ?)", digests)
        self._database.commit()

    def expected_file(self, path: str) -> str | None:
        """The digest that a file beside the images must have, if there is one."""
        row = self._database.execute("SELECT sha256 FROM files WHERE path = ?", (path,)).fetchone()
        return None if row is None else str(row[0])

    def count(self) -> dict[Kind, int]:
        """How many corrected records there are of each kind."""
        names = {number: kind for kind, number in self._numbers.items()}
        query = "SELECT kind, count(*) FROM records WHERE NOT fixed GROUP BY kind"
        return {names[number]: count for number, count in self._database.execute(query)}

    def decide(self, kinds: Iterable[Kind], correction: Correction) -> None:
        """Decide of every record, by its order within its kind.

        Args:
            kinds: the kinds, in the correction's order.
            correction: what becomes of each kind.
        """
        run = self._database.execute
        for kind, number in self._numbers.items():  # those of which no record is corrected too
            run(
                "INSERT INTO kinds VALUES (?, ?, ?, 0, 0, 1.0, NULL)",
                (number, _spell_people(kind), json.dumps(list(kind[1]))),
            )
        for place, kind in enumerate(kinds):
            kept, made = int(correction.kept[place]), int(correction.made[place])
            run(
                "UPDATE kinds SET kept = ?, made = ?, weight = ?, why = ? WHERE kind = ?",
                (kept, made, float(correction.weights[place]), correction.why[place],
                 self._numbers[kind]),
            )  # fmt: skip
        run("CREATE INDEX by_kind ON records (kind, fixed, rank, id)")
        self._number_places()
        self._database.commit()

    def _number_places(self) -> None:
        run = self._database.execute
        run("CREATE TEMP TABLE places (id TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID")
        run(
            "INSERT INTO places SELECT id, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY rank, id)"
            " - 1 FROM records WHERE NOT fixed"
        )
        run("UPDATE records SET place = (SELECT at FROM places WHERE places.id = records.id)")
        run("DROP TABLE places")

    def iter_decisions(self) -> Iterator[Decision]:
        """What is decided, by id."""
        for row in self._database.execute(f"{_DECIDED} ORDER BY id"):
            yield _decision(*row)

    def find(self, name: str) -> Decision | None:
        """What is decided of one record; None if it is not known."""
        row = self._database.execute(f"{_DECIDED} WHERE id = ?", (name,)).fetchone()
        return None if row is None else _decision(*row)

    def find_between(self, first: str, last: str) -> dict[str, Decision]:
        """What is decided of every record from one id to another, both included."""
        rows = self._database.execute(f"{_DECIDED} WHERE id >= ? AND id <= ?", (first, last))
        return {row[0]: _decision(*row) for row in rows}

    def expected(self, name: str) -> str | None:
        """The digest that an image must have, if there is one."""
        row = self._database.execute("SELECT sha256 FROM expected WHERE id = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note_made(self, rows: Iterable[tuple[str, str, int, str | None]]) -> None:
        """Note the records that were made: id, origin, number and affine map as JSON.

        Raises:
            DataError: if two have one id.
        """
        for row in rows:
            try:
                self._database.execute("INSERT INTO made VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise DataError(
                    f"what is made from {row[1]!r} would have the name {row[0]!r}, which is made "
                    "from another image, too; rename one of them"
                ) from None
        self._database.execute("CREATE INDEX made_from ON made (origin, number)")
        self._database.commit()

    def made_from(self, origin: str) -> list[tuple[str, str | None]]:
        """Records made from one: their ids and affine maps as JSON, in order."""
        query = "SELECT id, affine FROM made WHERE origin = ? ORDER BY number"
        return self._database.execute(query, (origin,)).fetchall()

    def note_placed(self, name: str, output: str) -> None:
        """Note the id that an image has in the output's container."""
        self._database.execute("INSERT OR REPLACE INTO placed VALUES (?, ?)", (name, output))

    def placed(self, name: str) -> str:
        """The id that an image has in the output: its own unless it has moved."""
        query = "SELECT output FROM placed WHERE id = ?"
        row = self._database.execute(query, (name,)).fetchone()
        return name if row is None else str(row[0])

    def _write(self, rows: list[tuple[str, str | None, int, int, bool]]) -> None:
        try:
            self._database.executemany(
                "INSERT INTO records (id, split, kind, rank, fixed) VALUES (?, ?, ?, ?, ?)", rows
            )
        except sqlite3.IntegrityError:
            raise DataError("two records have one id; what is meant cannot be told") from None


def _rank(seed: int, name: str) -> int:
    """An order that looks random and depends on the seed and the id alone."""
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _spell_people(kind: Kind) -> str:
    return json.dumps([spell(group) for group in kind[0] if group])


@lru_cache(maxsize=4096)
def _texts(stored: str) -> tuple[str, ...]:
    """A list of texts as it is stored; there are few different ones."""
    return tuple(json.loads(stored))


def _decision(
    name: str, split: str | None, people: str, labels: str, fixed: int, place: int | None,
    kept: int, made: int, weight: float, why: str | None,
) -> Decision:  # fmt: skip
    groups, named = _texts(people), _texts(labels)
    if fixed or place is None:
        return Decision(name, split, groups, named, True, True, 0, 1.0, None)
    is_kept = place < kept
    copies = made // kept + (place < made % kept) if is_kept else 0
    reason = why if copies or not is_kept else None
    return Decision(name, split, groups, named, False, is_kept, copies, weight, reason)


@contextmanager
def open_ledger(path: Path, fresh: bool) -> Iterator[Ledger]:
    """Open a ledger, or make an empty one.

    Args:
        path: where it is.
        fresh: whether to begin anew.

    Raises:
        SetupError: if it cannot be kept there.
    """
    if fresh:
        path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    try:
        if fresh:
            database.executescript(_TABLES)
        yield Ledger(database)
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise SetupError(
            f"the ledger {path} cannot be kept ({error}); make room, or remove the OUT and run "
            "again"
        ) from None
    finally:
        database.close()
