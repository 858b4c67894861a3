"""Parquet layout of the Hugging Face Hub: tables with columns of ``{bytes, path}``."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import CurateError, DataError
from curate.layouts.access.folder import FileInfo, Folder
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer
from curate.layouts.containers import find_loose_image, iter_listed_folders
from curate.layouts.files import split_in, split_of_folders
from curate.layouts.sidecars.table import ROWS
from curate.layouts.tables.images import ImageColumns, mentions_images
from curate.layouts.tables.layout import TableLayout
from curate.layouts.tables.plain import LEFT_OUT, NO_IMAGES, describe_plain, find_plain_images
from curate.layouts.tables.rows import Slice, Table, open_or_close, rows_at_a_time, translate_errors
from curate.storage.parquet import check_chunks, check_texts, load_parquet, load_schema, text_paths

_BUFFER = 1 << 20
_MAX_PLAIN = 256 << 20  # bytes of a column other than images in a row group
_MAX_EXAMINED = 8  # files per folder, when recognizing the layout


class Parquet(TableLayout):
    """Parquet files with image columns; files without one are annotations.

    Args:
        folder: files of the dataset.
    """

    layout = "parquet"
    kind = "Parquet"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for a Parquet file with an image column."""
        for folder_path, names in iter_listed_folders(folder):
            paths = [f"{folder_path}{name}" for name in sorted(names) if _is_parquet(name)]
            if found := next(
                (path for path in paths[:_MAX_EXAMINED] if may_hold_image_rows(folder, path)), None
            ):
                return found
        plain = _find_plain(folder) if find_loose_image(folder) is None else None
        return plain[0] if plain is not None else None

    def check(self, strict: bool = False) -> Iterator[str]:
        """Read the schemas of all tables, and report those with images in another form.

        Raises:
            DataError: as for other tables, or if all tables with images are of that kind.
        """
        plain = _find_plain(self.folder, self._known)
        if plain is not None and not self._containers:
            raise DataError(describe_plain(plain[1], plain[0]) + NO_IMAGES)
        yield from super().check(strict)
        if plain is not None:
            yield describe_plain(plain[1], plain[0]) + LEFT_OUT

    def is_container(self, info: FileInfo) -> bool:
        """Return whether a file is a Parquet file with an image column; reads its schema."""
        if not info.regular or not _is_parquet(info.path):
            return False
        with translate_errors(info.path, self.kind), self.open_container(info.path) as file:
            return any(mentions_images(field.type) for field in load_schema(file))

    def split_of(self, container: str) -> str | None:
        """Return the split in the name of a file, else in its folders, which may be of a config."""
        return split_in(PurePosixPath(container).name) or split_of_folders(container)

    def open_table(self, container: str) -> Table:
        """Open a Parquet file."""
        return _open_table(self.open_container(container), container)


def _open_table(file: BinaryIO, name: str) -> Table:
    return open_or_close(lambda opened: ParquetTable(opened, name), file)


