"""Layouts whose containers are tables with image columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder, check_image_size
from curate.layouts.containers import ContainerLayout, LastOpened, parse_uri, split_of
from curate.layouts.sidecars.table import limit_columns, limit_schema
from curate.layouts.sidecars.values import Limits
from curate.layouts.tables.images import (
    read_image,
    replace_images,
    writable_schema,
)
from curate.layouts.tables.plain import LEFT_OUT, NO_IMAGES, describe_plain, find_plain_images
from curate.layouts.tables.rows import Rows, Slice, Table, translate_errors

_GROUP_BYTES = 1 << 25  # bytes of a row group held in memory
_ROW = re.compile(r"(\d{8})(?:/(.+))?", re.DOTALL)

Outputs = Callable[[str], bytes | None]
Edit = Callable[[Slice, Rows, Any], Any]


class TableLayout(ContainerLayout):
    """Tables with image columns; the id of an image is the path of the table and the row number.

    In tables with several image columns, the column name is appended. A row without an image
    is not a record and is kept. A withheld image becomes null in its row.

    Args:
        folder: files of the dataset.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._opened: LastOpened[Rows] = LastOpened()

    def open_table(self, container: str) -> Table:
        """Open a container."""
        raise NotImplementedError

    def split_of(self, container: str) -> str | None:
        """Return the split of the images of a container."""
        return split_of(container)

    def check(self, strict: bool = False) -> Iterator[str]:
        """Read the schemas of all tables.

        Raises:
            DataError: if one is invalid, or there is no table with images.
        """
        yield from super().check(strict)
        has_images, plain = False, None
        for number, container in enumerate(self.containers()):
            with self._open(container) as rows:
                has_images = has_images or bool(rows.columns.names)
                if number == 0 and (column := find_plain_images(rows.table, rows.columns.names)):
                    plain = describe_plain(column, container)
        if plain is not None and not has_images:
            raise DataError(plain + NO_IMAGES)
        if plain is not None:
            yield plain + LEFT_OUT

    def inspect(self, container: str, limits: Limits | None = None) -> Iterator[str]:
        """Check all columns except image bytes against the limits."""
        limits = limits or Limits(())
        limits.open(container)
        before = limits.content.count_dropped()
        try:
            with self._open(container) as rows:
                limit_schema(rows.table.schema, limits, rows.columns.names)
                for batch in rows.table.iter_texts(rows.columns):
                    limit_columns(batch, limits, rows.columns.names)
        except DataError as error:
            yield str(error)
        if limits.content.count_dropped() > before:
            yield "its columns contain values over the limits of annotations"

    def records(self) -> Iterator[ImageRecord]:
        """Iterate over all images, sorted by id."""
        for container in self.containers_by_id():
            with self._open(container) as rows:
                yield from rows.records()

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over the other columns of the rows, with class names for class labels."""
        for container in self.containers():
            with self._open(container) as rows:
                yield from rows.annotations(columns)

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Iterate over the file names stored with the image bytes."""
        for container in self.containers():
            with self._open(container) as rows:
                yield from rows.aliases()

    def find(self, record_id: str) -> ImageRecord | None:
        """Return the record with an id, or None."""
        container = self.container_of(record_id)
        match = _ROW.fullmatch(record_id[len(container) + 1 :]) if container else None
        if container is None or match is None:
            return None
        with translate_errors(container, self.kind):
            return self._opened.get(container, self._load_rows).find(
                int(match.group(1)), match.group(2)
            )

    def read(self, record: ImageRecord) -> bytes:
        """Return the stored bytes of an image; the position in the table is cached."""
        row, number, container = parse_uri(record.uri)
        with translate_errors(container, self.kind):
            rows = self._opened.get(container, self._load_rows)
            found = rows.row(row)
            if found is None:
                raise DataError(f"{container!r} has lost rows since it was listed; restore it")
            data = read_image(found.column(rows.columns.names[number]))
        if data is None:
            raise WithheldError("external", "the table holds only its path, not its bytes")
        check_image_size(len(data))
        return data

    def size(self, record: ImageRecord) -> int | None:
        """Return None: only reading the table would tell."""
        return None

    def rebuild(
        self, container: str, outputs: Outputs, target: BinaryIO, limits: Limits | None = None
    ) -> Iterator[SidecarFile]:
        """Rewrite a table; values over the limits become null.

        Row groups end where they did, and wherever a group would exceed the memory limit.
        """

        def replaced(piece: Slice, rows: Rows, schema: Any) -> Any:
            return rebuild_slice(piece, rows, schema, outputs)

        self.rewrite(container, replaced, target, limits)
        yield from ()

    def rewrite(
        self, container: str, edit: Edit, target: BinaryIO, limits: Limits | None = None
    ) -> None:
        """Rewrite a table, slice by slice.

        Args:
            container: one of ``containers()``.
            edit: returns a record batch of the schema for each slice.
            target: file to write to.
            limits: limits on the values of the other columns.
        """
        limits = limits or Limits(())
        limits.open(container)
        with self._open(container) as rows:
            schema = limit_schema(rows.table.schema, limits, rows.columns.names)
            schema = writable_schema(schema, rows.columns)
            held: list[Any] = []
            with rows.table.open_writer(target, schema) as writer:
                for piece in rows.table.iter_slices(schema.names):
                    batch = edit(piece, rows, schema)
                    columns = limit_columns(batch, limits, rows.columns.names)
                    held.append(pa.RecordBatch.from_arrays(columns, schema=schema))
                    if piece.closes or sum(batch.nbytes for batch in held) >= _GROUP_BYTES:
                        group = pa.Table.from_batches(held, schema).combine_chunks()
                        if group.num_rows:  # readers use the size of the first group as batch size
                            writer.write_table(group)
                        held = []

    @contextmanager
    def _open(self, container: str) -> Iterator[Rows]:
        with translate_errors(container, self.kind), closing(self._load_rows(container)) as rows:
            yield rows

    def _load_rows(self, container: str) -> Rows:
        table = self.open_table(container)
        try:
            return Rows(container, table, self.split_of(container))
        except BaseException:
            table.close()
            raise


def rebuild_slice(piece: Slice, rows: Rows, schema: Any, outputs: Outputs) -> Any:
    """Return the rows of a slice with the outputs of their images; null where there is none."""
    columns = []
    for name, column in zip(piece.batch.schema.names, piece.batch.columns, strict=True):
        if name in rows.columns.names:
            ids = rows.ids_in(name, piece)
            made = [None if record_id is None else outputs(record_id) for record_id in ids]
            columns.append(replace_images(column, made))
        else:
            columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)
