"""The table of faces that ``curate detect`` writes: one Parquet file; version 1.

Documented in ``manifests/faces-1.md``; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.documents import parse_json
from curate.core.errors import DataError, ManifestError, describe_malformed
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.manifest.run import SHAPE, check_shape
from curate.storage.parquet import iter_table_rows, open_parquet

VERSION = 1
INFO = b"curate_faces"
"""Key of the file's metadata with a JSON object: tool, recipe, models, libraries, counts."""

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
class FacesEntry:
    """The faces of one image, or why it has none.

    Sizes and boxes are in pixels of the image as stored, before EXIF orientation.

    Args:
        reason: why no detector ran to completion, or None if one did.
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


def save_faces_part(entries: Iterable[FacesEntry], path: Path) -> None:
    """Write one shard's entries, sorted by id, as a part of the table."""
    rows = [to_row(entry) for entry in sorted(entries, key=lambda entry: entry.id)]
    pq.write_table(pa.Table.from_pylist(rows, schema=FACES), path, compression="zstd")


def join_faces(parts: Iterable[Path], info: Mapping[str, Any], path: Path) -> None:
    """Join parts into one table, a row group each, with its metadata.

    Args:
        parts: files that ``save_faces_part`` wrote, in order.
        info: what was done: tool, recipe, models, libraries, source, counts.
        path: the file to write.
    """
    with pq.ParquetWriter(path, FACES, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=FACES))
        text = json.dumps({"version": VERSION, **info}, sort_keys=True, ensure_ascii=False)
        writer.add_key_value_metadata({INFO.decode(): text})


def iter_faces(path: Path) -> Iterator[FacesEntry]:
    """Iterate over the entries of a table or of a part of one.

    A row with neither faces nor a reason states nothing of its image, and is no entry.

    Raises:
        ManifestError: if it is not such a table.
    """
    try:
        for row in iter_table_rows(path, FACES.names):
            if row["faces"] is not None or row["reason"] is not None:
                yield _from_row(row)
    except (pa.ArrowException, DataError, OSError, KeyError, ValueError, TypeError) as error:
        line = describe_malformed(error)
        raise ManifestError(f"{path} cannot be read as a table of faces: {line}") from None


def load_faces_info(path: Path) -> dict[str, Any] | None:
    """Load what a table records of its run; None if it records nothing, as after editing.

    Raises:
        ManifestError: if it is not a Parquet file, or its metadata is not valid.
    """
    try:
        with open_parquet(path) as table:
            metadata = table.metadata.metadata or {}
        info = parse_json(metadata[INFO], path) if INFO in metadata else None
    except (pa.ArrowException, OSError, ValueError) as error:
        line = describe_malformed(error)
        raise ManifestError(f"{path} cannot be read as a table of faces: {line}") from None
    if info is not None and not isinstance(info, dict):
        raise ManifestError(f"{path} has metadata that is not a JSON object")
    return info


_OF_DETECTION = (
    *("detector", "detector_family", "weights_sha256", "profile", "confidence", "max_side"),
    "device",
)
_OF_REVIEW = ("id", "task", "blind", "reviewers", "journal_sha256", "states")
_MAX_LISTED = 1_000


def select_provenance(info: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Select how faces were found and reviewed from what a file of them records.

    Args:
        info: metadata of a table of faces, or the content of a ``run.json``.
        name: the file, for messages.

    Returns:
        The keys ``detectors`` and ``given_faces`` of the ``run.json`` of a run that uses them.

    Raises:
        ManifestError: if what is recorded is malformed.
    """
    try:
        earlier = info.get("given_faces") or {"reviews": []}
        recipe = earlier.get("recipe", info.get("recipe", {}))
        reviews = [*earlier["reviews"], *([info["review"]] if info.get("review") else [])]
        given = {
            "recipe": {key: recipe[key] for key in _OF_DETECTION if key in recipe},
            "reviews": [{key: each[key] for key in _OF_REVIEW} for each in reviews],
        }
        found = {"detectors": list(info.get("detectors", ())), "given_faces": given}
    except (KeyError, TypeError, AttributeError):
        raise ManifestError(f"{name}: what it records of its detector is malformed") from None
    if len(found["detectors"]) + len(reviews) > _MAX_LISTED:
        raise ManifestError(f"{name}: it records over {_MAX_LISTED:,} models and reviews")
    check_shape(found, {key: SHAPE[key] for key in found}, name)
    return found


def to_row(entry: FacesEntry) -> dict[str, Any]:
    """Return an entry as a row of the table."""
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


def _from_row(row: Mapping[str, Any]) -> FacesEntry:
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
    return FacesEntry(**{**row, "faces": faces})