class ParquetTable:
    """Parquet file, of which a few rows are in memory at a time.

    Args:
        file: open file; closed with the table.
        name: name of the file in messages.

    Raises:
        DataError: if a column other than images is too large to be read.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._parquet = load_parquet(file, buffer_size=_BUFFER)
        self._metadata = self._parquet.metadata
        self.schema = self._parquet.schema_arrow
        self._plain = frozenset(field.name for field in self.schema if not _is_large(field.type))
        # Texts of any length are read, one row at a time.
        self._rows = check_chunks(self._metadata, self._plain, name, max_chunk=_MAX_PLAIN)
        self._unchecked = [
            path
            for path in text_paths(self._metadata, self._plain)
            if "." in path  # lists, each item of which may repeat a long text
        ]
        self._ends = list(accumulate(group.num_rows for group in self._groups()))

    def full_columns(self) -> frozenset[str]:
        """Return the image columns without missing bytes according to the statistics."""
        lacking = {
            chunk.path_in_schema
            for group in self._groups()
            for chunk in map(group.column, range(group.num_columns))
            if chunk.statistics is None or chunk.statistics.null_count != 0
        }
        return frozenset(name for name in self.schema.names if f"{name}.bytes" not in lacking)

    def group_of(self, row: int) -> int:
        """Return the row group of a row."""
        return bisect.bisect_right(self._ends, row)

    def iter_slices(self, columns: Sequence[str], start: int = 0) -> Iterator[Slice]:
        """Iterate over rows in order, from the start of the row group of ``start``."""
        self._check_texts(columns)
        images = any(_is_large(self.schema.field(name).type) for name in columns)
        for number in range(self.group_of(start), len(self._ends)):
            group = self._metadata.row_group(number)
            size = rows_at_a_time(_bytes_of(group), group.num_rows) if images else ROWS
            size = min(size, self._rows)
            first = self._ends[number] - group.num_rows
            batches = self._parquet.iter_batches(
                batch_size=size, row_groups=[number], columns=list(columns), use_threads=False
            )
            for batch in batches:
                end = first + batch.num_rows
                yield Slice(first, batch, end == self._ends[number])
                first = end

    def iter_texts(self, columns: ImageColumns) -> Iterator[Any]:
        """Iterate over record batches of all columns except image bytes, which are not read."""
        self._check_texts(self.schema.names)
        skipped = {f"{name}.bytes" for name in columns.names}
        paths = [path for path in self._paths() if path not in skipped]
        rows = min(ROWS, self._rows)
        yield from self._parquet.iter_batches(batch_size=rows, columns=paths, use_threads=False)

    def open_writer(self, target: BinaryIO, schema: Any) -> AbstractContextManager[Any]:
        """Open a writer of another Parquet file with the same compression."""
        chunks = self._chunks()
        writer: AbstractContextManager[Any] = pq.ParquetWriter(
            target,
            schema,
            version=self._metadata.format_version,
            compression={chunk.path_in_schema: _codec(chunk) for chunk in chunks},
            use_dictionary=[chunk.path_in_schema for chunk in chunks if _has_dictionary(chunk)],
            store_schema=b"ARROW:schema" in (self._metadata.metadata or {}),
            write_batch_size=64,  # a page ends after this many images, or 1 MB
        )
        return writer

    def close(self) -> None:
        """Close the file."""
        self._parquet.close()
        self._file.close()

    def _check_texts(self, columns: Sequence[str]) -> None:
        """Check texts in lists of columns that are read for the first time."""
        names = [path.partition(".")[0] for path in self._unchecked]
        if wanted := [name for name in dict.fromkeys(names) if name in columns]:
            check_texts(self._file, wanted, self._name, _MAX_PLAIN)
            self._unchecked = [
                path for path in self._unchecked if path.partition(".")[0] not in wanted
            ]

    def _groups(self) -> Iterator[Any]:
        yield from map(self._metadata.row_group, range(self._metadata.num_row_groups))

    def _chunks(self) -> list[Any]:
        group = next(self._groups(), None)
        return [] if group is None else [group.column(i) for i in range(group.num_columns)]

    def _paths(self) -> list[str]:
        schema = self._metadata.schema
        return [schema.column(number).path for number in range(len(schema))]


def may_hold_image_rows(folder: Folder, path: str) -> bool:
    """Return whether a Parquet file has image columns, or points to content that is absent."""
    info = folder.info(path)
    try:
        with folder.open(path) as file:
            head = file.read(POINTER_BYTES)
            if info is not None and info.size <= POINTER_BYTES and describe_pointer(head):
                return True
            return any(mentions_images(field.type) for field in load_schema(file))
    except (CurateError, pa.ArrowException, ValueError, OSError):
        return False  # errors are reported when the dataset is opened


def find_plain_column(file: BinaryIO) -> str | None:
    """Return the first column of a Parquet file with images in another form, or None.

    The file is closed.

    Raises:
        pyarrow.ArrowException: if it cannot be read.
    """
    with closing(_open_table(file, "a table")) as table:
        return find_plain_images(table)


def _find_plain(folder: Folder, known: Collection[str] = ()) -> tuple[str, str] | None:
    """Return a Parquet file, and its column of images in another form, or None."""
    for folder_path, names in iter_listed_folders(folder):
        paths = [f"{folder_path}{name}" for name in sorted(names) if _is_parquet(name)]
        for path in [path for path in paths if path not in known][:_MAX_EXAMINED]:
            try:
                column = find_plain_column(folder.open(path))
            except (CurateError, pa.ArrowException, ValueError, OSError):
                continue  # errors are reported when the dataset is opened
            if column is not None:
                return path, column
    return None


_EXPANDING = 8  # times the compressed size; JPEG files are hardly compressed


def _bytes_of(group: Any) -> int:
    """Return the bytes of all rows of a row group.

    A dictionary may have one large value that every row repeats, and each value of
    ``DELTA_BYTE_ARRAY`` most of the value before it.
    """
    size = int(group.total_byte_size)
    for chunk in map(group.column, range(group.num_columns)):
        expands = chunk.total_uncompressed_size > _EXPANDING * max(chunk.total_compressed_size, 1)
        repeats = (expands and _has_dictionary(chunk)) or "DELTA_BYTE_ARRAY" in chunk.encodings
        if repeats and chunk.physical_type == "BYTE_ARRAY":
            size += chunk.total_uncompressed_size * group.num_rows
    return size


def _is_large(kind: Any) -> bool:
    """Return whether values of a type may be images, which are read a few rows at a time."""
    return mentions_images(kind) or str(kind).endswith("binary")


def _is_parquet(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.lower().endswith(".parquet") and not name.startswith(".")


def _codec(chunk: Any) -> str:
    return "NONE" if chunk.compression == "UNCOMPRESSED" else str(chunk.compression)


def _has_dictionary(chunk: Any) -> bool:
    return any("DICTIONARY" in encoding for encoding in chunk.encodings)
