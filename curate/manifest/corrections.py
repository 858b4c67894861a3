"""The manifest of a correction: ``balance.json``, and one row per record.

Version 1. The columns are documented in ``manifests/balance-1.md``; the schema of
``balance.json`` is ``manifests/balance-1.schema.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.documents import parse_json
from curate.core.errors import DataError, ManifestError, SchemaVersionError, describe_malformed
from curate.manifest import store
from curate.manifest.run import MAX_TEXT
from curate.storage.parquet import iter_table_rows, load_schema
from curate.storage.regular import open_regular, read_regular

VERSION = 1
FACTS = "balance.json"
WEIGHTS = "weights.parquet"
BEFORE, AFTER = "before.json", "after.json"
OUTCOMES = ("kept", "removed", "made")

_MAX_FACTS = 16 << 20  # bytes of balance.json
_ITEM = "element"
_TEXTS = pa.list_(pa.field(_ITEM, pa.string()))
COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("groups", _TEXTS, nullable=False),
        pa.field("labels", _TEXTS, nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("made_from", pa.string()),
        pa.field("number", pa.int32()),
        pa.field("seed", pa.int64()),
        pa.field("parameters", pa.string()),
        pa.field("affine", pa.string()),
        pa.field("source_sha256", pa.string()),
        pa.field("output_path", pa.string()),
        pa.field("output_sha256", pa.string()),
        pa.field("output_bytes", pa.int64()),
    ]
)
_METADATA = {"curate_balance_version": str(VERSION)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record, kept, removed or added.

    Args:
        id: the record's id.
        split: its split, or None.
        groups: the groups of all people in it.
        labels: its labels.
        outcome: one of `OUTCOMES`.
        reason: why it was removed or added, or None.
        weight: its weight; None if removed.
        made_from: id of the original of an added record, or None.
        number: number of the copy, from 1, or None.
        seed: random seed of its augmentation, or None.
        parameters: parameters of the augmentation as canonical JSON, or None.
        affine: affine map from the original, and sizes, as JSON, or None.
        source_sha256: digest of the original image; None if not read.
        output_path: path below ``data/``, or None.
        output_sha256: digest of the output image, or None.
        output_bytes: size of the output image, or None.
    """

    id: str
    split: str | None
    groups: tuple[str, ...]
    labels: tuple[str, ...]
    outcome: str
    reason: str | None = None
    weight: float | None = None
    made_from: str | None = None
    number: int | None = None
    seed: int | None = None
    parameters: str | None = None
    affine: str | None = None
    source_sha256: str | None = None
    output_path: str | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None


def save_rows(rows: Iterable[Row], path: Path) -> None:
    """Write one part in the given order."""
    plain = [asdict(row) for row in rows]
    with pq.ParquetWriter(
        path, COLUMNS, compression="zstd", write_statistics=False, store_schema=False
    ) as writer:
        writer.write_table(pa.Table.from_pylist(plain, schema=COLUMNS))
        writer.add_key_value_metadata(_METADATA)


def iter_rows(records: Path) -> Iterator[Row]:
    """Every row of a correction's manifest, streaming.

    Raises:
        ManifestError: if a part is missing or cannot be read.
    """
    for path in store.iter_parts(records):
        yield from iter_part(path)


def iter_part(path: Path) -> Iterator[Row]:
    """Every row of one part.

    Raises:
        ManifestError: if it cannot be read, or has other columns.
    """
    try:
        with open_regular(path) as file:
            if not load_schema(file).equals(COLUMNS):
                raise ManifestError(f"{path} has other columns than the manifest of a correction")
            for row in iter_table_rows(file, COLUMNS.names, path.name):
                yield _parse(row)
    except ManifestError:
        raise
    except DataError as error:
        raise ManifestError(str(error)) from None
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise ManifestError(
            f"{path} cannot be read as part of a manifest: {describe_malformed(error)}; "
            f"{store.REMEDY}"
        ) from None


