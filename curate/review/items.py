"""The images of a review, on disk: memory does not grow with the dataset.

A SQLite file beside the journal holds the queue, who works on what, and the last decision of
every image. It is made anew from the dataset, the boxes and the journal at every start, and
is never the only copy of anything.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import SetupError
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.core.records import ImageRecord
from curate.review.decisions import Decision

_SCHEMA = """
CREATE TABLE unordered (
    id TEXT UNIQUE, record TEXT, sha256 TEXT, width INTEGER, height INTEGER, faces TEXT,
    rank REAL, confident INTEGER, role TEXT, removed INTEGER, note TEXT, examined INTEGER);
CREATE TABLE answers (
    number INTEGER, reviewer TEXT, etag INTEGER, decision TEXT, PRIMARY KEY (number, reviewer));
CREATE TABLE open (
    reviewer TEXT, number INTEGER, client TEXT, until REAL,
    PRIMARY KEY (reviewer, number)) WITHOUT ROWID;
"""
_ORDERED = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE, record TEXT, sha256 TEXT, width INTEGER,
    height INTEGER, faces TEXT, rank REAL, confident INTEGER, role TEXT, removed INTEGER,
    note TEXT, examined INTEGER);
INSERT INTO items SELECT row_number() OVER (ORDER BY rank DESC, id), * FROM unordered
    ORDER BY rank DESC, id {limit};
DROP TABLE unordered;
"""

