"""Shards of a layout of rows, such as Parquet or what ``save_to_disk`` wrote."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.publishing.dataset import Dataset
from curate.publishing.hub.batches import LocalFile
from curate.publishing.hub.content import describe_file
from curate.publishing.hub.shards import (
    Shard,
    finish,
    is_finished,
    iter_numbered,
    plan_shards,
    write_parquet,
)
from curate.storage.atomic import save_text


def _open_rows(dataset: Dataset) -> dict[str, Any]:
    """The dataset as ``datasets`` reads it, by split, streaming, images as bytes."""
    import datasets

    if dataset.layout == "arrow":
        loaded = datasets.load_from_disk(str(dataset.data))
        parts = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        return dict(parts)
    from curate.publishing.publication import BUILDERS, keep_patterns

    patterns = keep_patterns(dataset)
    if patterns is None:
        raise DataError(
            f"{dataset.out}: splits share folders or files, so that load_dataset cannot tell them "
            "apart; give each split a folder of its own"
        )
    files = {s: [str(dataset.out / one) for one in found] for s, found in patterns.items()}
    builder = BUILDERS.get(dataset.layout, "imagefolder")
    datasets.disable_progress_bars()
    return dict(datasets.load_dataset(builder, data_files=files, streaming=True))


def row_features(dataset: Dataset) -> Any:
    """Features of the rows, with images as such."""
    import datasets

    first = next(iter(_open_rows(dataset).values()))
    features = first.features
    image = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    plain = {
        name: datasets.Image() if feature == image else feature
        for name, feature in features.items()
        if name not in ("__key__", "__url__")
    }
    return datasets.Features(plain)


def iter_row_shards(
    dataset: Dataset, folder: Path, watch: Callable[[str, int], None]
) -> Iterator[LocalFile]:
    """Shards of a layout of rows; whether an image is lost is known when all are written."""
    complete = folder / "complete"
    names = complete.read_text(encoding="utf-8").splitlines() if complete.is_file() else []
    if not names or not all(is_finished(folder / name) for name in names):
        complete.unlink(missing_ok=True)
        names = list(_write_row_shards(dataset, folder, watch))
        save_text(complete, "".join(f"{name}\n" for name in names))
    for name in names:
        yield describe_file(f"data/{name}", folder / name)


def _write_row_shards(
    dataset: Dataset, folder: Path, watch: Callable[[str, int], None]
) -> Iterator[str]:
    """Write every shard anew; every image in a row must be one of the manifest's."""
    import datasets

    features = row_features(dataset)
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    totals, _ = plan_shards(dataset)
    with closing(sqlite3.connect("")) as known:
        known.execute("CREATE TABLE images (sha256 TEXT PRIMARY KEY, shard INTEGER)")
        for split in totals:
            for number, item in iter_numbered(dataset, split):
                if item.is_written:
                    known.execute(
                        "INSERT OR IGNORE INTO images VALUES (?, ?)", (item.sha256, number)
                    )
        seen = [0]
        for split, rows in _open_rows(dataset).items():
            taken = _iter_checked_rows(rows, images, known, seen)
            for number, group in groupby(taken, key=lambda pair: pair[0]):
                shard = Shard(split, number, totals.get(split, 1))
                path = folder / shard.name("parquet")
                draft = path.with_name(f"{path.name}.partial")
                plain = ({name: row[name] for name in features} for _, row in group)
                write_parquet((features.encode_example(row) for row in plain), features, draft)
                finish(draft, path)
                watch(path.name, 0)
                yield path.name
    written = sum(item.is_written for item in dataset.items())
    if seen[0] != written:
        raise DataError(
            f"load_dataset reads {seen[0]:,} of the {written:,} images of {dataset.out}, so that a "
            "conversion would lose some; use --as keep"
        )


def _iter_checked_rows(
    rows: Any, images: Sequence[str], known: sqlite3.Connection, seen: list[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    import datasets

    for name in images:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    last = 0
    for row in rows:
        for name in images:
            image = row[name]
            if image is None:
                continue
            data = image.get("bytes") or Path(image["path"]).read_bytes()
            found = known.execute(
                "SELECT shard FROM images WHERE sha256 = ?", (hashlib.sha256(data).hexdigest(),)
            ).fetchone()
            if found is None:
                raise DataError(
                    f"an image of column {name!r} is not in the manifest; run `curate verify`"
                )
            last, seen[0] = max(last, found[0]), seen[0] + 1
            row[name] = {"bytes": data, "path": PurePosixPath(image.get("path") or "").name or None}
        yield last, row