def _parse(row: dict[str, Any]) -> Row:
    if row["outcome"] not in OUTCOMES:
        raise ManifestError(f"{row['id']!r} has the unknown outcome {row['outcome']!r}")
    return Row(**{**row, "groups": tuple(row["groups"]), "labels": tuple(row["labels"])})


def save_weights(rows: Iterable[Row], path: Path) -> None:
    """Write id, split and weight of every kept record to one file.

    Args:
        rows: rows of the manifest; removed records are skipped.
        path: the file.
    """
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("split", pa.string()),
            pa.field("weight", pa.float64(), nullable=False),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        waiting: list[dict[str, Any]] = []
        for row in rows:
            if row.weight is not None:
                waiting.append({"id": row.id, "split": row.split, "weight": row.weight})
            if len(waiting) == 8192:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema=schema))


def iter_weights(path: Path) -> Iterator[tuple[str, float]]:
    """Id and weight of every row of `save_weights`, streaming.

    Raises:
        ManifestError: if it cannot be read.
    """
    try:
        with open_regular(path) as file:
            for row in iter_table_rows(file, ["id", "weight"], path.name):
                yield row["id"], row["weight"]
    except DataError as error:
        raise ManifestError(str(error)) from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ManifestError(
            f"{path} cannot be read: {describe_malformed(error)}; {store.REMEDY}"
        ) from None


def load_facts(manifest: Path) -> dict[str, Any]:
    """Load ``balance.json``.

    Raises:
        ManifestError: if it is missing, damaged, or incomplete.
        SchemaVersionError: if it was written by a newer release.
    """
    path = manifest / FACTS
    try:
        facts: dict[str, Any] = parse_json(read_regular(path, max_bytes=_MAX_FACTS), path.name)
    except FileNotFoundError:
        raise ManifestError(f"{path} is missing; is this the OUT of curate balance?") from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}; {store.REMEDY}") from None
    except (ValueError, RecursionError, DataError) as error:
        raise ManifestError(f"{path} cannot be read: {error}; {store.REMEDY}") from None
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ManifestError(f"{path} has no schema version")
    if version > VERSION:
        raise SchemaVersionError(
            f"{path} has schema version {version}, this release reads up to {VERSION}; upgrade "
            "curate-dataset"
        )
    _check(facts, path)
    return facts


_SHAPE: dict[str, dict[str, type | tuple[type, ...]]] = {
    "tool": {"name": str, "version": str},
    "source": {
        "layout": str,
        "obfuscated": bool,
        "origin": (str, type(None)),
        "manifest_sha256": (str, type(None)),
        "sha256": str,
    },
    "counts": {"records": int, "kept": int, "removed": int, "made": int, "fixed": int},
    "others": {"carried": int, "edited": int, "rebuilt": int, "left_out": int, "sha256": str},
    "records": {"parts": int, "sha256": str},
}


def _check(facts: dict[str, Any], path: Path) -> None:
    """Check the keys that readers rely on."""
    if not isinstance(facts.get("recipe"), dict) or not isinstance(facts.get("recipe_sha256"), str):
        raise ManifestError(f"{path}: recipe or recipe_sha256 is missing")
    for name in ("report", "files"):
        if not isinstance(facts.get(name), dict):
            raise ManifestError(f"{path}: {name} is missing or of another type")
    content = facts.get("content")  # absent in manifests of earlier releases
    if "content" in facts and not (
        isinstance(content, dict)
        and all(isinstance(content.get(key), dict) for key in ("found", "dropped"))
    ):
        raise ManifestError(f"{path}: content is not an object with found and dropped")
    for name, keys in _SHAPE.items():
        inner = facts.get(name)
        for key, kind in keys.items():
            value = inner.get(key) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or key not in inner or not isinstance(value, kind):
                raise ManifestError(f"{path}: {name}.{key} is missing or of another type")
            if isinstance(value, str) and len(value) > MAX_TEXT:
                raise ManifestError(f"{path}: {name}.{key} has more than {MAX_TEXT:,} characters")
