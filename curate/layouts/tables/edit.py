"""Editing of tables: rows are removed and added with their images."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from curate import codec
from curate.core.affine import Affine
from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.layouts.editing.changes import Edits, GeneratedImage, spell_suffix
from curate.layouts.editing.geometry import (
    find_geometry,
    move_xywh,
    parse_numbers,
    round_pixels,
    visible_share,
)
from curate.layouts.sidecars.values import Limits
from curate.layouts.tables.images import replace_images
from curate.layouts.tables.layout import TableLayout, rebuild_slice
from curate.layouts.tables.rows import Rows, Slice
from curate.storage.cells import iter_values

_Row = dict[str, Any]


def rebuild_table(
    source: TableLayout,
    container: str,
    edits: Edits,
    image_bytes: Callable[[str], bytes | None],
    target: BinaryIO,
    on_written: Callable[[str, str], None],
    limits: Limits,
) -> Iterator[SidecarFile]:
    """Rewrite a table; for the arguments see `curate.layouts.editing.rebuild_edited`.

    A row whose images are all removed is removed; otherwise a removed image becomes null.
    Rows without an image are kept. Nothing is left out.
    """
    editor = _RowEditor(edits, image_bytes, on_written)
    source.rewrite(container, editor.edit, target, limits)
    yield from ()


def rebuild_without(
    source: TableLayout,
    container: str,
    outputs: Callable[[str], bytes | None],
    withdrawn: Collection[str],
    target: BinaryIO,
    limits: Limits,
) -> None:
    """Rewrite a table like `TableLayout.rebuild`, and empty the rows of withdrawn images.

    Rows stay where they are, because ids of images are numbers of rows. A row whose images are
    all withdrawn has null in every column that may have it.

    Args:
        source: the dataset.
        container: path of the table.
        outputs: bytes of an image by id, or None if it is not in the output.
        withdrawn: ids of images.
        target: file to write to.
        limits: limits on the values of the other columns.
    """

    def emptied(piece: Slice, rows: Rows, schema: Any) -> Any:
        batch = rebuild_slice(piece, rows, schema, outputs)
        columns = [rows.ids_in(name, piece) for name in rows.columns.names]
        order: list[int | None] = []
        for index, present in enumerate(zip(*columns, strict=True)):
            ids = {rows.id_of(piece.first + index, number) for number in range(len(present))}
            is_empty = not ids.isdisjoint(withdrawn) and not {*present} - {None, *withdrawn}
            order.append(None if is_empty else index)
        if None not in order:
            return batch
        taken = pa.array(order, pa.int64())
        arrays = [
            column.take(taken) if each.nullable else column
            for each, column in zip(schema, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    source.rewrite(container, emptied, target, limits)


class _RowEditor:
    """Editor of the slices of a table, in order."""

    def __init__(
        self,
        edits: Edits,
        image_bytes: Callable[[str], bytes | None],
        on_written: Callable[[str, str], None],
    ) -> None:
        self._edits = edits
        self._image_bytes = image_bytes
        self._on_written = on_written
        self._written = 0  # rows

    def edit(self, piece: Slice, rows: Rows, schema: Any) -> Any:
        """Return the rows that replace a slice."""
        names = rows.columns.names
        ids = {name: rows.ids_in(name, piece) for name in names}
        kept: list[int] = []
        order: list[tuple[bool, int]] = []  # of kept rows and of generated ones
        outputs: dict[str, list[bytes | None]] = {name: [] for name in names}
        generated: list[_Row] = []
        for index in range(piece.batch.num_rows):
            own = {name: each for name, found in ids.items() if (each := found[index]) is not None}
            new = list(self._iter_generated(piece, index, own, rows))
            if not own or any(self._edits.is_kept(record_id) for record_id in own.values()):
                order.append((False, len(kept)))
                kept.append(index)
                for name in names:
                    outputs[name].append(self._output_of(own.get(name), name, rows))
                self._written += 1
            for row, record_id, name in new:
                order.append((True, len(generated)))
                generated.append(row)
                self._record_row(record_id, name, rows)
                self._written += 1
        stayed = _take(piece, kept, outputs, schema)
        return _merge(stayed, pa.RecordBatch.from_pylist(generated, schema=schema), order, schema)

    def _iter_generated(
        self, piece: Slice, index: int, own: dict[str, str], rows: Rows
    ) -> Iterator[tuple[_Row, str, str]]:
        """Iterate over the rows of images generated from a row, with id and column."""
        where = f"{rows.container}, row {piece.first + index + 1}"
        for name, record_id in own.items():
            for generated in self._edits.generated_from(record_id):
                if len(own) > 1:
                    raise DataError(
                        f"{where} has several images, so no image can be generated from one of "
                        "them alone"
                    )
                data = self._image_bytes(generated.id)
                if data is not None:
                    row = _to_values(piece, index)
                    path = (row[name] or {}).get("path")
                    image = {"bytes": data, "path": _name(path, generated, data, rows.container)}
                    plain = {
                        key: value for key, value in row.items() if key not in rows.columns.names
                    }
                    yield (
                        {**row, **move_row(plain, generated, where), name: image},
                        generated.id,
                        name,
                    )

    def _output_of(self, record_id: str | None, name: str, rows: Rows) -> bytes | None:
        if record_id is None or not self._edits.is_kept(record_id):
            return None
        data = self._image_bytes(record_id)
        if data is not None:
            self._record_row(record_id, name, rows)
        return data

    def _record_row(self, record_id: str, name: str, rows: Rows) -> None:
        number = rows.columns.names.index(name)
        self._on_written(record_id, rows.id_of(self._written, number))


def _to_values(piece: Slice, index: int) -> _Row:
    row = piece.batch.slice(index, 1)
    return {name: next(iter_values(row.column(name), None)) for name in row.schema.names}


def _name(path: str | None, generated: GeneratedImage, data: bytes, container: str) -> str | None:
    """Return the file name of a generated image: that of its source and the number in its id."""
    if path is None:
        return None
    stem, own = posixpath.splitext(path)
    number = generated.id.removeprefix(f"{container}/").partition("/")[0].partition("_aug")[2]
    suffix = codec.suffix_of_rgb(codec.sniff(data) or "")
    return f"{stem}_aug{number}{spell_suffix(own, suffix)}"


def _take(
    piece: Slice, kept: list[int], outputs: dict[str, list[bytes | None]], schema: Any
) -> Any:
    """Return the kept rows of a slice with the outputs of their images."""
    chosen = piece.batch.take(pa.array(kept, pa.int64()))
    columns = [
        replace_images(column, outputs[name]) if name in outputs else column
        for name, column in zip(chosen.schema.names, chosen.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _merge(stayed: Any, generated: Any, order: list[tuple[bool, int]], schema: Any) -> Any:
    """Merge the rows of two record batches in an order."""
    if not generated.num_rows:
        return stayed
    indices = [index + stayed.num_rows * is_made for is_made, index in order]
    table = pa.Table.from_batches([stayed, generated], schema).take(pa.array(indices, pa.int64()))
    [batch] = table.combine_chunks().to_batches()
    return batch


_OBJECTS, _BOXES, _AREA = "objects", "bbox", "area"
_TOLERANCE = 1.0  # pixels by which a box may exceed the image


def move_row(values: Mapping[str, Any], generated: GeneratedImage, where: str) -> dict[str, Any]:
    """Return the values of a row for a generated image.

    Boxes in ``objects``, as ``bbox`` of x, y, width, height, are transformed; objects that
    left the image are removed. ``width`` and ``height`` become those of the generated image.
    Other values are kept.

    Args:
        values: values by column.
        generated: the generated image.
        where: name of the row in messages.

    Raises:
        DataError: if another column contains coordinates and the geometry has changed.
    """
    if generated.is_copy:
        return dict(values)
    stated = _stated_size(values)
    affine = generated.map_for(stated, where)
    moved: dict[str, Any] = {}
    for name, value in values.items():
        if name == _OBJECTS and value:
            moved[name] = _move_objects(value, affine, generated, f"{where}: {name}")
        else:
            refuse_geometry(name, value, where)
            moved[name] = value
    if stated:
        for name, pixels in (("width", affine.width), ("height", affine.height)):
            moved[name] = type(values[name])(pixels)  # a string in a CSV file
    return moved


def _stated_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    size = [values.get(name) for name in ("width", "height")]
    if not all(type(item) is int or (isinstance(item, str) and item.isdecimal()) for item in size):
        return None
    width, height = (int(str(item)) for item in size)
    return width, height


def _move_objects(value: Any, affine: Affine, generated: GeneratedImage, where: str) -> Any:
    if isinstance(value, list):
        objects = [
            _move_object(item, affine, generated, f"{where}[{n}]") for n, item in enumerate(value)
        ]
        return [item for item in objects if item is not None]
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is neither a list nor an object, so it cannot be transformed")
    counts = {len(item) for item in value.values() if isinstance(item, list)}
    if len(counts) != 1 or not all(isinstance(item, list) for item in value.values()):
        raise DataError(f"{where} has lists of different lengths, so it cannot be transformed")
    single = [
        _move_object(
            {key: item[n] for key, item in value.items()}, affine, generated, f"{where}[{n}]"
        )
        for n in range(counts.pop())
    ]
    return {key: [item[key] for item in single if item is not None] for key in value}


def _move_object(
    value: Any, affine: Affine, generated: GeneratedImage, where: str
) -> dict[str, Any] | None:
    """Return the values of an object, or None if it left the image."""
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is not an object, so it cannot be transformed")
    for name, item in value.items():
        if name != _BOXES:
            refuse_geometry(name, item, where)
    if value.get(_BOXES) is None:
        return dict(value)
    box = parse_numbers(value[_BOXES], f"{where}.{_BOXES}", 4)
    longest = max(generated.width, generated.height) + _TOLERANCE
    if max(box[0] + box[2], box[1] + box[3]) > longest:
        raise DataError(
            f"{where}.{_BOXES} does not lie in its image as x, y, width, height in pixels, "
            "so it cannot be transformed"
        )
    moved = move_xywh(box, affine, f"{where}.{_BOXES}")
    if moved is None:
        return None
    kept = dict(value) | {_BOXES: [_like(new, old) for new, old in zip(moved, box, strict=True)]}
    area = value.get(_AREA)
    if isinstance(area, int | float):
        kept[_AREA] = _like(round_pixels(area * visible_share(box, affine)), area)
    return kept


def _like(new: float, old: float) -> float:
    """Convert a number to the type of the old one: a Parquet column has one type."""
    return round(new) if isinstance(old, int) else float(new)


def refuse_geometry(name: str, value: Any, where: str) -> None:
    """Refuse a field that seems to contain coordinates.

    Raises:
        DataError: if it does, at any depth.
    """
    for column in _iter_geometry(name, value):
        raise DataError(
            f"{where}: the column {column!r} seems to contain coordinates, which cannot be "
            "transformed; remove it, or use an augmentation that keeps the geometry, such as "
            "photometric"
        )


def _iter_geometry(name: str, value: Any) -> Iterator[str]:
    if find_geometry(name.rpartition(".")[2], value):
        yield name
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _iter_geometry(f"{name}.{key}", item)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for item in value:
            yield from _iter_geometry(name, item)
