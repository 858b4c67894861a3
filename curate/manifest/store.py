"""Load and save the files of a manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.documents import parse_json
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError, ManifestError, SchemaVersionError, describe_malformed
from curate.core.records import escape_unprintable
from curate.manifest.others import OTHERS as OTHERS
from curate.manifest.run import check_shape
from curate.manifest.schema import METADATA, RECORDS, VERSION, from_row, to_row
from curate.storage.atomic import save_text
from curate.storage.parquet import iter_table_rows, open_parquet
from curate.storage.regular import open_regular, read_regular

FILES = "files.jsonl"
"""Of a published dataset: every file with its digest."""


class HasId(Protocol):
    """A record, an entry, or anything else with the id of an image."""

    @property
    def id(self) -> str:
        """Unique in its stream."""
        ...


A = TypeVar("A", bound=HasId)
B = TypeVar("B", bound=HasId)


def join_by_id(first: Iterator[A], second: Iterator[B]) -> Iterator[tuple[A | None, B | None]]:
    """Join two streams that are sorted by id; None where one has no such image."""
    a, b = next(first, None), next(second, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.id < b.id):
            yield a, None
            a = next(first, None)
        elif a is None or b.id < a.id:
            yield None, b
            b = next(second, None)
        else:
            yield a, b
            a, b = next(first, None), next(second, None)


DATA = "data"
MANIFEST = "manifest"
"""Folders of an output: the dataset, and the account of it."""

RUN = "run.json"
RECORDS_FOLDER = "records"
LOG = "log.jsonl"
CHECKSUMS = "SHA256SUMS"
"""Digests of the files that no other digest covers; see `curate.manifest.checksums`."""
SIGNATURE = "SHA256SUMS.sig"
_MAX_RUN = 4 << 20  # bytes of run.json
_MAX_RUN_VALUES = 100_000
REMEDY = "restore it from a backup, or run the command that wrote it again"
"""What to do about a file of a manifest that cannot be read."""
_BALANCE = "balance.json"
_WORK = ".curate"
KEY = "key.txt"
"""The key of the public tier's ids; generated when it is first published."""


def find_manifest(path: Path) -> Path:
    """Return the manifest's folder of an output; another folder is returned as it is."""
    inside = path / MANIFEST
    return inside if (inside / RUN).is_file() else path


def part_name(number: int) -> str:
    """File name of a shard's part of the manifest."""
    return f"part-{number:05d}.parquet"


def part_number(name: str) -> int | None:
    """Number of the shard whose part has this file name, or None if it is not a part."""
    digits = re.fullmatch(r"part-([0-9]{5,18})\.parquet", name)
    number = int(digits[1]) if digits else None
    return number if number is not None and part_name(number) == name else None


def save_part(entries: Iterable[ManifestEntry], path: Path) -> None:
    """Write one shard's entries, sorted by id, as Parquet."""
    rows = [to_row(entry) for entry in sorted(entries, key=lambda entry: entry.id)]
    # Without the Arrow schema, which would be an opaque block of bytes in the metadata.
    with pq.ParquetWriter(
        path, RECORDS, compression="zstd", write_statistics=False, store_schema=False
    ) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=RECORDS))
        writer.add_key_value_metadata(METADATA)


def iter_parts(records: Path) -> Iterator[Path]:
    """A manifest's parts in order.

    Raises:
        ManifestError: if one is missing between others.
    """
    numbers = (part_number(path.name) for path in records.glob("part-*.parquet"))
    for expected, number in enumerate(sorted(number for number in numbers if number is not None)):
        if number != expected:
            raise ManifestError(f"{records / part_name(expected)} is missing")
        yield records / part_name(number)


def iter_entries(records: Path) -> Iterator[ManifestEntry]:
    """Iterate over the entries of a manifest, sorted by id.

    Raises:
        ManifestError: if a part is missing or cannot be read.
        SchemaVersionError: if a part was written by a newer release.
    """
    for path in iter_parts(records):
        yield from iter_part(path)


def iter_part(path: Path) -> Iterator[ManifestEntry]:
    """Iterate over the entries of one part.

    Raises:
        ManifestError: if it cannot be read, or has other columns or metadata.
        SchemaVersionError: if it was written by a newer release.
    """
    try:
        with open_regular(path) as file:
            with open_parquet(file) as table:
                _check_part(table, path.name)
            for row in iter_table_rows(file, RECORDS.names, path.name):
                yield from_row(row)
    except ManifestError:
        raise
    except (
        *(pa.ArrowException, OSError, DataError),
        *(KeyError, ValueError, TypeError, RecursionError),
    ) as error:
        line = escape_unprintable(describe_malformed(error))
        raise ManifestError(
            f"{path} cannot be read as part of a manifest: {line}; {REMEDY}"
        ) from None


def _check_part(table: pq.ParquetFile, name: str) -> None:
    """Refuse a part with other metadata or columns."""
    metadata = table.metadata.metadata or {}
    digits = metadata.get(b"curate_schema_version", b"")
    check_version(int(digits) if re.fullmatch(rb"[0-9]{1,9}", digits) else None, name)
    if set(metadata) != {key.encode() for key in METADATA}:
        raise ManifestError(f"{name} has further metadata")
    if not table.schema_arrow.equals(RECORDS):
        raise ManifestError(f"{name} does not have the columns of schema version {VERSION}")


