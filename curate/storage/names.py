"""Names seen so far, kept on disk so that memory does not grow with the dataset."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from curate.core.errors import SetupError


class NamesOnDisk:
    """Names with a text each, in several kinds; gone when it is closed or dropped."""

    def __init__(self) -> None:
        # An empty name means a temporary file, which SQLite uses once its cache is full.
        self._table = sqlite3.connect("", isolation_level=None)
        for line in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE names (kind TEXT, name TEXT, value TEXT, PRIMARY KEY (kind, name)) "
            "WITHOUT ROWID",
            "BEGIN",
        ):
            self._execute(line)

    def add(self, kind: str, name: str, value: str = "") -> bool:
        """Note a name; returns whether it was new, else leaves what is there."""
        done = self._execute("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", kind, name, value)
        return bool(done.rowcount)

    def get(self, kind: str, name: str) -> str | None:
        """The text of a name, or None if it has not been seen."""
        query = "SELECT value FROM names WHERE kind = ? AND name = ?"
        row = self._execute(query, kind, name).fetchone()
        return None if row is None else str(row[0])

    def names(self, kind: str) -> Iterator[str]:
        """The names of a kind, in the order of their bytes."""
        query = "SELECT name FROM names WHERE kind = ? ORDER BY name"
        for (name,) in self._execute(query, kind):
            yield str(name)

    def only_in(self, kind: str, other: str) -> tuple[int, str]:
        """How many names of one kind another kind does not have, and the first of them."""
        row = self._execute(
            "SELECT count(*), min(name) FROM names AS a WHERE kind = ? AND NOT EXISTS "
            "(SELECT 1 FROM names AS b WHERE b.kind = ? AND b.name = a.name)",
            kind,
            other,
        ).fetchone()
        return row[0], row[1] or ""

    def close(self) -> None:
        """Give the disk space back."""
        self._table.close()

    def _execute(self, query: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._table.execute(query, values)
        except sqlite3.Error as error:
            raise SetupError(
                f"the list of names in the temporary folder cannot be kept ({error}); "
                "make room there or set TMPDIR"
            ) from None
