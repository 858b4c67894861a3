"""Tables with columns of images: what a file of them offers, and how to go through its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from curate.core.errors import DataError, SetupError
from curate.core.records import ImageRecord
from curate.layouts.containers import format_uri
from curate.layouts.tables.images import (
    ImageColumns,
    find_images,
    find_paths,
    load_classes,
    parse_columns,
)

_MOST_ROWS = 10**8
_SLICE_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Slice:
    """Some consecutive rows of a table.

    Args:
        first: number of the first row, from 0.
        batch: the rows, an Arrow record batch.
        closes: whether a group of rows ends here.
    """

    first: int
    batch: Any
    closes: bool


class Table(Protocol):
    """One file that holds a table, opened for reading."""

    schema: Any

    def full_columns(self) -> frozenset[str]:
        """Columns of images of which the file says that no bytes are absent."""
        ...

    def group_of(self, row: int) -> int:
        """Which group a row belongs to; a group is read from its beginning."""
        ...

    def iter_slices(self, columns: Sequence[str], start: int = 0) -> Iterator[Slice]:
        """Rows in order, a few MB at a time, from the beginning of the group of ``start``."""
        ...

    def iter_texts(self, columns: ImageColumns) -> Iterator[Any]:
        """Record batches of all that is not an image, of a few hundred rows."""
        ...

    def open_writer(self, target: BinaryIO, schema: Any) -> AbstractContextManager[Any]:
        """Write another file of this kind; has ``write_table``, which writes one group."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Rows:
    """One table, and the place in it that was read last.

    Args:
        container: the table's path.
        table: the open file.
        split: the split of its images.

    Raises:
        DataError: if its columns cannot be accounted for.
    """

    def __init__(self, container: str, table: Table, split: str | None) -> None:
        self.container = container
        self.table = table
        self.columns = parse_columns(table.schema, container)
        self.split = split
        self._slices: Iterator[Slice] = iter(())
        self._current: Slice | None = None

    def records(self) -> Iterator[ImageRecord]:
        """Every image, in the order of rows and columns; images themselves are hardly read."""
        columns = self.columns
        full = self.table.full_columns()
        lacking = [name for name in columns.names if name not in full]
        label = [columns.label] if columns.label else []
        for piece in self.table.iter_slices([*lacking, *label]):
            present = {name: find_images(piece.batch.column(name)) for name in lacking}
            labels = piece.batch.column(label[0]).to_pylist() if label else None
            for place in range(piece.batch.num_rows):
                category = columns.category(labels[place]) if labels else None
                for number, name in enumerate(columns.names):
                    if name not in present or present[name][place]:
                        yield self._record(piece.first + place, number, category)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What some columns say of every image of a row, the names of classes for their numbers."""
        images = self.columns.names
        wanted = [
            name for name in self.table.schema.names if name in columns and name not in images
        ]
        if not wanted:
            return
        classes = load_classes(self.table.schema)
        for piece in self.table.iter_slices(wanted):
            for place, row in enumerate(piece.batch.to_pylist()):
                said = {name: _name_class(row[name], classes.get(name)) for name in wanted}
                for number in range(len(images)):
                    yield self.id_of(piece.first + place, number), said

    def aliases(self) -> Iterator[tuple[str, str]]:
        """What the rows call their images: a path, and its last part."""
        first = 0
        for batch in self.table.iter_texts(self.columns):
            for number, name in enumerate(self.columns.names):
                for place, path in enumerate(find_paths(batch.column(name))):
                    for alias in dict.fromkeys((path, path.rpartition("/")[2])):
                        if alias:
                            yield alias, self.id_of(first + place, number)
            first += batch.num_rows

    def find(self, row: int, column: str | None) -> ImageRecord | None:
        """The record of a row, and of a column where there are several; None if it has no image."""
        names = self.columns.names
        number = 0 if column is None else names.index(column) if column in names else None
        if number is None or (column is None) != (len(names) == 1):
            return None
        found = self.row(row)
        if found is None or not find_images(found.column(names[number]))[0]:
            return None
        label = self.columns.label
        return self._record(row, number, self.columns.category(_value(found, label)))

    def row(self, row: int) -> Any:
        """One row as a record batch, or None if there are not so many; quick for ascending rows."""
        current = self._current
        if current is None or self._is_elsewhere(current, row):
            label = self.columns.label
            names = [*self.columns.names, *([label] if label else [])]
            self._slices = self.table.iter_slices(names, row)
            current = next(self._slices, None)
        while current is not None and row >= current.first + current.batch.num_rows:
            current = next(self._slices, None)
        self._current = current
        return None if current is None else current.batch.slice(row - current.first, 1)

    def ids_in(self, column: str, piece: Slice) -> list[str | None]:
        """The ids of the images in one column of a slice; None in rows without an image."""
        number = self.columns.names.index(column)
        return [
            self.id_of(piece.first + place, number) if present else None
            for place, present in enumerate(find_images(piece.batch.column(column)))
        ]

    def id_of(self, row: int, number: int) -> str:
        """The id of the image in a row, and in the column of that number."""
        if row >= _MOST_ROWS:
            raise DataError(f"{self.container!r} has more than {_MOST_ROWS:,} rows; divide it")
        column = f"/{self.columns.names[number]}" if len(self.columns.names) > 1 else ""
        return f"{self.container}/{row:08d}{column}"

    def close(self) -> None:
        """Close the table."""
        self.table.close()

    def _is_elsewhere(self, current: Slice, row: int) -> bool:
        group = self.table.group_of
        return row < current.first or group(row) != group(current.first)

    def _record(self, row: int, number: int, category: str | None) -> ImageRecord:
        return ImageRecord(
            id=self.id_of(row, number),
            uri=format_uri(row, number, self.container),
            split=self.split,
            category=category,
        )


def _name_class(value: Any, names: Sequence[str] | None) -> Any:
    """A class by its name; the value itself where it is none, or says nothing."""
    if names is None or type(value) is not int:
        return value
    return names[value] if 0 <= value < len(names) else None


def _value(row: Any, column: str | None) -> Any:
    return None if column is None else row.column(column)[0].as_py()


def open_or_close(kind: Callable[[BinaryIO], Table], file: BinaryIO) -> Table:
    """Read the beginning of a table from an open file, which is closed if that fails."""
    try:
        return kind(file)
    except BaseException:
        file.close()
        raise


def rows_at_a_time(size: int, rows: int) -> int:
    """Rows that make up a slice of a few MB.

    Args:
        size: bytes of all rows.
        rows: how many they are.
    """
    return max(1, min(512, _SLICE_BYTES * max(rows, 1) // max(size, 1)))


@contextmanager
def explain(container: str, kind: str) -> Iterator[None]:
    """Turn what a reader says of a damaged file into one clear line.

    Raises:
        DataError: if the file cannot be read through its own fault.
        SetupError: if there is not the memory that it asks for.
    """
    try:
        yield
    except MemoryError:
        # A damaged length asks for more than any machine has.
        raise SetupError(
            f"{container!r} needs more memory than there is, or is damaged; "
            "free some memory, or make the file anew"
        ) from None
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's trouble; a damaged file has no number
        line = " ".join(str(error).split())[:200]
        raise DataError(
            f"{container!r} is no {kind} file, or damaged ({line}); "
            "make it anew or take it out of SOURCE"
        ) from None
