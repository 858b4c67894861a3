"""Which rows of several files are of the same image: an index on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError, SetupError

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE rows (file INTEGER, id TEXT, row INTEGER, PRIMARY KEY (file, id)) WITHOUT ROWID;
CREATE TABLE entries (id TEXT PRIMARY KEY, withheld INTEGER, share REAL, faces INTEGER,
                      source TEXT, output TEXT) WITHOUT ROWID;
CREATE TABLE pairs (place INTEGER PRIMARY KEY, id TEXT UNIQUE);
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a manifest says of the image at a place, as far as it knows it.

    Args:
        id: the image.
        withheld: whether it has no obfuscated form; None where the manifest does not know
            the image.
        share: the share of its area that is hidden, 0..1.
        faces: how many are hidden.
        source: SHA-256 of the original file, in hexadecimal.
        output: SHA-256 of the obfuscated file, in hexadecimal.
    """

    id: str
    withheld: bool | None
    share: float | None
    faces: int | None
    source: str | None
    output: str | None


class Pairing:
    """An index of ids that memory need not hold; made by ``open_pairing``."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._files = 0

    def add_file(
        self, path: Path | str, batches: Iterable[list[str]], holds: str = "predictions"
    ) -> None:
        """Index the ids of the next file, or of the next dataset.

        Args:
            path: what messages call it.
            batches: its ids.
            holds: what it is empty of if it has no ids.

        Raises:
            DataError: if an id comes twice, or there is none.
        """
        number, row = self._files, 0
        self._files += 1
        for names in batches:
            some = [(number, name, row + place) for place, name in enumerate(names)]
            try:
                self._database.executemany("INSERT INTO rows VALUES (?, ?, ?)", some)
            except sqlite3.IntegrityError:
                twice = self._find_twice(number, names, row)
                raise DataError(f"{path} has the id {twice!r} twice") from None
            except UnicodeEncodeError:
                raise DataError(f"{path} has an id that is no text") from None
            row += len(names)
        if not row:
            raise DataError(f"{path} has no {holds}")

    def add_entries(self, entries: Iterable[ManifestEntry]) -> None:
        """Index a manifest."""
        self._database.executemany(
            "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    entry.id,
                    entry.outcome is Outcome.WITHHELD,
                    entry.blurred_share,
                    len(entry.faces),
                    entry.source_sha256,
                    entry.output_sha256,
                )
                for entry in entries
            ),
        )

    def join(self) -> int:
        """Give every id that all files have its place, in the order of ids."""
        self._database.execute(
            "INSERT INTO pairs SELECT ROW_NUMBER() OVER (ORDER BY id) - 1, id FROM rows "
            "GROUP BY id HAVING COUNT(*) = ?",
            (self._files,),
        )
        return int(self._database.execute("SELECT COUNT(*) FROM pairs").fetchone()[0])

    def find_lone(self, number: int) -> tuple[int, str | None]:
        """How many ids of a file are not in all files, and one of them.

        Original images that the manifest says were withheld are no surprise and not counted.
        """
        count, name = self._database.execute(
            "SELECT COUNT(*), MIN(id) FROM rows WHERE file = ? AND id NOT IN (SELECT id FROM pairs)"
            " AND (? OR id NOT IN (SELECT id FROM entries WHERE withheld))",
            (number, number % 2),  # files of originals have even numbers
        ).fetchone()
        return int(count), name

    def count_withheld(self) -> int:
        """How many ids of the first file are withheld, by the manifest."""
        query = (
            "SELECT COUNT(*) FROM rows JOIN entries USING (id) WHERE file = 0 AND withheld "
            "AND id NOT IN (SELECT id FROM pairs)"
        )
        return int(self._database.execute(query).fetchone()[0])

    def places(self, number: int) -> npt.NDArray[np.int64]:
        """For every row of a file its image's place, or -1 if it has none."""
        query = "SELECT COUNT(*) FROM rows WHERE file = ?"
        places = np.full(self._database.execute(query, (number,)).fetchone()[0], -1, dtype=np.int64)
        query = "SELECT row, place FROM rows JOIN pairs USING (id) WHERE file = ?"
        for row, place in self._database.execute(query, (number,)):
            places[row] = place
        return places

    def name(self, place: int) -> str:
        """The id at a place."""
        query = "SELECT id FROM pairs WHERE place = ?"
        return str(self._database.execute(query, (place,)).fetchone()[0])

    def find(self, name: str) -> int | None:
        """The place of an id, or None if it has none."""
        query = "SELECT place FROM pairs WHERE id = ?"
        row = self._database.execute(query, (name,)).fetchone()
        return None if row is None else int(row[0])

    def iter_ids(self) -> Iterator[str]:
        """The ids, by place."""
        for (name,) in self._database.execute("SELECT id FROM pairs ORDER BY place"):
            yield name

    def iter_recorded(self, start: int = 0, stop: int | None = None) -> Iterator[Recorded]:
        """What the manifest says, by place, of all places or of some that follow each other."""
        for name, withheld, *values in self._database.execute(
            "SELECT pairs.id, withheld, share, faces, source, output FROM pairs "
            "LEFT JOIN entries ON entries.id = pairs.id WHERE place >= ? AND (? IS NULL OR "
            "place < ?) ORDER BY place",
            (start, stop, stop),
        ):
            yield Recorded(name, None if withheld is None else bool(withheld), *values)

    def _find_twice(self, number: int, names: list[str], row: int) -> str:
        """The id that was refused: the first one that stands at an earlier row."""
        query = "SELECT row FROM rows WHERE file = ? AND id = ?"
        for place, name in enumerate(names):
            found = self._database.execute(query, (number, name)).fetchone()
            if found is not None and found[0] != row + place:
                return name
        return names[0]


@contextmanager
def open_pairing(folder: Path) -> Iterator[Pairing]:
    """Make an empty index in a work folder.

    Raises:
        SetupError: if the disk is full, or the index cannot be written.
    """
    database = sqlite3.connect(folder / "ids.sqlite", isolation_level=None)
    try:
        database.executescript(_TABLES)
        database.execute("BEGIN")
        yield Pairing(database)
    except sqlite3.OperationalError as error:
        raise SetupError(
            f"the index of ids cannot be kept in {folder}: {error}; "
            "make room there, or name another place with TMPDIR"
        ) from None
    finally:
        database.close()
