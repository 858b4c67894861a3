"""Faces given before the run, indexed on disk so that memory does not grow with the dataset."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, SetupError
from curate.core.geometry import Box
from curate.layouts.faces.boxes import GivenFaces


@dataclass(frozen=True, slots=True)
class Matches:
    """How a file of faces fits a dataset.

    Args:
        lines: images that the file speaks of.
        matched: images of the dataset that it speaks of.
        missing: images of the dataset that it does not speak of.
        first_missing: the id of the first of those, or None.
        by_suffix: how many of the missing the end of a path would match.
    """

    lines: int
    matched: int
    missing: int
    first_missing: str | None
    by_suffix: int

    @property
    def unmatched(self) -> int:
        """Images that the file speaks of and the dataset does not have."""
        return self.lines - self.matched


class FaceIndex:
    """Given faces by record id, on disk: memory does not grow with the dataset.

    Args:
        path: a file made by ``save_face_index``.
    """

    def __init__(self, path: Path) -> None:
        self._table = sqlite3.connect(path.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)

    def find(self, record_id: str) -> GivenFaces | None:
        """The faces of one image, none if looked at and none; None if not looked at.

        Raises:
            SetupError: if the index cannot be read; no image is to blame for that.
        """
        try:
            rows = self._table.execute(
                "SELECT relative, boxes, review, sha256, width, height FROM faces "
                "JOIN given ON given.id = faces.given WHERE faces.id = ?",
                (record_id,),
            ).fetchall()
        except sqlite3.Error as error:
            raise SetupError(f"the index of given faces cannot be read ({error})") from None
        if not rows:
            return None
        told = [face for _, text, *_ in rows for face in json.loads(text)]
        boxes = tuple(Box(*xyxy) for xyxy, _, _ in told)
        # Boxes that come without frames are in every one; so are then all of the image.
        framed = all(frames for _, frames, _ in told)
        frames = tuple(tuple(frames) for _, frames, _ in told) if framed else ()
        fields = tuple(said for _, _, said in told)
        digests = {digest for *_, digest, _, _ in rows if digest is not None}
        states = {row[2] for row in rows}
        sizes = {(width, height) for *_, width, height in rows if width is not None}
        # Lines that speak of different files fit none.
        digest = digests.pop() if len(digests) == 1 else ("contradictory" if digests else None)
        size = min(sizes, default=None)
        relative = bool(rows[0][0])
        review = states.pop() if len(states) == 1 else None
        return GivenFaces(record_id, boxes, relative, frames, fields, size, digest, review)


def save_face_index(faces: Iterable[GivenFaces], path: Path) -> None:
    """Write given faces as an index; an id may come more than once."""
    path.unlink(missing_ok=True)
    with _open(path) as table:
        table.execute(
            "CREATE TABLE given (id TEXT, relative INTEGER, boxes TEXT, review TEXT, "
            "sha256 TEXT, width INTEGER, height INTEGER)"
        )
        for given in faces:
            _check_text(given.id)
            boxes = json.dumps(list(_iter_faces(given)))
            size = given.size or (None, None)
            row = (given.id, given.relative, boxes, given.review, given.source_sha256, *size)
            table.execute("INSERT INTO given VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        table.execute("CREATE INDEX by_id ON given (id)")


def _iter_faces(given: GivenFaces) -> Iterator[tuple[Any, ...]]:
    """Each face's box, frames, and who decided it, as far as the file says."""
    for index, box in enumerate(given.boxes):
        frames = given.frames[index] if given.frames else None
        said = given.fields[index] if given.fields else {}
        told = {key: said[key] for key in _DECIDED if isinstance(said.get(key), _PLAIN)}
        yield box.xyxy, frames, told


_DECIDED = ("confidence", "detectors", "decided_by")
_PLAIN = (str, int, float, list)


def _check_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"the file of faces speaks of {name!a}, which is not valid text") from None