LEASE_S = 40.0
"""Seconds for which an image that was given to one page is given to no other; pages renew it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image of the queue.

    Args:
        number: its position in the queue, from 1; 0 before it is there.
        record: which image of the dataset.
        faces: the proposed faces, in stored pixels.
        examined: whether a detector or a file of faces states that these are its faces.
        sha256: digest of the bytes in which they were found, if that is known.
        size: width and height as stored, pixels, if that is known.
        role: ``queue``, ``sample`` or ``check``.
        removed: index of the face that is not shown, for a check; else None.
        rank: higher comes first.
        confident: whether it may be shown on the contact sheet.
        note: why it cannot be reviewed, or None.
    """

    record: ImageRecord
    number: int = 0
    faces: tuple[Face, ...] = ()
    examined: bool = False
    sha256: str | None = None
    size: tuple[int, int] | None = None
    role: str = "queue"
    removed: int | None = None
    rank: float = 0.0
    confident: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The last decision of a reviewer about an image.

    Args:
        etag: number of its line in the journal; 0 where there is none.
        decision: what was decided; None where nothing was, or it was withdrawn.
    """

    etag: int
    decision: Decision | None


NO_ANSWER = Answer(0, None)


class Items:
    """The images of a review; safe to use from several threads.

    Args:
        path: the file to make; an earlier one is replaced.
        items: the images; the highest rank comes first.
        blind: whether every reviewer decides every image without seeing the others'.
        limit: most images in the queue; None for all.

    Attributes:
        not_shown: images that cannot be reviewed, and are not decided.
    """

    def __init__(
        self, path: Path, items: Iterable[Item], blind: bool = False, limit: int | None = None
    ) -> None:
        self.blind = blind
        self._lock = threading.RLock()
        self._opened: dict[str, int] = {}
        self.not_shown = 0
        path.unlink(missing_ok=True)
        try:
            self._table = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._table.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
            self._table.executescript(_SCHEMA)
            self._table.execute("BEGIN")
            marks = ", ".join("?" * 12)
            self._table.executemany(
                f"INSERT INTO unordered VALUES ({marks})",  # noqa: S608 - marks only
                map(_to_row, items),
            )
            self._table.execute("COMMIT")
            most = "" if limit is None else f"LIMIT {limit:d}"
            self._table.executescript(_ORDERED.format(limit=most))
            self.not_shown = self._rows("SELECT count(note) FROM items")[0][0]
        except sqlite3.Error as error:
            raise SetupError(f"the queue {path} cannot be written ({error})") from None

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def count(self) -> int:
        """Images in the queue."""
        return int(self._rows("SELECT count(*) FROM items")[0][0])

    def count_open(self, reviewer: str) -> int:
        """Images that are not decided."""
        with self._lock:
            self._meet(reviewer)
            return self._opened[self._key(reviewer)]

    def get(self, number: int) -> Item | None:
        """One image by its number."""
        if number >= 2**63:  # SQLite's integers end there
            return None
        rows = self._rows("SELECT * FROM items WHERE number = ?", number)
        return _from_row(rows[0]) if rows else None

    def find(self, record_id: str) -> Item | None:
        """One image by its id."""
        rows = self._rows("SELECT * FROM items WHERE id = ?", json.dumps(record_id))
        return _from_row(rows[0]) if rows else None

    def iter_items(self) -> Iterator[Item]:
        """Every image, in the order of the queue."""
        last = 0
        while rows := self._rows(
            "SELECT * FROM items WHERE number > ? ORDER BY number LIMIT 256", last
        ):
            last = rows[-1][0]
            yield from map(_from_row, rows)

    def bar(self, number: int, note: str) -> None:
        """Record why an image cannot be reviewed, and remove it from the queue."""
        with self._lock:
            self.not_shown += len(self._rows(_UNDECIDED, number))
            self._rows("UPDATE items SET note = ? WHERE number = ?", note, number)
            for key in self._opened:
                self._close(key, number)

    def answer(self, number: int, reviewer: str) -> Answer:
        """The last decision about an image, of this reviewer alone if the review is blind."""
        rows = self._rows(
            "SELECT etag, decision FROM answers WHERE number = ? AND reviewer = ?",
            number, self._key(reviewer),
        )  # fmt: skip
        return _to_answer(*rows[0]) if rows else NO_ANSWER

    def answers(self, number: int) -> list[Decision]:
        """The last decision of every reviewer about an image."""
        rows = self._rows(
            "SELECT etag, decision FROM answers WHERE number = ? AND decision IS NOT NULL "
            "ORDER BY reviewer",
            number,
        )
        return [decision for row in rows if (decision := _to_answer(*row).decision)]

    def put(self, number: int, reviewer: str, answer: Answer) -> None:
        """Remember the last decision about an image, or that it was withdrawn."""
        key = self._key(reviewer)
        text = json.dumps(answer.decision.to_dict()) if answer.decision else None
        with self._lock:
            self._meet(reviewer)
            self._rows(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                number, key, answer.etag, text,
            )  # fmt: skip
            if answer.decision is None:
                self._close(key, number)
                self._rows("INSERT INTO open VALUES (?, ?, NULL, NULL)", key, number)
                self._opened[key] += 1
            else:
                self._close(key, number)

    def assign(self, page: tuple[str, str], count: int, now: float,
               held: Sequence[int] = (), confident: bool = False) -> list[int]:  # fmt: skip
        """Assign the next open images to one page, so that no other page gets them.

        Args:
            page: the reviewer's name, and the page's identifier.
            count: how many are wanted.
            now: seconds, on the clock that all calls share.
            held: numbers that the page has already; their assignment is renewed.
            confident: whether only images for the contact sheet are wanted.
        """
        reviewer, client = page
        key, until = self._key(reviewer), now + LEASE_S
        with self._lock:
            self._meet(reviewer)
            for number in held:
                self._rows(_RENEW, until, key, number, client)
            rows = self._rows(_NEXT, key, client, now, confident, json.dumps(list(held)), count)
            for (number,) in rows:
                self._rows(_LEASE, client, until, key, number)
        return [number for (number,) in rows]

    def release(self, client: str) -> None:
        """End every assignment of a page that was closed."""
        self._rows("UPDATE open SET client = NULL WHERE client = ?", client)

    def _key(self, reviewer: str) -> str:
        return reviewer if self.blind else ""

    def _meet(self, reviewer: str) -> None:
        """Make the list of open images of a reviewer who was not here before."""
        key = self._key(reviewer)
        with self._lock:
            if key not in self._opened:
                self._opened[key] = self._table.execute(_OPEN_ALL, (key,)).rowcount

    def _close(self, key: str, number: int) -> None:
        sql = "DELETE FROM open WHERE reviewer = ? AND number = ?"
        self._opened[key] -= self._table.execute(sql, (key, number)).rowcount

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._table.execute(sql, values).fetchall()


_UNDECIDED = (
    "SELECT 1 FROM items WHERE number = ? AND note IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM answers WHERE answers.number = items.number AND decision IS NOT NULL)"
)
_OPEN_ALL = "INSERT INTO open SELECT ?, number, NULL, NULL FROM items WHERE note IS NULL"
_NEXT = (
    "SELECT open.number FROM open JOIN items ON items.number = open.number "
    "WHERE open.reviewer = ?1 AND (client IS NULL OR client = ?2 OR until < ?3) "
    "AND (NOT ?4 OR items.confident) AND open.number NOT IN (SELECT value FROM json_each(?5)) "
    "ORDER BY open.number LIMIT ?6"
)
_LEASE = "UPDATE open SET client = ?, until = ? WHERE reviewer = ? AND number = ?"
_RENEW = "UPDATE open SET until = ? WHERE reviewer = ? AND number = ? AND client = ?"


def _to_answer(etag: int, text: str | None) -> Answer:
    return Answer(etag, Decision.from_dict(json.loads(text)) if text else None)


def _to_row(item: Item) -> tuple[Any, ...]:
    """A row of the table; text as JSON, since a name need not be valid Unicode."""
    record = item.record
    width, height = item.size or (None, None)
    faces = [
        [*face.box.xyxy, face.confidence, face.detectors, face.decided_by, face.frames]
        for face in item.faces
    ]
    return (
        json.dumps(record.id),
        json.dumps([record.uri, record.split, record.category]),
        item.sha256, width, height, json.dumps(faces), item.rank, item.confident,
        item.role, item.removed, item.note, item.examined,
    )  # fmt: skip


def _from_row(row: Sequence[Any]) -> Item:
    number, name, record, sha256, width, height, faces, rank, confident, role, *rest = row
    removed, note, examined = rest
    uri, split, category = json.loads(record)
    return Item(
        number=number,
        record=ImageRecord(json.loads(name), uri, split, category),
        faces=tuple(
            Face(Box(*face[:4]), face[4], tuple(face[5]), face[6], tuple(face[7]))
            for face in json.loads(faces)
        ),
        sha256=sha256,
        size=None if width is None else (width, height),
        role=role,
        removed=removed,
        rank=rank,
        confident=bool(confident),
        note=note,
        examined=bool(examined),
    )
