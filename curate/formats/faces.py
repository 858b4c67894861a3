"""Boxes given as data, whatever file they stand in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.formats.labels import LabelledBox, LabelledImage, describe, parse_box, parse_size
from curate.formats.labels_json import iter_json_labels
from curate.formats.widerface import is_widerface, iter_widerface

Given = tuple[str, Sequence[Box]]
"""An image's id and its faces, in stored pixels; none means looked at and found none."""

_START = 4096  # bytes that tell a file's form


def iter_given_faces(path: Path) -> Iterator[Given]:
    """Read the boxes of a file of faces, of whatever form; see `iter_labels`.

    Images that nobody has looked at are left out.

    Raises:
        DataError: if the file is of no known form, or one of its boxes is not a box.
    """
    for image in iter_labels(path):
        if image.faces is None:
            continue
        boxes = [face.box for face in image.faces]
        for box in boxes:
            if box.is_empty:
                raise DataError(f"{path}: a face of {image.id!r} is empty: {box.xyxy}")
        yield image.id, boxes


def iter_labels(path: Path) -> Iterator[LabelledImage]:
    """Read a file of faces; its form is recognised by its content.

    Args:
        path: a Parquet table with the columns ``id`` and ``faces`` (a list of
            structs with ``xyxy``), as in a manifest's records; a COCO JSON, whose
            ``bbox`` is x, y, width, height; the JSON that ImageNet's authors
            released, a list of ``url`` and ``bboxes`` with x0, y0, x1, y1; a JSON list
            of ``file`` and ``faces`` with ``xyxy``; or WIDER FACE's text. JSON is read
            whole, at about ten times its size in memory; the others stream.

    Raises:
        DataError: if it is none of these, or one of its boxes is not a box.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise DataError(f"the file of faces {path} cannot be read: {error.strerror}") from None
    if start.startswith(b"PAR1"):
        yield from _iter_parquet(path)
    elif is_widerface(start):
        yield from iter_widerface(path)
    else:
        yield from iter_json_labels(path)


def _iter_parquet(path: Path) -> Iterator[LabelledImage]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            missing = {"id", "faces"} - set(names)
            if missing:
                raise DataError(f"{path} has no column {sorted(missing)[0]!r}; want id and faces")
            if not _has_boxes(table.schema_arrow.field("faces").type):
                raise DataError(f"{path}: its faces have no xyxy; want lists of structs with xyxy")
            wanted = ("id", "faces", "outcome", "reason", "width", "height")
            columns = [name for name in wanted if name in names]
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    yield _parse_row(row, path)
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a table of faces: {describe(error)}") from None


def _parse_row(row: dict[str, Any], path: Path) -> LabelledImage:
    name = str(row["id"])
    # A withheld image, or one without a list, has not been looked at.
    if row["faces"] is None or row.get("outcome", "written") != "written":
        return LabelledImage(name, None, reason=str(row.get("reason") or "not looked at"))
    where = f"{path}: faces of {name!r}"
    faces = tuple(
        LabelledBox(
            parse_box(face["xyxy"], where),
            {key: value for key, value in face.items() if key != "xyxy"},
        )
        for face in row["faces"]
    )
    return LabelledImage(name, faces, parse_size(row.get("width")), parse_size(row.get("height")))


def _has_boxes(kind: Any) -> bool:
    """Whether a column's type is a list of structs with ``xyxy``, or of nothing at all."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    inner = kind.value_type
    if pa.types.is_struct(inner):
        return any(field.name == "xyxy" for field in inner)
    return bool(pa.types.is_null(inner))
