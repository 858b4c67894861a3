"""Image columns of Arrow tables: structs of ``{bytes, path}``, as in `datasets` and the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate.core.errors import DataError

_FEATURES = b"huggingface"
_MAX_NAME = 255  # bytes, the limit of file systems


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """Image and label columns of a schema.

    Args:
        names: image columns, sorted by bytes.
        label: column of class labels, or None.
        classes: class names by number.
    """

    names: tuple[str, ...]
    label: str | None = None
    classes: tuple[str, ...] = ()

    def category(self, number: Any) -> str | None:
        """Return the name of a class by its number, or None."""
        known = type(number) is int and 0 <= number < len(self.classes)
        return self.classes[number] if known else None


def is_image_struct(kind: Any) -> bool:
    """Return whether a column of this type may contain images."""
    if not pa.types.is_struct(kind) or kind.num_fields != 2:
        return False
    types = {field.name: field.type for field in kind}
    return (
        set(types) == {"bytes", "path"}
        and types["bytes"] in (pa.binary(), pa.large_binary())
        and types["path"] in (pa.string(), pa.large_string(), pa.null())  # null: no row has one
    )


def mentions_images(kind: Any) -> bool:
    """Return whether a type contains an image struct at any depth, e.g. in a list."""
    if is_image_struct(kind):
        return True
    nested = pa.types.is_nested(kind)
    return nested and any(mentions_images(kind.field(i).type) for i in range(kind.num_fields))


def parse_columns(schema: Any, table: str) -> ImageColumns:
    """Find the image and label columns of a schema.

    Args:
        schema: Arrow schema of the table.
        table: path of the table, for messages.

    Raises:
        DataError: if another column may contain images, or a name is not a file name.
    """
    features = _load_features(schema)
    if len(set(schema.names)) < len(schema.names):
        raise DataError(f"{table!r} has duplicate column names; rename one")
    names = []
    for field in schema:
        stated = features.get(field.name, {}).get("_type", "Image")
        if is_image_struct(field.type) and stated == "Image":
            names.append(field.name)
        elif mentions_images(field.type):
            what = "lists of images" if stated in ("Image", "List", "Sequence") else stated
            raise DataError(
                f"the column {field.name!r} of {table!r} holds {what}, which cannot be searched "
                "for faces; give each image a column of its own, or remove it"
            )
    _check_names(names, table)
    labels = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    label = "label" if "label" in labels else next(iter(labels), None)
    return ImageColumns(
        tuple(sorted(names, key=str.encode)), label, _parse_classes(features, label, table)
    )


def _parse_classes(
    features: Mapping[str, dict[str, Any]], label: str | None, table: str
) -> tuple[str, ...]:
    names = features[label].get("names") or [] if label else []
    try:
        "".join(names).encode()
    except (TypeError, UnicodeEncodeError):
        raise DataError(f"the class names of {table!r} are not a list of strings") from None
    return tuple(names)


def load_classes(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return the class names of all columns of class labels."""
    return {
        name: tuple(map(str, feature.get("names") or ()))
        for name, feature in _load_features(schema).items()
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }


def _load_features(schema: Any) -> dict[str, dict[str, Any]]:
    try:
        features = json.loads((schema.metadata or {})[_FEATURES])["info"]["features"]
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # the types alone are sufficient


def _check_names(names: Sequence[str], table: str) -> None:
    for name in names if len(names) > 1 else ():
        plain = name not in ("", ".", "..") and "/" not in name and "\0" not in name
        if not plain or len(name.encode()) > _MAX_NAME:
            raise DataError(f"the column {name!r} of {table!r} is not a valid file name; rename it")


def find_images(column: Any) -> list[bool]:
    """Return for each row of an image column whether it has bytes or a path."""
    import pyarrow.compute as pc  # on demand: it is slow to import

    found = pc.or_(*(pc.is_valid(pc.struct_field(column, name)) for name in ("bytes", "path")))
    return list(found.to_pylist())


def find_paths(column: Any) -> list[str]:
    """Return the path in each row of an image column; empty if missing."""
    import pyarrow.compute as pc  # on demand: it is slow to import

    return [path or "" for path in pc.struct_field(column, "path").to_pylist()]


def read_image(column: Any) -> bytes | None:
    """Return the image bytes in the first row of a column, or None."""
    import pyarrow.compute as pc  # on demand: it is slow to import

    data = pc.struct_field(column, "bytes")[0].as_py()
    return None if data is None else bytes(data)


def writable_schema(schema: Any, columns: ImageColumns) -> Any:
    """Return a schema in which withheld images can be null."""
    fields = [
        pa.field(
            field.name,
            pa.struct([child.with_nullable(True) for child in field.type]),
            metadata=field.metadata,
        )
        if field.name in columns.names
        else field
        for field in schema
    ]
    return pa.schema(fields, schema.metadata)


def replace_images(column: Any, outputs: Sequence[bytes | None]) -> Any:
    """Replace the bytes of an image column; withheld images become null.

    Args:
        column: image column with n rows.
        outputs: n outputs; None where the image is withheld or missing.
    """
    import pyarrow.compute as pc  # on demand: it is slow to import

    is_image = np.array(find_images(column), dtype=bool)
    withheld = is_image & np.array([output is None for output in outputs], dtype=bool)
    paths = pc.if_else(pa.array(~withheld), pc.struct_field(column, "path"), None)
    children = {"bytes": outputs, "path": paths}
    fields = [child.with_nullable(True) for child in column.type]
    arrays = [
        pa.array(outputs, type=child.type)
        if child.name == "bytes"
        else children["path"].cast(child.type)
        for child in fields
    ]
    mask = pc.or_(column.is_null(), pa.array(withheld))
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=mask)
