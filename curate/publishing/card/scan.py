"""Read the files beside the images and count keys that say something about people."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from curate.core.errors import DataError
from curate.layouts.annotations import has_document_type, iter_events
from curate.publishing.card import sidecars
from curate.publishing.dataset import Dataset


def iter_sidecar_counts(dataset: Dataset) -> Iterator[dict[str, dict[str, int]]]:
    """Counts by kind and key of each file that can be read; images inside it are not looked at."""
    for carried in dataset.carried():
        if carried.is_container and not carried.path.endswith(".parquet"):
            continue
        path = dataset.data / carried.path
        suffix = path.suffix.lower()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if suffix == ".json":
                yield _count_json(path)
            elif suffix in (".csv", ".tsv"):
                yield _count_csv(path)
            elif suffix == ".jsonl":
                with path.open(encoding="utf-8") as lines:
                    yield sidecars.count_keys(sidecars.iter_json_lines(lines))
            elif suffix == ".xml":
                yield _count_xml(path)
            elif suffix == ".parquet":
                yield _count_parquet(path)


def _count_json(path: Path) -> dict[str, dict[str, int]]:
    """Keys of a JSON document of any size, with values that are plain; streamed."""

    def pairs(file: Any) -> Iterator[dict[str, Any]]:
        key, floats = None, 0
        for _, event, value in iter_events(file, path.name):
            if event == "map_key":
                key, floats = value, 0
            elif event in ("string", "boolean"):
                if key is not None and value not in ("", None):
                    yield {key: value}
                key = None if floats == 0 else key
            elif event == "number":
                floats += isinstance(value, float)
                if floats == 64 and key is not None and "segment" not in key:
                    yield {key: [0.5] * 64}
                elif floats == 0 and key is not None:
                    yield {key: value}
                    key = None

    with path.open("rb") as file:
        try:
            return sidecars.count_keys(pairs(file))
        except DataError:
            return {}


def _count_csv(path: Path) -> dict[str, dict[str, int]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        try:
            rows = csv.DictReader(file, delimiter=delimiter)
            return sidecars.count_keys({str(k): v for k, v in row.items()} for row in rows)
        except csv.Error:
            return {}


def _count_xml(path: Path) -> dict[str, dict[str, int]]:
    data = path.read_bytes()[: 16 << 20]
    if has_document_type(data):
        return {}
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - entities were refused above
    except ElementTree.ParseError:
        return {}
    texts = ({item.tag: item.text.strip()} for item in root.iter() if item.text)
    return sidecars.count_keys(texts)


def _count_parquet(path: Path) -> dict[str, dict[str, int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, dict[str, int]] = {}
    try:
        with pq.ParquetFile(path) as table:
            rows = table.metadata.num_rows
            for name in table.schema_arrow.names:
                kind = sidecars.kind_of(name, None)
                if kind is not None:
                    found.setdefault(kind, {})[name] = rows
    except (pa.ArrowException, OSError):
        return {}
    return found