def match_faces(path: Path, records: Iterable[str], by_suffix: bool = False) -> Matches:
    """Give the faces of an index to the records that they mean.

    An id of the index means the record of the same id. With ``by_suffix`` an id
    that no record has means the only record whose path ends with it; one record
    may not be meant by two ids.

    Args:
        path: an index made by ``save_face_index``.
        records: every record id.
        by_suffix: whether an id may be the end of a path.

    Raises:
        DataError: if an id could mean two records.
    """
    with _open(path) as table:
        table.execute("DROP TABLE IF EXISTS faces")
        table.execute("CREATE TABLE faces (id TEXT PRIMARY KEY, given TEXT UNIQUE)")
        table.execute("CREATE TEMP TABLE left_over (number INTEGER PRIMARY KEY, id TEXT)")
        for record in records:
            known = table.execute("SELECT 1 FROM given WHERE id = ? LIMIT 1", (record,)).fetchone()
            if known is None:
                table.execute("INSERT INTO left_over (id) VALUES (?)", (record,))
            else:
                table.execute("INSERT INTO faces VALUES (?, ?)", (record, record))
        return _match_rest(table, by_suffix)


def describe_matches(matches: Matches, file: Path) -> str:
    """One line about how a file of faces fits, for a person."""
    line = f"{file}: {matches.matched:,} images of SOURCE have their faces in it"
    if matches.unmatched:
        line += f"; {matches.unmatched:,} of its {matches.lines:,} ids are no image of SOURCE"
    return line + "."


def check_matches(matches: Matches, file: Path, allow_missing: bool) -> None:
    """Refuse a file of faces that leaves images out: nobody has looked at those.

    Raises:
        DataError: if none of its ids is an image, or some image has no line in it
            and that was not allowed.
    """
    hint = (
        f" (the end of a path would match {matches.by_suffix:,} of them: if those are the same "
        "images, use --faces-match suffix)"
        if matches.by_suffix
        else ""
    )
    if not matches.matched:
        raise DataError(
            f"none of the {matches.lines:,} images that {file} speaks of is in SOURCE; "
            f"ids are paths relative to SOURCE{hint}"
        )
    if matches.missing and not allow_missing:
        raise DataError(
            f"{file} says nothing of {matches.missing:,} images, such as "
            f"{matches.first_missing!r}{hint}; nobody has looked at them: complete the file, "
            "or withhold them with --allow-missing"
        )


def _match_rest(table: sqlite3.Connection, by_suffix: bool) -> Matches:
    """Look at the records that no id names in full."""
    first, missing, could = None, 0, 0
    for (record,) in table.execute("SELECT id FROM left_over ORDER BY number"):
        found = _find_suffix(table, record)
        if found is not None and by_suffix:
            _give(table, record, found)
            continue
        could += found is not None
        missing += 1
        first = first or record
    lines = table.execute("SELECT count(DISTINCT id) FROM given").fetchone()[0]
    matched = table.execute("SELECT count(*) FROM faces").fetchone()[0]
    return Matches(lines, matched, missing, first, could)


def _find_suffix(table: sqlite3.Connection, record: str) -> str | None:
    """The longest id that is the end of a record's path and no record's own id."""
    parts = record.split("/")
    for start in range(1, len(parts)):
        given = "/".join(parts[start:])
        row = table.execute(
            "SELECT 1 FROM given WHERE id = ?1 AND NOT EXISTS "
            "(SELECT 1 FROM faces WHERE faces.id = ?1) LIMIT 1",
            (given,),
        ).fetchone()
        if row is not None:
            return given
    return None


def _give(table: sqlite3.Connection, record: str, given: str) -> None:
    try:
        table.execute("INSERT INTO faces VALUES (?, ?)", (record, given))
    except sqlite3.IntegrityError:
        other = table.execute("SELECT id FROM faces WHERE given = ?", (given,)).fetchone()
        raise DataError(
            f"{given!r} in the file of faces could mean {other[0]!r} or {record!r}; "
            "give paths relative to SOURCE"
        ) from None


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that is written once; a crash is mended by writing it anew."""
    table = sqlite3.connect(path)
    try:
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        yield table
        table.commit()
    except sqlite3.Error as error:
        raise SetupError(f"the index of given faces cannot be written ({error})") from None
    finally:
        table.close()
