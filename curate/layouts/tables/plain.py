"""Columns with images in another form than ``{bytes, path}``: bytes, base64, lists of numbers."""

from __future__ import annotations

import binascii
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from curate import codec
from curate.layouts.files import is_image_head
from curate.layouts.sidecars.shapes import are_numbers
from curate.layouts.tables.rows import Table
from curate.storage.cells import iter_values

_EXAMINED = 4  # values of a column, and items of a list
_MAX_DEPTH = 4
_SIDE = 16  # rows and columns from which lists of numbers may be a picture

NO_IMAGES = (
    "; no other column has images, and these cannot be searched for faces: convert them to "
    "datasets.Image and save the table again"
)
"""What follows from a table whose images are all of this kind."""
LEFT_OUT = (
    ": they are not searched for faces and become null; to keep them, convert them to "
    "datasets.Image and save the table again."
)
"""What follows from other tables."""


def find_plain_images(table: Table, known: Collection[str] = ()) -> str | None:
    """Return the first column whose first values are images in another form, or None.

    These are encoded images as bytes, as base64 or as lists of bytes, at any depth, and matrices.

    Args:
        table: the table, of which the start is read.
        known: columns that are not examined.
    """
    for field in table.schema:
        kind = field.type
        is_single = pa.types.is_primitive(kind) or pa.types.is_null(kind)
        if field.name in known or is_single:
            continue
        piece = next(table.iter_slices([field.name]), None)
        first = [] if piece is None else piece.batch.column(0).drop_null()[:_EXAMINED]
        if any(map(_has_image, iter_values(first, None) if len(first) else ())):
            return str(field.name)
    return None


def describe_plain(column: str, container: str) -> str:
    """Describe in one line what `find_plain_images` found."""
    return (
        f"the column {column!r} of {container!r} holds images or matrices in another form than "
        "datasets.Image (a struct of bytes and path)"
    )


def _has_image(value: Any, depth: int = 0) -> bool:
    if isinstance(value, bytes):
        return is_image_head(value[: codec.SIGNATURE_BYTES])
    if isinstance(value, str):
        return _is_base64_image(value)
    if depth == _MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return any(_has_image(item, depth + 1) for item in value.values())
    if not isinstance(value, list) or not value:
        return False
    if are_numbers(value):
        head = value[: codec.SIGNATURE_BYTES]
        is_bytes = all(type(item) is int and 0 <= item < 256 for item in head)
        return is_bytes and is_image_head(bytes(head))
    return _is_matrix(value) or any(_has_image(item, depth + 1) for item in value[:_EXAMINED])


def _is_matrix(value: list[Any]) -> bool:
    """Return whether a list has 16 or more lists of 16 or more numbers, or of pixels."""
    first = value[0]
    if len(value) < _SIDE or not isinstance(first, list) or len(first) < _SIDE:
        return False
    pixels = first[0] if isinstance(first[0], list) else first
    return are_numbers(pixels) and all(isinstance(v, list) and len(v) == len(first) for v in value)


def _is_base64_image(text: str) -> bool:
    head = text[: 2 * codec.SIGNATURE_BYTES]
    data = "".join((head.rpartition("base64,")[2] if head.startswith("data:") else head).split())
    try:
        return is_image_head(binascii.a2b_base64(data[: len(data) // 4 * 4]))
    except ValueError:
        return False
