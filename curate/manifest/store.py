"""Reading and writing a manifest's files."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import ManifestError, SchemaVersionError
from curate.manifest.schema import RECORDS, VERSION, from_row, to_row

RUN = "run.json"
RECORDS_FOLDER = "records"
OTHERS = "others.jsonl"
LOG = "log.jsonl"
FILES = frozenset({RUN, OTHERS, LOG})

_BATCH = 256


def part_name(number: int) -> str:
    """File name of a shard's part of the manifest."""
    return f"part-{number:05d}.parquet"


def save_part(entries: Iterable[ManifestEntry], path: Path) -> None:
    """Write one shard's entries, sorted by id, as Parquet."""
    rows = [to_row(entry) for entry in sorted(entries, key=lambda entry: entry.id)]
    table = pa.Table.from_pylist(rows, schema=RECORDS)
    pq.write_table(table, path, compression="zstd", write_statistics=False)


def iter_parts(records: Path) -> Iterator[Path]:
    """A manifest's parts in order.

    Raises:
        ManifestError: if there is none, or one is missing between others.
    """
    paths = sorted(records.glob("part-*.parquet"), key=lambda path: (len(path.name), path.name))
    for number, path in enumerate(paths):
        if path.name != part_name(number):
            raise ManifestError(f"{records / part_name(number)} is missing")
        yield path


def iter_entries(records: Path) -> Iterator[ManifestEntry]:
    """Every entry of a manifest, streaming, in the order of ids.

    Raises:
        ManifestError: if a part is missing or cannot be read.
        SchemaVersionError: if a part was written by a newer release.
    """
    for path in iter_parts(records):
        yield from iter_part(path)


def iter_part(path: Path) -> Iterator[ManifestEntry]:
    """Every entry of one part, streaming."""
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.schema_arrow.metadata or {}
            check_version(metadata.get(b"curate_schema_version", b"?").decode(), path.name)
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    yield from_row(row)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ManifestError(f"{path} cannot be read as part of a manifest: {line}") from None


def check_version(found: Any, where: str) -> None:
    """Refuse a schema version that this release does not know.

    Raises:
        SchemaVersionError: if it is newer.
        ManifestError: if it is no version at all.
    """
    try:
        version = int(found)
    except (TypeError, ValueError):
        raise ManifestError(f"{where} does not say its schema version") from None
    if version > VERSION:
        raise SchemaVersionError(
            f"{where} has schema version {version}, this release reads up to {VERSION}; "
            "upgrade curate-dataset"
        )
    if version < 1:
        raise ManifestError(f"{where} has schema version {version}, which never was")


@dataclass(slots=True)
class Tally:
    """Counts over a run, the same whether added up at once or shard by shard."""

    images: int = 0
    written: int = 0
    withheld: int = 0
    images_with_faces: int = 0
    faces: int = 0
    routes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, entry: ManifestEntry) -> None:
        """Count one entry."""
        self.images += 1
        if entry.outcome is Outcome.WITHHELD:
            self.withheld += 1
            self.reasons[(entry.reason or "unknown").partition(":")[0]] += 1
            return
        self.written += 1
        self.faces += len(entry.faces)
        self.images_with_faces += bool(entry.faces)
        if entry.route:
            self.routes[entry.route.value] += 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values with sorted keys."""
        return {
            "images": self.images,
            "written": self.written,
            "withheld": self.withheld,
            "images_with_faces": self.images_with_faces,
            "faces": self.faces,
            "routes": dict(sorted(self.routes.items())),
            "reasons": dict(sorted(self.reasons.items())),
        }


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_parts(records: Path) -> str:
    """SHA-256 over the digests of all parts in order: one number for the whole run."""
    total = hashlib.sha256()
    for path in iter_parts(records):
        total.update(f"{path.name} {digest_file(path)}\n".encode())
    return total.hexdigest()


def digest_sources(records: Path) -> str:
    """SHA-256 over the ids and source digests of all records in order."""
    total = hashlib.sha256()
    for entry in iter_entries(records):
        total.update(f"{entry.source_sha256 or '-'}  {entry.id}\n".encode())
    return total.hexdigest()


def save_json(value: Any, path: Path) -> None:
    """Write JSON for people and programs, so that a reader sees all of it or nothing."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: if it is absent.
        ManifestError: if it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None


def load_run(manifest: Path) -> dict[str, Any]:
    """Read a manifest's ``run.json``.

    Raises:
        ManifestError: if it is absent or damaged.
        SchemaVersionError: if it was written by a newer release.
    """
    path = manifest / RUN
    try:
        run = load_json(path)
    except FileNotFoundError:
        raise ManifestError(f"{path} is missing; is this the OUT of a finished run?") from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(run, dict):
        raise ManifestError(f"{path} is not a JSON object")
    check_version(run.get("schema_version"), RUN)
    return run