def has_foreign_bytes(path: Path) -> bool:
    """Whether a readable part has bytes outside its columns and footer.

    A forged footer can make Arrow end the process: call this in a worker process.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        with open_parquet(file) as table:
            footer = table.metadata
        columns = sum(
            footer.row_group(row).column(column).total_compressed_size
            for row in range(footer.num_row_groups)
            for column in range(footer.num_columns)
        )
        # Two magic numbers of four bytes, and the footer's length in four.
        return bool(size != columns + footer.serialized_size + 12)


def check_version(found: Any, where: str) -> None:
    """Refuse a schema version that this release cannot read.

    Raises:
        SchemaVersionError: if it is newer.
        ManifestError: if it is not a version.
    """
    if not isinstance(found, int) or isinstance(found, bool):
        raise ManifestError(f"{where} has no schema version")
    if found > VERSION:
        raise SchemaVersionError(
            f"{where} has schema version {found}, this release reads up to {VERSION}; "
            "upgrade curate-dataset"
        )
    if found < 1:
        raise ManifestError(f"{where} has schema version {found}, which does not exist")


@dataclass(slots=True)
class Tally:
    """Counts over a run."""

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
        """Return the counts as plain values with sorted keys."""
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
    """SHA-256 of a file, in hexadecimal; raises OSError for anything but a file or link to one."""
    with open_regular(path, follow_links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_regular(path: Path) -> str:
    """SHA-256 of a regular file, in hexadecimal; raises OSError for anything else."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """SHA-256 over the paths and digests of all files below a folder, in the order of the paths."""
    total, found, waiting = hashlib.sha256(), list[Path](), [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file():
                    found.append(Path(entry.path))
    for path in sorted(found):
        name = path.relative_to(folder).as_posix()
        total.update(f"{digest_file(path)}  {name!r}\n".encode())
    return total.hexdigest()


def digest_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_parts(records: Path) -> str:
    """SHA-256 over the digests of all parts in order."""
    total = hashlib.sha256()
    for path in iter_parts(records):
        total.update(f"{path.name} {digest_regular(path)}\n".encode())
    return total.hexdigest()


def digest_sources(records: Path) -> str:
    """SHA-256 over the ids and source digests of all records in order."""
    total = hashlib.sha256()
    for entry in iter_entries(records):
        total.update(f"{entry.source_sha256 or '-'}  {entry.id}\n".encode())
    return total.hexdigest()


def save_json(value: Any, path: Path) -> None:
    """Write indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    save_text(path, text + "\n")


def load_json(path: Path) -> Any:
    """Load a JSON file.

    Raises:
        FileNotFoundError: if it is absent.
        ManifestError: if it is damaged.
    """
    try:
        return parse_json(read_regular(path, follow_links=True), path)
    except (ValueError, DataError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from None


def load_run(manifest: Path) -> dict[str, Any]:
    """Load and validate a manifest's ``run.json``.

    Raises:
        ManifestError: if it is absent, damaged or not valid.
        SchemaVersionError: if it was written by a newer release.
    """
    path = manifest / RUN
    try:
        run = parse_json(read_regular(path, max_bytes=_MAX_RUN), path.name, _MAX_RUN_VALUES)
        json.dumps(run, ensure_ascii=False, allow_nan=False).encode()
    except (FileNotFoundError, NotADirectoryError):
        raise ManifestError(describe_missing(manifest)) from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from None
    except (ValueError, RecursionError, DataError) as error:  # not JSON, not finite, not Unicode
        raise ManifestError(f"{path} cannot be read: {error}; {REMEDY}") from None
    if not isinstance(run, dict):
        raise ManifestError(f"{path} is not a JSON object")
    if "schema_version" not in run and "public_version" in run:
        raise ManifestError(describe_missing(manifest))
    check_version(run.get("schema_version"), RUN)
    check_shape(run)
    return run


def describe_missing(manifest: Path) -> str:
    """Describe a path that was given as an output but has no ``run.json`` of a run.

    Args:
        manifest: the folder in which the file was expected.
    """
    given = manifest.parent if manifest.name == MANIFEST else manifest
    inside = given / MANIFEST
    if not given.exists():
        return f"{given} does not exist; give the OUT of `curate blur`"
    if not given.is_dir():
        return f"{given} is a file; give a folder, the OUT of `curate blur`"
    if (inside / _BALANCE).is_file():
        return f"{given} is the OUT of `curate balance`; give that of `curate blur`"
    if find_public_run(given) or find_public_run(inside):
        return (
            f"{given} has the public tier of a manifest, which names no files, so that nothing can "
            "be checked or repeated with it; give the OUT that it was published from"
        )
    if given.name in (DATA, MANIFEST) and (given.parent / MANIFEST / RUN).is_file():
        return f"{given} is a part of an output; give {given.parent}"
    if (inside / RECORDS_FOLDER).is_dir():
        return f"{inside / RUN} is missing; restore it, or run `curate blur` again"
    if (given / _WORK).is_dir():
        return f"{given} is not finished; run the command that writes it again first"
    return (
        f"{given} is not an output: {MANIFEST}/{RUN} is missing; give the OUT of `curate blur`, "
        "not its SOURCE"
    )


def find_public_run(folder: Path) -> dict[str, Any] | None:
    """The ``run.json`` of a public tier, unchecked; None if a folder has no such file."""
    try:
        data = read_regular(folder / RUN, max_bytes=_MAX_RUN)
        value = parse_json(data, RUN, _MAX_RUN_VALUES)
    except (OSError, ValueError, RecursionError, DataError):
        return None
    is_public = isinstance(value, dict) and "public_version" in value
    return value if is_public and "schema_version" not in value else None
