"""The journal of a review: every decision, appended and synchronized before it counts.

One JSON object a line. Nothing is ever changed or removed: a later decision replaces an
earlier one of the same image, and a withdrawal makes it open again.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from curate.core.documents import parse_json
from curate.core.errors import DataError, SetupError
from curate.review.decisions import Decision
from curate.storage.regular import open_regular

NAME = "journal.jsonl"
VERSION = 1
_LONGEST = 4_000_000  # bytes of a line; a decision of 2,000 boxes has about 300,000


class Journal:
    """A journal open for appending; one process at a time.

    Args:
        folder: the review folder; must exist.
        header: the first line of a new journal: what the review is about.

    Raises:
        DataError: if the file is not a journal of this version.
        SetupError: if it cannot be written.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        self.path = folder / NAME
        self.note: str | None = None
        if self.path.exists() and not self.path.is_file():
            raise DataError(f"{self.path} is not a regular file; choose another --folder")
        try:
            new = not self.path.exists() or self.path.stat().st_size == 0
            if not new:
                self.note = _set_aside_tail(self.path)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise SetupError(f"{self.path} cannot be opened: {error.strerror}") from None
        self.lines = 0 if new else sum(1 for _ in iter_events(folder))
        if new or self.lines == 0:
            self.append({"event": "header", "version": VERSION, **header})
            _sync_folder(folder)

    def append(self, event: Mapping[str, Any]) -> int:
        """Write one line and wait until it is on the disk.

        Returns:
            The line's number, from 1.

        Raises:
            DataError: if it is longer than a line may be; it is not written.
            SetupError: if it cannot be written; nothing of it then counts.
        """
        line = json.dumps(event, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"
        data = line.encode("ascii")
        if len(data) > _LONGEST:
            raise DataError(
                f"the decision about {event.get('id')!r} takes more than {_LONGEST:,} bytes and "
                "was not saved; remove boxes, or keep them to fewer frames"
            )
        end = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(0, "the disk is full")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, end)
            raise SetupError(
                f"{self.path} cannot be written: {error.strerror}; the decision was not saved"
            ) from None
        self.lines += 1
        return self.lines

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def iter_events(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every line of a journal with its number, from 1; a cut last line is left out.

    Raises:
        DataError: if there is no journal, or a line other than the last is damaged.
    """
    path = folder / NAME
    number = 0
    try:
        with open_regular(path, follow_links=True) as file:
            while line := file.readline(_LONGEST):
                if not line.endswith(b"\n"):
                    if file.read(1):
                        raise DataError(f"{path}, line {number + 1}, is too long for a decision")
                    return
                number += 1
                event = _parse(line, path, number)
                if number == 1:
                    _check_header(event, path)
                yield number, event
    except FileNotFoundError:
        raise DataError(f"{folder} holds no review; start one with curate review SOURCE") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def load_header(folder: Path) -> dict[str, Any]:
    """The first line of a journal: what the review is about.

    Raises:
        DataError: if there is no journal.
    """
    for _, event in iter_events(folder):
        return event
    raise DataError(f"{folder / NAME} is empty; start the review again")


@contextmanager
def last_decisions(folder: Path) -> Iterator[sqlite3.Connection]:
    """The last decision about every image, of every reviewer if the review is blind.

    Yields:
        A temporary database on disk with the table ``decisions``: ``id`` (bytes of the name),
        ``reviewer`` and ``decision`` (JSON). Withdrawn decisions are not in it.

    Raises:
        DataError: if there is no journal, or a line is damaged.
        SetupError: if the temporary folder has no space.
    """
    blind = bool(load_header(folder).get("blind"))
    try:
        with closing(sqlite3.connect("")) as table:  # on disk, and gone when it is closed
            table.execute(
                "CREATE TABLE decisions (id BLOB, reviewer TEXT, decision TEXT, "
                "PRIMARY KEY (id, reviewer)) WITHOUT ROWID"
            )
            for _, event in iter_events(folder):
                if event["event"] not in ("decision", "withdrawal"):
                    continue
                key = (os.fsencode(event["id"]), event["reviewer"] if blind else "")
                table.execute("DELETE FROM decisions WHERE id = ? AND reviewer = ?", key)
                if event["event"] == "decision":
                    row = (*key, json.dumps(event))
                    table.execute("INSERT INTO decisions VALUES (?, ?, ?)", row)
            yield table
    except sqlite3.Error as error:
        raise SetupError(f"the temporary folder cannot be used: {error}") from None


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        event: dict[str, Any] = parse_json(line, path)
        _check_event(event)
    except (ValueError, TypeError, KeyError, AttributeError, DataError):
        raise DataError(
            f"{path}, line {number}, is damaged; restore the file from a backup, or remove "
            "that line to lose its decision only"
        ) from None
    return event


def _check_event(event: dict[str, Any]) -> None:
    """Raise what reading an event raises, if a key is missing or of the wrong kind."""
    kind = event["event"]
    if kind == "decision":
        Decision.from_dict(event)
    texts = ("id", "reviewer") if kind in ("decision", "withdrawal") else ("event",)
    if not all(isinstance(event[key], str) for key in texts):
        raise TypeError(f"an event of the kind {kind!r}")
    if kind in ("decision", "withdrawal"):
        os.fsencode(event["id"])  # raises ValueError for what is not the name of a file
        event["reviewer"].encode()
    if kind == "started" and (type(event["images"]) is not int or event["images"] < 0):
        raise TypeError("images")


def _check_header(event: Mapping[str, Any], path: Path) -> None:
    if event["event"] != "header" or type(event.get("version")) is not int:
        raise DataError(f"{path} is not a journal of curate review")
    if event["version"] > VERSION:
        raise DataError(
            f"{path} was written by a newer release (version {event['version']}); "
            "upgrade curate-dataset"
        )
    if not all(isinstance(event.get(key), str) for key in ("review", "task")):
        raise DataError(f"{path} does not state what it is a review of; restore its first line")


def _set_aside_tail(path: Path) -> str | None:
    """Move what follows the last whole line to a file of its own, so that appending is safe."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - _LONGEST)
        file.seek(start)
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if whole == len(tail):
            return None
        if whole == 0 and start > 0:
            raise DataError(f"the last line of {path} is too long for a decision; remove it")
        cut = tail[whole:]
        aside = path.with_name("journal.cut")
        with aside.open("ab") as other:
            other.write(cut + b"\n")
            other.flush()
            os.fsync(other.fileno())
        file.truncate(start + whole)
        os.fsync(file.fileno())
    return (
        f"the last line of {path.name} was cut off ({len(cut)} bytes) and was set aside in "
        f"{aside.name}; every decision before it is kept"
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
