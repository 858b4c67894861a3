"""Faces given before the run, indexed on disk so that memory does not grow with the dataset."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.core.records import printable


class FaceIndex:
    """Given faces by record id, on disk: memory does not grow with the dataset.

    Args:
        path: a file made by ``save_face_index``.
    """

    def __init__(self, path: Path) -> None:
        self._table = sqlite3.connect(path.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)

    def boxes(self, record_id: str) -> Sequence[Box] | None:
        """Boxes in stored pixels, empty if looked at and none; None if not looked at."""
        row = self._table.execute("SELECT boxes FROM faces WHERE id = ?", (record_id,)).fetchone()
        return None if row is None else [Box(*xyxy) for xyxy in json.loads(row[0])]


def save_face_index(faces: Iterable[tuple[str, Sequence[Box]]], path: Path) -> int:
    """Write given faces as an index; boxes of an id that comes twice are joined.

    Returns:
        How many images the faces speak of.
    """
    path.unlink(missing_ok=True)
    table = sqlite3.connect(path)
    try:
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("CREATE TABLE faces (id TEXT PRIMARY KEY, boxes TEXT NOT NULL)")
        for name, boxes in faces:
            row = table.execute("SELECT boxes FROM faces WHERE id = ?", (name,)).fetchone()
            known = json.loads(row[0]) if row else []
            joined = known + [list(box.xyxy) for box in boxes]
            table.execute("INSERT OR REPLACE INTO faces VALUES (?, ?)", (name, json.dumps(joined)))
        table.commit()
        return int(table.execute("SELECT count(*) FROM faces").fetchone()[0])
    finally:
        table.close()


def match_faces(path: Path, records: Iterable[str]) -> int:
    """Rename the ids of an index to those of the records that they mean.

    An id of the index means the record of the same id or, failing that, the
    only record whose path ends with it.

    Args:
        path: an index made by ``save_face_index``.
        records: every record id.

    Returns:
        How many records are matched.

    Raises:
        DataError: if an id could mean two records.
    """
    table = sqlite3.connect(path)
    try:
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("CREATE TABLE matched (id TEXT PRIMARY KEY, given TEXT UNIQUE, boxes TEXT)")
        for record in records:
            _match_one(table, record)
        table.execute("DROP TABLE faces")
        table.execute("ALTER TABLE matched RENAME TO faces")
        table.commit()
        return int(table.execute("SELECT count(*) FROM faces").fetchone()[0])
    finally:
        table.close()


def _match_one(table: sqlite3.Connection, record: str) -> None:
    parts = printable(record).split("/")
    for start in range(len(parts)):
        given = "/".join(parts[start:])
        row = table.execute("SELECT boxes FROM faces WHERE id = ?", (given,)).fetchone()
        if row is None:
            continue
        try:
            table.execute(
                "INSERT INTO matched VALUES (?, ?, ?)", (printable(record), given, row[0])
            )
        except sqlite3.IntegrityError:
            other = table.execute("SELECT id FROM matched WHERE given = ?", (given,)).fetchone()
            raise DataError(
                f"{given!r} in the file of faces could mean {other[0]!r} or {record!r}; "
                "give paths relative to SOURCE"
            ) from None
        return
