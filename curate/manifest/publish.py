"""The public tier of a manifest, which does not link an output to a person's photo; version 1.

It has sizes, outcomes, routes and boxes of the sealed tier, without names, paths, digests of
sources and outputs (anyone with the originals can compute the outputs again), confidences,
labels and order. Ids are keyed; the key stays in the sealed tier. Documented in
``manifests/public-1.md``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import re
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core import known
from curate.core.arguments import checked
from curate.core.entries import REMOVED, SHORTAGE, SURPLUS, ManifestEntry
from curate.core.errors import WITHHELD_CODES, ManifestError, UsageError
from curate.core.geometry import Box, clip
from curate.manifest import store
from curate.manifest.checksums import update_checksums
from curate.storage.index import open_index
from curate.storage.regular import read_regular

VERSION = 1
RECORDS = "records.parquet"
GRID = 16
"""Boxes are rounded outwards to multiples of this, pixels: the blocks of JPEG masks."""
MIN_CELL = 10
"""Minimum count that is shown of a split or a class."""
_WNID = re.compile(r"n\d{8}")
_MAX_KEY = 128  # bytes

_ITEM = "element"
_BOX = pa.list_(pa.field(_ITEM, pa.int32()))
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("route", pa.string()),
        pa.field("hidden_xyxy", pa.list_(pa.field(_ITEM, _BOX)), nullable=False),
    ]
)


@checked
def publish_manifest(
    manifest: str | Path,
    target: str | Path,
    min_cell: int = MIN_CELL,
    *,
    class_names: bool = False,
) -> dict[str, Any]:
    """Write the public tier of a sealed manifest to a new folder, atomically.

    >>> curate.publish_manifest("out", "public")["counts"]["images"]   # doctest: +SKIP
    128

    Args:
        manifest: an output, or the folder of its manifest; a key is added if it has none.
        target: the folder to create.
        min_cell: minimum count that is shown of a split or a class.
        class_names: whether counts by class are shown with the names of all classes, which may
            be people; those of ImageNet (WordNet ids) always are.

    Returns:
        The content of the public ``run.json``.

    Raises:
        ManifestError: if the sealed manifest cannot be read.
        UsageError: if the target exists or is inside the sealed output.
    """
    manifest, target = store.find_manifest(Path(manifest)), Path(target)
    run = store.load_run(manifest)
    if target.exists():
        raise UsageError(f"{target} exists; give a new folder")
    if target.resolve().is_relative_to(manifest.resolve().parent):
        raise UsageError(f"{target} is inside the sealed output; choose another folder")
    key = load_key(manifest)
    partial = target.with_name(f".{target.name}.partial")
    _clear(partial)
    partial.mkdir(parents=True)
    splits, categories = _save_records(manifest, key, partial / RECORDS)
    by_class = describe_classes(categories, min_cell, class_names)
    public = _describe(run, partial / RECORDS, splits, by_class, min_cell)
    store.save_json(public, partial / store.RUN)
    partial.rename(target)
    return public


def describe_classes(
    counts: Counter[str], min_cell: int, class_names: bool
) -> dict[str, int | None] | None:
    """Return the counts of images by class; None if the classes may be people.

    Folders of a dataset of identities are named by people, so names are shown only if they are
    known classes or the user says so.

    Args:
        counts: images by class; ``-`` is none.
        min_cell: minimum count that is shown.
        class_names: whether any names may be shown.
    """
    is_known = all(name == "-" or _WNID.fullmatch(name) for name in counts)
    return suppress(counts, min_cell) if class_names or is_known else None


def load_key(manifest: Path) -> bytes:
    """Load the key of a sealed manifest; a random one is generated if it has none.

    Raises:
        ManifestError: if it is damaged.
    """
    path = manifest / store.KEY
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            text = read_regular(path, max_bytes=_MAX_KEY).decode("ascii", "replace").strip()
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
        if not re.fullmatch("[0-9a-f]{64}", text):
            raise ManifestError(
                f"{path} is not a key of 64 hexadecimal digits; restore it"
            ) from None
        return bytes.fromhex(text)
    key = secrets.token_bytes(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    if manifest.name == store.MANIFEST:
        update_checksums(manifest.parent, [f"{store.MANIFEST}/{store.KEY}"])
    return key


def keyed_id(key: bytes, record_id: str) -> str:
    """HMAC-SHA-256 of an id (RFC 2104), in hexadecimal."""
    return hmac.new(key, record_id.encode(), hashlib.sha256).hexdigest()


def round_to_grid(box: Box, width: int, height: int) -> list[int]:
    """A box rounded outwards to the grid and clipped to the image, as whole pixels."""
    low = [math.floor(value / GRID) * GRID for value in (box.x0, box.y0)]
    high = [math.ceil(value / GRID) * GRID for value in (box.x1, box.y1)]
    return [int(value) for value in clip(Box(*low, *high), width, height).xyxy]


def public_reason(reason: str) -> str:
    """Return the code of a reason, or ``other`` if it is not one of curate's own.

    Reasons come from files of faces and from labels of the dataset, too, and may name people.
    """
    code = reason.partition(":")[0]
    is_known = (
        code in WITHHELD_CODES or code in (REMOVED, SHORTAGE, SURPLUS) or _WNID.fullmatch(code)
    )
    return code if is_known else known.OTHER


def suppress(counts: Mapping[str, int], min_cell: int) -> dict[str, int | None]:
    """Suppress small counts of a known total (primary and complementary cell suppression).

    A single suppressed cell could be computed by subtraction, so the smallest of the others
    is suppressed with it.

    Returns:
        Every name with its count, or None where it is suppressed.
    """
    hidden = {name for name, count in counts.items() if count < min_cell}
    rest = sorted((count, name) for name, count in counts.items() if name not in hidden)
    while hidden and rest and (len(hidden) == 1 or sum(counts[n] for n in hidden) < min_cell):
        hidden.add(rest.pop(0)[1])
    return {name: None if name in hidden else count for name, count in sorted(counts.items())}


def _save_records(manifest: Path, key: bytes, path: Path) -> tuple[Counter[str], Counter[str]]:
    """Write the records sorted by keyed id, and count splits and categories."""
    splits: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    schema = "CREATE TABLE records (id TEXT PRIMARY KEY, row TEXT)"
    with open_index(schema=schema, what="index of records") as rows:
        for entry in store.iter_entries(manifest / store.RECORDS_FOLDER):
            row = _to_row(entry, key)
            rows.execute("INSERT INTO records VALUES (?, ?)", (row["id"], json.dumps(row)))
            splits[entry.split or "-"] += 1
            categories[entry.category or "-"] += 1
        with pq.ParquetWriter(path, SCHEMA, compression="zstd", store_schema=False) as writer:
            for batch in _iter_batches(rows):
                writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))
            writer.add_key_value_metadata({"curate_public_version": str(VERSION)})
    return splits, categories


def _iter_batches(rows: sqlite3.Connection) -> Iterator[list[dict[str, Any]]]:
    found = rows.execute("SELECT row FROM records ORDER BY id")
    while batch := found.fetchmany(4096):
        yield [json.loads(row) for (row,) in batch]


def _to_row(entry: ManifestEntry, key: bytes) -> dict[str, Any]:
    width, height = entry.width or 0, entry.height or 0
    boxes = {tuple(round_to_grid(box, width, height)) for box in entry.hidden}
    return {
        "id": keyed_id(key, entry.id),
        "width": entry.width,
        "height": entry.height,
        "outcome": entry.outcome.value,
        "reason": public_reason(entry.reason) if entry.reason else None,
        "route": entry.route.value if entry.route else None,
        "hidden_xyxy": sorted(boxes),
    }


PRIVATE = ("drop_keys", "faces_sha256", "files", "include", "positive", "weights_sha256")
"""Keys of a recipe that are digests or names of the user's files, annotations and labels; not
published."""


def _describe(
    run: Mapping[str, Any],
    records: Path,
    splits: Counter[str],
    by_class: dict[str, int | None] | None,
    min_cell: int,
) -> dict[str, Any]:
    recipe = {key: value for key, value in run["recipe"].items() if key not in PRIVATE}
    totals = {key: run["counts"][key] for key in ("images", "written", "withheld", "faces")}
    return {
        "public_version": VERSION,
        "tool": run["tool"],
        "recipe": recipe,
        "faces_given": run["recipe"].get("faces_sha256") is not None,
        **_describe_detection(run),
        "obfuscator": run["obfuscator"],
        "libraries": run["libraries"],
        "layout": run["source"]["layout"],
        "counts": totals,
        "min_cell": min_cell,
        "images_by_split": suppress(splits, min_cell),
        "images_by_category": by_class,
        "grid": GRID,
        "records_sha256": store.digest_file(records),
    }


def _describe_detection(run: Mapping[str, Any]) -> dict[str, Any]:
    """Models and reviews without digests of the user's weights and of decisions.

    What a file of faces states of them may be anything: only curate's own names are published.
    """
    given = run.get("given_faces")
    models = run["detectors"] if given is None else known.select_known_models(run["detectors"])
    is_own = any(model["package"] == "file" for model in models)
    found: dict[str, Any] = {"detectors": [] if is_own else models}
    if given is not None:
        recipe = {key: value for key, value in given["recipe"].items() if key not in PRIVATE}
        found["given_faces"] = {
            "recipe": known.select_known_recipe(recipe),
            "reviews": known.select_known_reviews(given["reviews"], run["counts"]["images"]),
        }
    return found


def _clear(folder: Path) -> None:
    for name in (RECORDS, store.RUN, f"{store.RUN}.partial"):
        (folder / name).unlink(missing_ok=True)
    if folder.exists():
        folder.rmdir()
