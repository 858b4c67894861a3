"""Whether a file beside the images may go to the output as it is.

Annotations are text or tables. A file that holds pictures in another form
(a renamed photo, LabelMe's ``imageData``, a Parquet column of bytes) would carry
faces past the detector, so it stays behind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_PATTERN = (
    r"(?:^|[^A-Za-z0-9+/_-])(?:[/_]9j[/_]|iVBORw0KGgo|R0lGOD|UklGR|SUkqA|TU0AK|Qk[0-3])"
    r"[A-Za-z0-9+/_\\\s-]{200}"
)
"""JPEG, PNG, GIF, WebP, TIFF or BMP in base64, in one piece or in lines."""

_BASE64_PICTURE = re.compile(_PATTERN.encode())
_CHUNK = 1 << 20
_OVERLAP = 512


def find_pictures(path: Path) -> str | None:
    """Say why a file may hold pictures, or None if it holds none.

    Args:
        path: a file whose suffix is on the allow-list of annotations.

    Returns:
        One line for a person, or None.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _find_in_parquet(path)
        return _find_in_text(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _find_in_text(path: Path) -> str | None:
    tail = b""
    with path.open("rb") as file:
        head = file.read(4)
        utf16 = head[:2] in (b"\xff\xfe", b"\xfe\xff")
        file.seek(0)
        while chunk := file.read(_CHUNK):
            if utf16:
                chunk = chunk.replace(b"\0", b"")
            if b"\0" in chunk:
                return "it is not text"
            if _BASE64_PICTURE.search(tail + chunk):
                return "it holds a picture in base64"
            tail = chunk[-_OVERLAP:]
    return None


def _find_in_parquet(path: Path) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return "it is not a readable Parquet file"
    names = [field.name for field in schema if _holds_bytes(field.type)]
    if names:
        return f"its column {names[0]!r} holds bytes"
    return _find_in_strings(path)


def _find_in_strings(path: Path) -> str | None:
    """Search the values of a Parquet file as text, whatever columns they stand in."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=1024):
            if _BASE64_PICTURE.search(repr(batch.to_pylist()).encode()):
                return "it holds a picture in base64"
    return None


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
