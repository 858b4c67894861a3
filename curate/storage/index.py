"""On-disk indices: SQLite tables whose memory does not grow with the dataset."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.core.errors import SetupError


@contextmanager
def open_index(
    path: Path | None = None, schema: str = "", read_only: bool = False, what: str = "index"
) -> Iterator[sqlite3.Connection]:
    """Open an SQLite index; it is committed when the block ends without an error.

    The index is not protected against a crash: whoever opens it builds it again from its inputs.

    Args:
        path: the file, or None for a temporary one that is gone when the block ends.
        schema: SQL that creates the tables of a new index.
        read_only: open an existing file that nobody writes.
        what: what messages call it.

    Yields:
        The connection.

    Raises:
        SetupError: if the index cannot be read or written, as when the disk is full.
    """
    try:
        database = connect_index(path, read_only)
    except sqlite3.Error as error:
        raise SetupError(describe_index_error(what, error)) from None
    try:
        if schema:
            database.executescript(schema)
        yield database
        if not read_only:
            database.commit()
    except sqlite3.Error as error:
        raise SetupError(describe_index_error(what, error)) from None
    finally:
        database.close()


def connect_index(path: Path | None = None, read_only: bool = False) -> sqlite3.Connection:
    """Connect to an index for an object that keeps it open; see `open_index`.

    Raises:
        sqlite3.Error: if it cannot be opened.
    """
    if read_only and path is not None:
        return sqlite3.connect(path.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)
    # An empty name is a temporary file, which SQLite uses once its cache is full.
    database = sqlite3.connect("" if path is None else path)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    return database


def describe_index_error(what: str, error: sqlite3.Error) -> str:
    """Return the message for an index that cannot be read or written."""
    return f"cannot use the {what} ({error}); free disk space or set TMPDIR to a larger disk"


class NameIndex:
    """Map from (kind, name) to a text, in a temporary file."""

    def __init__(self) -> None:
        self._table = connect_index()
        self._execute(
            "CREATE TABLE names (kind TEXT, name TEXT, value TEXT, PRIMARY KEY (kind, name)) "
            "WITHOUT ROWID"
        )

    def add(self, kind: str, name: str, value: str = "") -> bool:
        """Add a name; return False and change nothing if it exists."""
        done = self._execute("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", kind, name, value)
        return bool(done.rowcount)

    def get(self, kind: str, name: str) -> str | None:
        """Return the text of a name, or None if it does not exist."""
        query = "SELECT value FROM names WHERE kind = ? AND name = ?"
        row = self._execute(query, kind, name).fetchone()
        return None if row is None else str(row[0])

    def names(self, kind: str) -> Iterator[str]:
        """Yield the names of a kind in byte order."""
        query = "SELECT name FROM names WHERE kind = ? ORDER BY name"
        for (name,) in self._execute(query, kind):
            yield str(name)

    def only_in(self, kind: str, other: str) -> tuple[int, str]:
        """Return how many names of ``kind`` are not in ``other``, and the first of them."""
        row = self._execute(
            "SELECT count(*), min(name) FROM names AS a WHERE kind = ? AND NOT EXISTS "
            "(SELECT 1 FROM names AS b WHERE b.kind = ? AND b.name = a.name)",
            kind,
            other,
        ).fetchone()
        return row[0], row[1] or ""

    def iter_unmatched(self, *cases: tuple[str, str, str]) -> Iterator[str]:
        """Yield a line for each case of names without a match, with their count and an example.

        Args:
            cases: kind of the names, kind that they should be in, and what they then are.
        """
        for kind, other, text in cases:
            count, example = self.only_in(kind, other)
            if count:
                yield f"{count:,} {text}, such as {example!r}."

    def close(self) -> None:
        """Close the index and free its disk space."""
        self._table.close()

    def _execute(self, query: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._table.execute(query, values)
        except sqlite3.Error as error:
            raise SetupError(describe_index_error("list of names", error)) from None
