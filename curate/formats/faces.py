"""Boxes given as data: curate's own Parquet, COCO JSON, ImageNet's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.core.errors import CurateError, DataError
from curate.core.geometry import Box

Given = tuple[str, Sequence[Box]]
"""An image's id and its faces, in stored pixels; none means looked at and found none."""


def iter_given_faces(path: Path) -> Iterator[Given]:
    """Read a file of faces; its form is recognised by its content.

    Args:
        path: a Parquet table with the columns ``id`` and ``faces`` (a list of
            structs with ``xyxy``), as in a manifest's records; a COCO JSON, whose
            ``bbox`` is x, y, width, height; or the JSON that ImageNet's authors
            released, a list of ``url`` and ``bboxes`` with x0, y0, x1, y1. JSON is read
            whole, at about ten times its size in memory; a Parquet table streams.

    Raises:
        DataError: if it is none of these, or one of its boxes is not a box.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(f"the file of faces {path} cannot be read: {error.strerror}") from None
    yield from _iter_parquet(path) if magic == b"PAR1" else _iter_json(path)


def _iter_parquet(path: Path) -> Iterator[Given]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            missing = {"id", "faces"} - set(table.schema_arrow.names)
            if missing:
                raise DataError(f"{path} has no column {sorted(missing)[0]!r}; want id and faces")
            if not _has_boxes(table.schema_arrow.field("faces").type):
                raise DataError(f"{path}: its faces have no xyxy; want lists of structs with xyxy")
            columns = [n for n in ("id", "faces", "outcome") if n in table.schema_arrow.names]
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    # A withheld image, or one without a list, has not been looked at.
                    if row["faces"] is None or row.get("outcome", "written") != "written":
                        continue
                    where = f"{path}: faces of {row['id']!r}"
                    boxes = [face["xyxy"] for face in row["faces"]]
                    yield str(row["id"]), [_box(xyxy, where) for xyxy in boxes]
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a table of faces: {_line(error)}") from None


def _has_boxes(kind: Any) -> bool:
    """Whether a column's type is a list of structs with ``xyxy``, or of nothing at all."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    inner = kind.value_type
    if pa.types.is_struct(inner):
        return any(field.name == "xyxy" for field in inner)
    return bool(pa.types.is_null(inner))


def _iter_json(path: Path) -> Iterator[Given]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(
            f"{path} is neither Parquet nor JSON ({_line(error)}); "
            "give a Parquet table of faces, COCO JSON or ImageNet's JSON"
        ) from None
    try:
        if isinstance(value, Mapping) and "images" in value:
            yield from _iter_coco(value, path)
        elif isinstance(value, list) and all("url" in item and "bboxes" in item for item in value):
            yield from _iter_imagenet(value, path)
        else:
            raise DataError(
                f"{path} is no known file of faces; COCO has the keys images and annotations, "
                "ImageNet's is a list of url and bboxes"
            )
    except CurateError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a key or value is not as it should be: {_line(error)}") from None


def _iter_coco(value: Mapping[str, Any], path: Path) -> Iterator[Given]:
    names = {image["id"]: str(image["file_name"]) for image in value["images"]}
    boxes: dict[Any, list[Box]] = {key: [] for key in names}
    for number, annotation in enumerate(value["annotations"]):
        where = f"{path}: annotations[{number}]"
        if annotation["image_id"] not in boxes:
            raise DataError(f"{where} belongs to image {annotation['image_id']!r}, which is absent")
        x, y, width, height = annotation["bbox"]
        boxes[annotation["image_id"]].append(_box((x, y, x + width, y + height), where))
    for key, name in names.items():
        yield name, boxes[key]


def _iter_imagenet(value: list[Any], path: Path) -> Iterator[Given]:
    for number, item in enumerate(value):
        where = f"{path}: [{number}]"
        corners = [[box[key] for key in ("x0", "y0", "x1", "y1")] for box in item["bboxes"]]
        yield str(item["url"]), [_box(xyxy, where) for xyxy in corners]


def _box(xyxy: Sequence[Any], where: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(value) for value in xyxy)
        box = Box(x0, y0, x1, y1)
    except (DataError, TypeError, ValueError) as error:
        raise DataError(f"{where} is not a box: {_line(error)}") from None
    if box.is_empty:
        raise DataError(f"{where} is empty: {box.xyxy}")
    return box


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
