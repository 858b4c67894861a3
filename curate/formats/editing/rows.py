"""Rows of tables with images: dropped with their images, repeated for the images made."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from curate.core.errors import DataError
from curate.core.ports import CarriedFile
from curate.formats import codec
from curate.formats.editing.naming import spell_suffix
from curate.formats.editing.row_values import move_row
from curate.formats.editing.values import Edits, Made
from curate.formats.image_structs import compact, replace_images
from curate.formats.table_layout import TableLayout
from curate.formats.tables import Rows, Slice

_Row = dict[str, Any]


def rebuild_table(
    source: TableLayout,
    container: str,
    edits: Edits,
    image_bytes: Callable[[str], bytes | None],
    target: BinaryIO,
    placed: Callable[[str, str], None],
) -> Iterator[CarriedFile]:
    """Write a table anew; the arguments are those of ``rebuild_edited``.

    A row all of whose images are removed goes; of the others a removed image becomes
    null. Rows without an image stay. Nothing stays behind.
    """
    editor = _RowEditor(edits, image_bytes, placed)
    source.rewrite(container, editor.edit, target)
    yield from ()


class _RowEditor:
    """Edits the slices of one table in their order."""

    def __init__(
        self,
        edits: Edits,
        image_bytes: Callable[[str], bytes | None],
        placed: Callable[[str, str], None],
    ) -> None:
        self._edits = edits
        self._image_bytes = image_bytes
        self._placed = placed
        self._written = 0  # rows

    def edit(self, piece: Slice, rows: Rows, schema: Any) -> Any:
        """The rows that take the place of a slice's."""
        names = rows.columns.names
        ids = {name: rows.ids_in(name, piece) for name in names}
        kept: list[int] = []
        order: list[tuple[bool, int]] = []  # of kept rows and of made ones
        outputs: dict[str, list[bytes | None]] = {name: [] for name in names}
        made: list[_Row] = []
        for place in range(piece.batch.num_rows):
            own = {name: each for name, found in ids.items() if (each := found[place]) is not None}
            new = list(self._iter_made(piece, place, own, rows))
            if not own or any(self._edits.is_kept(record_id) for record_id in own.values()):
                order.append((False, len(kept)))
                kept.append(place)
                for name in names:
                    outputs[name].append(self._output_of(own.get(name), name, rows))
                self._written += 1
            for row, record_id, name in new:
                order.append((True, len(made)))
                made.append(row)
                self._place(record_id, name, rows)
                self._written += 1
        stayed = _take(piece, kept, outputs, schema)
        return _merge(stayed, pa.RecordBatch.from_pylist(made, schema=schema), order, schema)

    def _iter_made(
        self, piece: Slice, place: int, own: dict[str, str], rows: Rows
    ) -> Iterator[tuple[_Row, str, str]]:
        """Rows for the images made from one row's, with the id of each and its column."""
        where = f"{rows.container}, row {piece.first + place + 1}"
        for name, record_id in own.items():
            for made in self._edits.made_from(record_id):
                if len(own) > 1:
                    raise DataError(
                        f"{where} has several images, so no image can be made from one of them "
                        "alone"
                    )
                data = self._image_bytes(made.id)
                if data is not None:
                    row = _to_values(piece, place)
                    path = (row[name] or {}).get("path")
                    image = {"bytes": data, "path": _name(path, made, data, rows.container)}
                    plain = {
                        key: value for key, value in row.items() if key not in rows.columns.names
                    }
                    yield {**row, **move_row(plain, made, where), name: image}, made.id, name

    def _output_of(self, record_id: str | None, name: str, rows: Rows) -> bytes | None:
        if record_id is None or not self._edits.is_kept(record_id):
            return None
        data = self._image_bytes(record_id)
        if data is not None:
            self._place(record_id, name, rows)
        return data

    def _place(self, record_id: str, name: str, rows: Rows) -> None:
        number = rows.columns.names.index(name)
        self._placed(record_id, rows.id_of(self._written, number))


def _to_values(piece: Slice, place: int) -> _Row:
    [row] = piece.batch.slice(place, 1).to_pylist()
    return dict(row)


def _name(path: str | None, made: Made, data: bytes, container: str) -> str | None:
    """The name of a made image after its source's, with the number that its id has."""
    if path is None:
        return None
    stem, own = posixpath.splitext(path)
    number = made.id.removeprefix(f"{container}/").partition("/")[0].partition("_aug")[2]
    suffix = codec.suffix_of_rgb(codec.sniff(data) or "")
    return f"{stem}_aug{number}{spell_suffix(own, suffix)}"


def _take(
    piece: Slice, kept: list[int], outputs: dict[str, list[bytes | None]], schema: Any
) -> Any:
    """The rows of a slice that are kept, with their images' outputs."""
    chosen = piece.batch.take(pa.array(kept, pa.int64()))
    columns = [
        replace_images(column, outputs[name]) if name in outputs else compact(column)
        for name, column in zip(chosen.schema.names, chosen.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _merge(stayed: Any, made: Any, order: list[tuple[bool, int]], schema: Any) -> Any:
    """Rows of two record batches in one order."""
    if not made.num_rows:
        return stayed
    places = [index + stayed.num_rows * is_made for is_made, index in order]
    table = pa.Table.from_batches([stayed, made], schema).take(pa.array(places, pa.int64()))
    [batch] = table.combine_chunks().to_batches()
    return batch
