"""Columns of a manifest's records, and conversion to and from entries; version 1.

Documented in ``manifests/records-1.md``; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate.core.entries import ManifestEntry, Outcome, Route, Transform
from curate.core.faces import Face
from curate.core.geometry import Box

VERSION = 1
METADATA = {"curate_schema_version": str(VERSION)}
"""The only key-value metadata of a part's Parquet file."""

# Parquet's standard name of list items: the schema that is read equals the one declared.
_ITEM = "element"
_XYXY = pa.list_(pa.field(_ITEM, pa.float64()))

FACE = pa.struct(
    [
        pa.field("xyxy", _XYXY),
        pa.field("hidden_xyxy", _XYXY),
        pa.field("confidence", pa.float64()),
        pa.field("detectors", pa.list_(pa.field(_ITEM, pa.string()))),
        pa.field("decided_by", pa.string()),
        pa.field("frames", pa.list_(pa.field(_ITEM, pa.int32()))),
    ]
)

TRANSFORM = pa.struct(
    [
        pa.field("name", pa.string()),
        pa.field("version", pa.string()),
        pa.field("parameters", pa.string()),  # canonical JSON, as methods have different parameters
    ]
)

RECORDS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("category", pa.string()),
        pa.field("source_path", pa.string(), nullable=False),
        pa.field("source_sha256", pa.string()),
        pa.field("source_bytes", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("mode", pa.string()),
        pa.field("orientation", pa.int8()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("route", pa.string()),
        pa.field("faces", pa.list_(pa.field(_ITEM, FACE)), nullable=False),
        pa.field("transforms", pa.list_(pa.field(_ITEM, TRANSFORM)), nullable=False),
        pa.field("blurred_share", pa.float64()),
        pa.field("output_path", pa.string()),
        pa.field("output_sha256", pa.string()),
        pa.field("output_bytes", pa.int64()),
        pa.field("pixels_sha256", pa.string()),
    ],
    metadata=METADATA,
)


def to_row(entry: ManifestEntry) -> dict[str, Any]:
    """Convert an entry to a row of the records table."""
    row = {name: getattr(entry, name) for name in RECORDS.names}
    row["outcome"] = entry.outcome.value
    row["route"] = entry.route.value if entry.route else None
    row["faces"] = [
        {
            "xyxy": list(face.box.xyxy),
            "hidden_xyxy": list(hidden.xyxy),
            "confidence": face.confidence,
            "detectors": list(face.detectors),
            "decided_by": face.decided_by,
            "frames": list(face.frames),
        }
        for face, hidden in zip(entry.faces, entry.hidden, strict=True)
    ]
    row["transforms"] = [
        {
            "name": transform.name,
            "version": transform.version,
            "parameters": json.dumps(
                dict(transform.parameters), sort_keys=True, separators=(",", ":")
            ),
        }
        for transform in entry.transforms
    ]
    return row


def from_row(row: Mapping[str, Any]) -> ManifestEntry:
    """Convert a row of the records table to an entry.

    Raises:
        ValueError: if it has too many faces or transforms, or a value that is not valid.
    """
    faces = row["faces"] or []
    for name, most in _MAX_ITEMS.items():
        if len(row[name] or ()) > most:
            raise ValueError(f"a row has {len(row[name]):,} {name}; at most {most:,} are read")
    plain = {name: row[name] for name in RECORDS.names if name not in _CONVERTED}
    return ManifestEntry(
        **plain,
        outcome=Outcome(row["outcome"]),
        route=Route(row["route"]) if row["route"] else None,
        faces=tuple(
            Face(
                Box(*face["xyxy"]),
                face["confidence"],
                tuple(face["detectors"]),
                face["decided_by"],
                tuple(face["frames"]),
            )
            for face in faces
        ),
        hidden=tuple(Box(*face["hidden_xyxy"]) for face in faces),
        transforms=tuple(
            Transform(step["name"], step["version"], dict(json.loads(step["parameters"])))
            for step in row["transforms"] or []
        ),
    )


_MAX_ITEMS = {"faces": 65_536, "transforms": 1000}
"""Maximum lengths of the lists of an image, whose faces are those of all frames."""
_CONVERTED = {"outcome", "route", "faces", "transforms"}
