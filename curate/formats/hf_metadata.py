"""The names of images in a Hugging Face folder's metadata, row by row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from curate.core.errors import DataError
from curate.formats.annotations import iter_lines, open_annotation
from curate.formats.folder import Folder

Named = tuple[str, str, Any]
"""What a message calls the row, the column, and the name that it gives."""

_BATCH = 256


def iter_file_names(folder: Folder, path: str) -> Iterator[Named]:
    """Every image that a metadata file names, in its order, streaming.

    As for the loader of `datasets`, ``file_name`` and ``…_file_name`` hold one
    name, ``file_names`` and ``…_file_names`` a list of them, at any depth.

    Args:
        folder: where the file is.
        path: the file, whose suffix tells its form.

    Raises:
        DataError: if it is malformed, or a row names no image.
    """
    for where, row in _iter_rows(folder, path):
        yield from _names_in(where, row)


def iter_described(folder: Folder, path: str) -> Iterator[tuple[Named, Mapping[str, Any]]]:
    """Every image that a metadata file names, with the row that names it.

    Args:
        folder: where the file is.
        path: the file, whose suffix tells its form.

    Raises:
        DataError: if it is malformed, or a row names no image.
    """
    for where, row in _iter_rows(folder, path):
        for named in _names_in(where, row):
            yield named, row


def _iter_rows(folder: Folder, path: str) -> Iterator[tuple[str, Any]]:
    read = {".jsonl": _iter_jsonl, ".csv": _iter_csv}.get(path[path.rfind(".") :], _iter_parquet)
    return read(folder, path)


def _names_in(where: str, row: Any) -> Iterator[Named]:
    names = list(_iter_names(row, ""))
    if not names:
        raise DataError(f"{where} has no file_name; want the path of its image there")
    for key, name in names:
        if name is not None:
            yield where, key, name


def _iter_names(value: Any, above: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _iter_names(item, f"{above}[{number}]")
        return
    for key, item in value.items() if isinstance(value, Mapping) else ():
        place = f"{above}.{key}".lstrip(".")
        if key == "file_name" or str(key).endswith("_file_name"):
            yield place, item
        elif key == "file_names" or str(key).endswith("_file_names"):
            items = item if isinstance(item, list) else [item]
            yield from ((f"{place}[{number}]", name) for number, name in enumerate(items))
        else:
            yield from _iter_names(item, place)


def _iter_jsonl(folder: Folder, path: str) -> Iterator[tuple[str, Any]]:
    with open_annotation(folder, path) as file:
        for where, line in iter_lines(file, path):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise DataError(f"{where} is not JSON; is the file cut off?") from None
            if not isinstance(row, dict):
                raise DataError(f"{where} is no JSON object")
            yield where, row


def _iter_csv(folder: Folder, path: str) -> Iterator[tuple[str, Any]]:
    with (
        open_annotation(folder, path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        table = csv.reader(text, strict=True)
        try:
            header = next(table, [])
            for row in table:
                where = f"{path}, line {table.line_num}"
                if row and len(row) != len(header):
                    raise DataError(f"{where} has {len(row)} values for {len(header)} columns")
                if row:
                    yield where, {k: v or None for k, v in zip(header, row, strict=True)}
        except (csv.Error, UnicodeDecodeError) as error:
            where = f"{path}, line {table.line_num + 1}"
            raise DataError(f"{where} is not CSV in UTF-8 ({error})") from None


def _iter_parquet(folder: Folder, path: str) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with open_annotation(folder, path) as file:
        try:
            table = pq.ParquetFile(file, pre_buffer=False)
            for batch in table.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
        except (pa.ArrowException, OSError) as error:
            line = " ".join(str(error).split())[:200]
            raise DataError(f"{path} is not a readable Parquet file ({line})") from None
