"""Rows of tables with images: dropped with their images, repeated for the images made."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from curate import codec
from curate.core.affine import Affine
from curate.core.errors import DataError
from curate.core.protocols import CarriedFile
from curate.layouts.editing.changes import Edits, Made, spell_suffix
from curate.layouts.editing.geometry import (
    find_geometry,
    move_xywh,
    parse_numbers,
    round_pixels,
    visible_share,
)
from curate.layouts.tables.images import compact, replace_images
from curate.layouts.tables.layout import TableLayout
from curate.layouts.tables.rows import Rows, Slice

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


_OBJECTS, _BOXES, _AREA = "objects", "bbox", "area"
_SLACK = 1.0  # pixels by which a box may stand over


def move_row(values: Mapping[str, Any], made: Made, where: str) -> dict[str, Any]:
    """A row's values for an image that was made from the row's own.

    Boxes in ``objects``, as ``bbox`` of x, y, width, height, are transformed; those that
    left the image go with all that is said of their objects. ``width`` and ``height``
    become those of the made image. All else stays.

    Args:
        values: by column.
        made: the image made.
        where: what a message calls the row.

    Raises:
        DataError: if another column says where something is, and the image's points
            are not where they were; names the column.
    """
    if made.is_copy:
        return dict(values)
    stated = _stated_size(values)
    affine = made.map_for(stated, where)
    moved: dict[str, Any] = {}
    for name, value in values.items():
        if name == _OBJECTS and value:
            moved[name] = _move_objects(value, affine, made, f"{where}: {name}")
        else:
            refuse_geometry(name, value, where)
            moved[name] = value
    if stated:
        for name, pixels in (("width", affine.width), ("height", affine.height)):
            moved[name] = type(values[name])(pixels)  # in a CSV it is a text
    return moved


def _stated_size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    size = [values.get(name) for name in ("width", "height")]
    if not all(type(item) is int or (isinstance(item, str) and item.isdecimal()) for item in size):
        return None
    width, height = (int(str(item)) for item in size)
    return width, height


def _move_objects(value: Any, affine: Affine, made: Made, where: str) -> Any:
    if isinstance(value, list):
        objects = [
            _move_object(item, affine, made, f"{where}[{n}]") for n, item in enumerate(value)
        ]
        return [item for item in objects if item is not None]
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is neither a list nor an object, so it cannot be transformed")
    counts = {len(item) for item in value.values() if isinstance(item, list)}
    if len(counts) != 1 or not all(isinstance(item, list) for item in value.values()):
        raise DataError(f"{where} has lists of different lengths, so it cannot be transformed")
    single = [
        _move_object({key: item[n] for key, item in value.items()}, affine, made, f"{where}[{n}]")
        for n in range(counts.pop())
    ]
    return {key: [item[key] for item in single if item is not None] for key in value}


def _move_object(value: Any, affine: Affine, made: Made, where: str) -> dict[str, Any] | None:
    """What is said of one object, or None if it left the image."""
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is no object, so it cannot be transformed")
    for name, item in value.items():
        if name != _BOXES:
            refuse_geometry(name, item, where)
    if value.get(_BOXES) is None:
        return dict(value)
    box = parse_numbers(value[_BOXES], f"{where}.{_BOXES}", 4)
    longest = max(made.width, made.height) + _SLACK
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
    """A number of the kind that stood there: a column of Parquet has one kind."""
    return round(new) if isinstance(old, int) else float(new)


def refuse_geometry(name: str, value: Any, where: str) -> None:
    """Make sure that a field does not say where something is in an image.

    Raises:
        DataError: if it seems to, at any depth.
    """
    for place in _iter_geometry(name, value):
        raise DataError(
            f"{where}: the column {place!r} seems to say where something is in the image, which "
            "cannot be transformed; remove it, or use an augmentation that moves nothing, such as "
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
