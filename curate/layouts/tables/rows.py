"""Rows of tables with image columns, independent of the file format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from curate.core.errors import DataError, SetupError, one_line
from curate.core.records import ImageRecord
from curate.layouts.containers import format_uri
from curate.layouts.tables.images import (
    ImageColumns,
    find_images,
    find_paths,
    load_classes,
    parse_columns,
)
from curate.storage.cells import check_cells, iter_portions, iter_values

_MAX_ROWS = 10**8
_SLICE_BYTES = 1 << 23


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive rows of a table.

    Args:
        first: index of the first row, from 0.
        batch: Arrow record batch of the rows.
        closes: whether a row group ends here.
    """

    first: int
    batch: Any
    closes: bool


class Table(Protocol):
    """File that contains a table, opened for reading."""

    schema: Any

    def full_columns(self) -> frozenset[str]:
        """Return the image columns that are known to have no missing bytes."""
        ...

    def group_of(self, row: int) -> int:
        """Return the row group of a row; a group is read from its start."""
        ...

    def iter_slices(self, columns: Sequence[str], start: int = 0) -> Iterator[Slice]:
        """Iterate over rows in order, a few MB at a time, from the start of a row group."""
        ...

    def iter_texts(self, columns: ImageColumns) -> Iterator[Any]:
        """Iterate over record batches of a few hundred rows; image bytes may be omitted."""
        ...

    def open_writer(self, target: BinaryIO, schema: Any) -> AbstractContextManager[Any]:
        """Open a writer of another file, whose ``write_table`` writes one row group."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Rows:
    """Table with a cache of the rows that were read last.

    Args:
        container: path of the table.
        table: open table.
        split: split of its images.

    Raises:
        DataError: if a column may contain images outside the image columns.
    """

    def __init__(self, container: str, table: Table, split: str | None) -> None:
        self.container = container
        self.table = table
        self.columns = parse_columns(table.schema, container)
        self.split = split
        self._slices: Iterator[Slice] = iter(())
        self._current: Slice | None = None

    def records(self) -> Iterator[ImageRecord]:
        """Iterate over all images in the order of rows and columns, mostly without their bytes."""
        columns = self.columns
        full = self.table.full_columns()
        lacking = [name for name in columns.names if name not in full]
        label = [columns.label] if columns.label else []
        for piece in self.table.iter_slices([*lacking, *label]):
            present = {name: find_images(piece.batch.column(name)) for name in lacking}
            labels = list(iter_values(piece.batch.column(label[0]), None)) if label else None
            for index in range(piece.batch.num_rows):
                category = columns.category(labels[index]) if labels else None
                for number, name in enumerate(columns.names):
                    if name not in present or present[name][index]:
                        yield self._record(piece.first + index, number, category)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over the values of columns for each image, with class names for class labels."""
        images = self.columns.names
        wanted = [
            name for name in self.table.schema.names if name in columns and name not in images
        ]
        if not wanted:
            return
        classes = load_classes(self.table.schema)
        for piece in self.table.iter_slices(wanted):
            for index, row in enumerate(self._iter_values(piece.batch)):
                values = {name: _name_class(row[name], classes.get(name)) for name in wanted}
                for number in range(len(images)):
                    yield self.id_of(piece.first + index, number), values

    def _iter_values(self, batch: Any) -> Iterator[dict[str, Any]]:
        for portion in iter_portions(batch):
            for name, column in zip(portion.schema.names, portion.columns, strict=True):
                check_cells(column, name, self.container)
            yield from portion.to_pylist()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Iterate over the paths of the images, and their last components, with the ids."""
        first = 0
        for batch in self.table.iter_texts(self.columns):
            for number, name in enumerate(self.columns.names):
                for index, path in enumerate(find_paths(batch.column(name))):
                    for alias in dict.fromkeys((path, path.rpartition("/")[2])):
                        if alias:
                            yield alias, self.id_of(first + index, number)
            first += batch.num_rows

    def find(self, row: int, column: str | None) -> ImageRecord | None:
        """Return the record of a row, and column if there are several; None if it has no image."""
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
        """Return a row as a record batch, or None; fast for ascending rows."""
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
        """Return the image ids in a column of a slice; None in rows without an image."""
        number = self.columns.names.index(column)
        return [
            self.id_of(piece.first + index, number) if present else None
            for index, present in enumerate(find_images(piece.batch.column(column)))
        ]

    def id_of(self, row: int, number: int) -> str:
        """Return the id of the image in a row and an image column."""
        if row >= _MAX_ROWS:
            raise DataError(f"{self.container!r} has more than {_MAX_ROWS:,} rows; split it")
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
    """Return the name of a class label; other values unchanged."""
    if names is None or type(value) is not int:
        return value
    return names[value] if 0 <= value < len(names) else None


def _value(row: Any, column: str | None) -> Any:
    return None if column is None else row.column(column)[0].as_py()


def open_or_close(kind: Callable[[BinaryIO], Table], file: BinaryIO) -> Table:
    """Open a table from an open file, which is closed if that fails."""
    try:
        return kind(file)
    except BaseException:
        file.close()
        raise


def rows_at_a_time(size: int, rows: int) -> int:
    """Return the number of rows in a slice of a few MB.

    Args:
        size: bytes of all rows.
        rows: number of all rows.
    """
    return max(1, min(512, _SLICE_BYTES * max(rows, 1) // max(size, 1)))


@contextmanager
def translate_errors(container: str, kind: str) -> Iterator[None]:
    """Convert exceptions of a reader to one clear line.

    Raises:
        DataError: if the file is invalid.
        SetupError: if there is not enough memory.
    """
    try:
        yield
    except MemoryError:
        # A corrupt length requires more than any machine has.
        raise SetupError(
            f"{container!r} needs more memory than is available, or is damaged; "
            "free memory, or recreate the file"
        ) from None
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the file system; invalid files have no errno
        line = one_line(error)
        raise DataError(
            f"{container!r} is not a valid {kind} file ({line}); "
            "recreate it or remove it from SOURCE"
        ) from None
