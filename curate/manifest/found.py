"""The table of faces that ``curate detect`` writes: one Parquet file, with an account of its own.

Version 1. The same table, for people, is ``manifests/faces-1.md``; a test holds
the two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import ManifestError
from curate.core.faces import Face
from curate.core.geometry import Box

VERSION = 1
ACCOUNT = b"curate_faces"
"""Key of the file's metadata under which the account stands, as JSON."""

_ITEM = "element"

FACES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("category", pa.string()),
        pa.field("source_sha256", pa.string()),
        pa.field("source_bytes", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("orientation", pa.int8()),
        pa.field("reason", pa.string()),
        pa.field(
            "faces",
            pa.list_(
                pa.field(
                    _ITEM,
                    pa.struct(
                        [
                            pa.field("xyxy", pa.list_(pa.field(_ITEM, pa.float64()))),
                            pa.field("confidence", pa.float64()),
                            pa.field("detectors", pa.list_(pa.field(_ITEM, pa.string()))),
                            pa.field("decided_by", pa.string()),
                            pa.field("frames", pa.list_(pa.field(_ITEM, pa.int32()))),
                        ]
                    ),
                )
            ),
        ),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """What a detector said of one image.

    Sizes and boxes are in pixels of the image as stored, before EXIF orientation.

    Args:
        reason: why it was not looked at; None where it was.
        faces: its faces over all frames, without repetition.
    """

    id: str
    split: str | None
    category: str | None
    source_sha256: str | None
    source_bytes: int | None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    reason: str | None = None
    faces: tuple[Face, ...] = ()


def save_found(entries: Iterable[FoundEntry], path: Path) -> None:
    """Write one shard's entries, sorted by id, as a part of the table."""
    rows = [to_row(entry) for entry in sorted(entries, key=lambda entry: entry.id)]
    pq.write_table(pa.Table.from_pylist(rows, schema=FACES), path, compression="zstd")


def join_found(parts: Iterable[Path], account: Mapping[str, Any], path: Path) -> None:
    """Join parts into one table, a row group each, and add the account.

    Args:
        parts: files that ``save_found`` wrote, in order.
        account: what was done: tool, recipe, models, libraries, source, counts.
        path: the file to write.
    """
    with pq.ParquetWriter(path, FACES, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=FACES))
        text = json.dumps({"version": VERSION, **account}, sort_keys=True, ensure_ascii=False)
        writer.add_key_value_metadata({ACCOUNT.decode(): text})


def iter_found(path: Path) -> Iterator[FoundEntry]:
    """Every entry of a table or of a part of one, streaming.

    Raises:
        ManifestError: if it is no such table.
    """
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=256, columns=FACES.names):
                for row in batch.to_pylist():
                    yield _from_row(row)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        line = " ".join(str(error).split())[:200]
        raise ManifestError(f"{path} cannot be read as a table of faces: {line}") from None


def load_account(path: Path) -> dict[str, Any] | None:
    """What a table says of its making; None if it does not say, as when it was edited.

    Raises:
        ManifestError: if it is no Parquet file, or its account is not whole.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
        account = json.loads(metadata[ACCOUNT]) if ACCOUNT in metadata else None
    except (pa.ArrowException, OSError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise ManifestError(f"{path} cannot be read as a table of faces: {line}") from None
    if account is not None and not isinstance(account, dict):
        raise ManifestError(f"{path} has an account that is no object")
    return account


def to_row(entry: FoundEntry) -> dict[str, Any]:
    """An entry as a row of the table."""
    row = {name: getattr(entry, name) for name in FACES.names}
    row["faces"] = None if entry.reason is not None else [
        {
            "xyxy": list(face.box.xyxy),
            "confidence": face.confidence,
            "detectors": list(face.detectors),
            "decided_by": face.decided_by,
            "frames": list(face.frames),
        }
        for face in entry.faces
    ]  # fmt: skip
    return row


def _from_row(row: Mapping[str, Any]) -> FoundEntry:
    faces = tuple(
        Face(
            Box(*face["xyxy"]),
            face["confidence"],
            tuple(face["detectors"] or ()),
            face["decided_by"] or "person",
            tuple(face["frames"] or (0,)),
        )
        for face in row["faces"] or ()
    )
    return FoundEntry(**{**row, "faces": faces})
