"""An on-disk index of image ids: which rows of several files are the same image."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError
from curate.impact.experiment import Faces, Ints
from curate.impact.pairs import describe_mismatch, open_manifest
from curate.layouts.groups import find_form
from curate.layouts.memory_table import Table
from curate.manifest import store
from curate.storage.index import open_index

_TABLES = """
CREATE TABLE rows (file INTEGER, id TEXT, row INTEGER, PRIMARY KEY (file, id)) WITHOUT ROWID;
CREATE TABLE entries (id TEXT PRIMARY KEY, withheld INTEGER, share REAL, faces INTEGER,
                      source TEXT, output TEXT) WITHOUT ROWID;
CREATE TABLE pairs (position INTEGER PRIMARY KEY, id TEXT UNIQUE);
CREATE TABLE given (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE matches (id TEXT, position INTEGER, exact INTEGER);
CREATE INDEX matches_by_id ON matches (id);
"""

Digests = Sequence[str | None] | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Manifest values of an image.

    Args:
        id: the image.
        withheld: whether it was withheld; None where the manifest does not list the image.
        share: hidden share of its area, 0..1.
        faces: number of hidden faces.
        source: SHA-256 of the original file, hexadecimal.
        output: SHA-256 of the obfuscated file, hexadecimal.
    """

    id: str
    withheld: bool | None
    share: float | None
    faces: int | None
    source: str | None
    output: str | None


class PairIndex:
    """Ids of several files and their positions; memory does not grow. See `open_pair_index`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._files = 0

    def add_file(
        self, path: Path | str, batches: Iterable[list[str]], holds: str = "predictions"
    ) -> None:
        """Index the ids of the next file.

        Args:
            path: the file, for messages.
            batches: its ids.
            holds: what the file contains, for messages.

        Raises:
            DataError: if an id is duplicated or not text, or there is none.
        """
        number, row = self._files, 0
        self._files += 1
        for names in batches:
            some = [(number, name, row + offset) for offset, name in enumerate(names)]
            try:
                self._database.executemany("INSERT INTO rows VALUES (?, ?, ?)", some)
            except sqlite3.IntegrityError:
                duplicate = self._find_duplicate(number, names, row)
                raise DataError(f"{path} has the id {duplicate!r} twice") from None
            except UnicodeEncodeError:
                raise DataError(f"{path} has an id that is not text") from None
            row += len(names)
        if not row:
            raise DataError(f"{path} has no {holds}")

    def add_manifest(self, out: Path) -> Mapping[str, Any]:
        """Index a manifest; returns the contents of its ``run.json``.

        Raises:
            ManifestError: if the manifest is missing, damaged or incomplete.
        """
        manifest, run = open_manifest(out)
        self.add_entries(store.iter_entries(manifest / store.RECORDS_FOLDER))
        return run

    def add_entries(self, entries: Iterable[ManifestEntry]) -> None:
        """Index manifest entries."""
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
        """Number the ids that all files have, in the order of ids; returns how many."""
        self._database.execute(
            "INSERT INTO pairs SELECT ROW_NUMBER() OVER (ORDER BY id) - 1, id FROM rows "
            "GROUP BY id HAVING COUNT(*) = ?",
            (self._files,),
        )
        return int(self._database.execute("SELECT COUNT(*) FROM pairs").fetchone()[0])

    def find_unpaired(self, number: int) -> tuple[int, str | None]:
        """Return how many ids of a file are not in all files, and one of them.

        Originals that the manifest lists as withheld are not counted.
        """
        count, name = self._database.execute(
            "SELECT COUNT(*), MIN(id) FROM rows WHERE file = ? AND id NOT IN (SELECT id FROM pairs)"
            " AND (? OR id NOT IN (SELECT id FROM entries WHERE withheld))",
            (number, number % 2),  # files of originals have even numbers
        ).fetchone()
        return int(count), name

    def count_withheld(self) -> int:
        """Return how many ids of the first file are withheld according to the manifest."""
        query = (
            "SELECT COUNT(*) FROM rows JOIN entries USING (id) WHERE file = 0 AND withheld "
            "AND id NOT IN (SELECT id FROM pairs)"
        )
        return int(self._database.execute(query).fetchone()[0])

    def load_positions(self, number: int) -> Ints:
        """Return the position of every row of a file, -1 where it has none."""
        query = "SELECT COUNT(*) FROM rows WHERE file = ?"
        count = self._database.execute(query, (number,)).fetchone()[0]
        positions = np.full(count, -1, dtype=np.int64)
        query = "SELECT row, position FROM rows JOIN pairs USING (id) WHERE file = ?"
        for row, position in self._database.execute(query, (number,)):
            positions[row] = position
        return positions

    def name(self, position: int) -> str:
        """Return the id at a position."""
        query = "SELECT id FROM pairs WHERE position = ?"
        return str(self._database.execute(query, (position,)).fetchone()[0])

    def match(self, names: Iterable[str], table: Table) -> None:
        """Match the ids of a table with images, for `find`; as `match_groups` does.

        Args:
            names: ids of the table.
            table: the table, for messages.

        Raises:
            DataError: if an id is duplicated or not text.
        """
        run = self._database.execute
        run("DELETE FROM given")
        run("DELETE FROM matches")
        for name in names:
            try:
                run("INSERT INTO given VALUES (?)", (name,))
            except sqlite3.IntegrityError:
                raise DataError(f"{table} has the id {name!r} twice") from None
            except UnicodeEncodeError:
                raise DataError(f"{table} has an id that is not text") from None
        self._database.executemany("INSERT INTO matches VALUES (?, ?, ?)", self._iter_matches())

    def _iter_matches(self) -> Iterator[tuple[str, int, bool]]:
        def is_given(form: str) -> bool:
            query = "SELECT 1 FROM given WHERE id = ?"
            return self._database.execute(query, (form,)).fetchone() is not None

        for position, name in self._database.execute("SELECT position, id FROM pairs"):
            form = find_form(name, is_given)
            if form is not None:
                yield form, position, form == name

    def find(self, name: str) -> int | None:
        """Return the position of the image that an id of the table matches, or None.

        An id that matches several images, none of them exactly, matches none.
        """
        query = "SELECT position, exact FROM matches WHERE id = ? ORDER BY exact DESC LIMIT 2"
        found = self._database.execute(query, (name,)).fetchall()
        return int(found[0][0]) if found and (found[0][1] or len(found) == 1) else None

    def iter_ids(self) -> Iterator[str]:
        """Iterate over the ids by position."""
        for (name,) in self._database.execute("SELECT id FROM pairs ORDER BY position"):
            yield name

    def iter_recorded(self, start: int = 0, stop: int | None = None) -> Iterator[Recorded]:
        """Iterate over the manifest's values by position, all or from ``start`` to ``stop``."""
        for name, withheld, *values in self._database.execute(
            "SELECT pairs.id, withheld, share, faces, source, output FROM pairs "
            "LEFT JOIN entries ON entries.id = pairs.id WHERE position >= ? AND (? IS NULL OR "
            "position < ?) ORDER BY position",
            (start, stop, stop),
        ):
            yield Recorded(name, None if withheld is None else bool(withheld), *values)

    def _find_duplicate(self, number: int, names: list[str], row: int) -> str:
        """The refused id: the first one that exists at an earlier row."""
        query = "SELECT row FROM rows WHERE file = ? AND id = ?"
        for offset, name in enumerate(names):
            found = self._database.execute(query, (number, name)).fetchone()
            if found is not None and found[0] != row + offset:
                return name
        return names[0]


@contextmanager
def open_pair_index(folder: Path) -> Iterator[PairIndex]:
    """Create an empty index in a work folder.

    Raises:
        SetupError: if it cannot be written.
    """
    with open_index(folder / "ids.sqlite", _TABLES, what="index of ids") as database:
        yield PairIndex(database)


def load_faces(out: Path, index: PairIndex, pairs: int) -> Faces:
    """Return hidden share and number of faces by position.

    Args:
        out: the output folder, for messages.
        index: with the manifest in it.
        pairs: number of positions.

    Raises:
        DataError: if the manifest is of another dataset than the predictions.
    """
    shares, counts = np.zeros(pairs), np.zeros(pairs, dtype=np.int64)
    missing, first = 0, ""
    for position, entry in enumerate(index.iter_recorded()):
        if entry.withheld is None:
            missing, first = missing + 1, first or entry.id
        elif entry.withheld:
            raise DataError(
                f"{describe_mismatch(out)}: it withheld {entry.id!r}, for which there is an "
                "obfuscated prediction"
            )
        else:
            shares[position], counts[position] = entry.share or 0.0, entry.faces or 0
    if missing:
        raise DataError(
            f"{describe_mismatch(out)}: it does not list {missing:,} of {pairs:,} images, "
            f"such as {first!r}"
        )
    return Faces(shares, counts)


def check_digests(out: Path, index: PairIndex, original: Digests, obfuscated: Digests) -> None:
    """Compare the digests in prediction files with the manifest.

    Args:
        out: the output folder, for messages.
        index: with the manifest in it.
        original: SHA-256 of the original files, hexadecimal, by position; None if not given.
        obfuscated: the same for the obfuscated files.

    Raises:
        DataError: if one differs.
    """
    if original is None and obfuscated is None:
        return
    for position, entry in enumerate(index.iter_recorded()):
        for which, given, recorded in (
            ("original", original, entry.source),
            ("obfuscated", obfuscated, entry.output),
        ):
            digest = given[position] if given is not None else None
            if digest is not None and digest.lower() != recorded:
                raise DataError(
                    f"{describe_mismatch(out)}: the {which} file of {entry.id!r} has another "
                    "SHA-256"
                )
