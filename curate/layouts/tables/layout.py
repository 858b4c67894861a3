"""What layouts have in common whose containers are tables with columns of images."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import CarriedFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.containers import ContainerLayout, LastOpened, parse_uri, split_of
from curate.layouts.tables.images import (
    check_texts,
    compact,
    read_image,
    replace_images,
    writable_schema,
)
from curate.layouts.tables.rows import Rows, Slice, Table, explain

_GROUP_BYTES = 1 << 25  # held in memory and written at a time
_ROW = re.compile(r"(\d{8})(?:/(.+))?", re.DOTALL)

Outputs = Callable[[str], bytes | None]
Edit = Callable[[Slice, Rows, Any], Any]


class TableLayout(ContainerLayout):
    """Tables with columns of images; an image's id is the table's path and the row's number.

    Where a table has several columns of images, the column's name follows. A row
    without an image is no record and stays as it is. A withheld image becomes
    null, in its row.

    Args:
        folder: where the tables are.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._opened: LastOpened[Rows] = LastOpened()

    def open_table(self, container: str) -> Table:
        """Open one container."""
        raise NotImplementedError

    def split_of(self, container: str) -> str | None:
        """The split of a container's images."""
        return split_of(container)

    def check(self) -> Iterator[str]:
        """Search all that is not an image for pictures, before anything is done."""
        for container in self.containers():
            with self._open(container) as rows:
                _check_texts(rows)
        yield from ()

    def inspect(self, container: str) -> Iterator[str]:
        """Search all that is not an image for pictures."""
        try:
            with self._open(container) as rows:
                _check_texts(rows)
        except DataError as error:
            yield str(error)

    def records(self) -> Iterator[ImageRecord]:
        """Every image, sorted by id."""
        for container in self.containers_by_id():
            with self._open(container) as rows:
                yield from rows.records()

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The other columns of each image's row; of class labels, the names."""
        for container in self.containers():
            with self._open(container) as rows:
                yield from rows.annotations(columns)

    def aliases(self) -> Iterator[tuple[str, str]]:
        """The file names that the tables keep beside the images' bytes."""
        for container in self.containers():
            with self._open(container) as rows:
                yield from rows.aliases()

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None if there is no such image."""
        container = self.container_of(record_id)
        match = _ROW.fullmatch(record_id[len(container) + 1 :]) if container else None
        if container is None or match is None:
            return None
        with explain(container, self.kind):
            return self._opened.get(container, self._load_rows).find(
                int(match.group(1)), match.group(2)
            )

    def read(self, record: ImageRecord) -> bytes:
        """The stored bytes of one image; the place in the table is kept for the next."""
        row, number, container = parse_uri(record.uri)
        with explain(container, self.kind):
            rows = self._opened.get(container, self._load_rows)
            found = rows.row(row)
            if found is None:
                raise DataError(f"{container!r} has lost rows since it was listed; put it back")
            data = read_image(found.column(rows.columns.names[number]))
        if data is None:
            raise WithheldError("external", "the table holds only its path, not its bytes")
        return data

    def size(self, record: ImageRecord) -> int | None:
        """None: only reading the table would tell."""
        return None

    def rebuild(self, container: str, outputs: Outputs, target: BinaryIO) -> Iterator[CarriedFile]:
        """Write a table anew; nothing stays behind.

        Groups of rows end where they did, and wherever a group would take more
        memory than there should be needed.
        """

        def replaced(piece: Slice, rows: Rows, schema: Any) -> Any:
            return _rebuild_slice(piece, rows, schema, outputs)

        self.rewrite(container, replaced, target)
        yield from ()

    def rewrite(self, container: str, edit: Edit, target: BinaryIO) -> None:
        """Write a table anew, slice by slice.

        Args:
            container: one of ``containers()``.
            edit: gives a record batch of the schema for each slice.
            target: where to write.
        """
        with self._open(container) as rows:
            schema = writable_schema(rows.table.schema, rows.columns)
            held: list[Any] = []
            with rows.table.open_writer(target, schema) as writer:
                for piece in rows.table.iter_slices(schema.names):
                    held.append(edit(piece, rows, schema))
                    if piece.closes or sum(batch.nbytes for batch in held) >= _GROUP_BYTES:
                        group = pa.Table.from_batches(held, schema).combine_chunks()
                        for batch in group.to_batches():
                            check_texts(batch, rows.columns, container)
                        if group.num_rows:  # readers take the first group's rows for their step
                            writer.write_table(group)
                        held = []

    @contextmanager
    def _open(self, container: str) -> Iterator[Rows]:
        with explain(container, self.kind), closing(self._load_rows(container)) as rows:
            yield rows

    def _load_rows(self, container: str) -> Rows:
        table = self.open_table(container)
        try:
            return Rows(container, table, self.split_of(container))
        except BaseException:
            table.close()
            raise


def _check_texts(rows: Rows) -> None:
    for batch in rows.table.iter_texts(rows.columns):
        check_texts(batch, rows.columns, rows.container)


def _rebuild_slice(piece: Slice, rows: Rows, schema: Any, outputs: Outputs) -> Any:
    columns = []
    for name, column in zip(piece.batch.schema.names, piece.batch.columns, strict=True):
        if name in rows.columns.names:
            ids = rows.ids_in(name, piece)
            made = [None if record_id is None else outputs(record_id) for record_id in ids]
            columns.append(replace_images(column, made))
        else:
            columns.append(compact(column))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
