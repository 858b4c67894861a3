"""Hugging Face image folder: images with ``metadata.jsonl``, ``.csv`` or ``.parquet``."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError, one_line
from curate.layouts.access.folder import Folder
from curate.layouts.access.tree import describe_pointer
from curate.layouts.annotations import (
    Problems,
    iter_stored_lines,
    open_annotation,
    read_head,
    resolve,
)
from curate.layouts.containers import iter_listed_folders
from curate.layouts.files import not_recognized
from curate.layouts.imagefolder import ImageFolder
from curate.layouts.sidecars.text import fit_row
from curate.storage.index import NameIndex

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


class HfFolder(ImageFolder):
    """Images with ``metadata`` files, as the ``imagefolder`` loader of `datasets` reads them.

    A ``metadata`` file describes the images in its folder and below. Split and category
    are given by the folders, never by a column.
    """

    layout = "hf_folder"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for a metadata file with file names in SOURCE and its first folders."""
        for parent, names in iter_listed_folders(folder):
            for name in NAMES:
                if name in names and _has_file_names(folder, f"{parent}{name}"):
                    return f"{parent}{name}"
        return None

    def _divide(self, path: str) -> tuple[str | None, list[str]]:
        """Ignore a leading ``data/``."""
        return super()._divide(path.removeprefix("data/"))

    def format_of(self, path: str) -> str:
        """Return the format of a metadata file."""
        name = PurePosixPath(path)
        return name.suffix[1:] if name.name in NAMES else ""

    def check(self, strict: bool = False) -> Iterator[str]:
        """Look for all images that the metadata names.

        Raises:
            DataError: if there is no metadata file, or ``strict`` and one is malformed, or
                names an image outside its folder.
        """
        yield from super().check(strict)
        names, problems, tables = NameIndex(), Problems(), 0
        for info in self.folder.files():
            if PurePosixPath(info.path).name in NAMES:
                tables += 1
                with problems.collect(info.path):
                    self._check_metadata(info.path, names, problems)
            elif self._is_image(info):
                names.add("there", info.path)
        if not tables:
            raise not_recognized(self.folder, " or ".join(NAMES), "hf_folder")
        yield from problems.report(strict)
        yield from names.iter_unmatched(
            ("there", "named", "images are not listed in any metadata file"),
            ("named", "there", "images named in the metadata but missing"),
            ("repeated", "", "images are named by several rows"),
        )
        names.close()

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over the rows of the metadata, once per image that they name.

        Raises:
            DataError: if a metadata file is malformed.
        """
        for info in self.folder.files():
            if PurePosixPath(info.path).name in NAMES:
                base = posixpath.dirname(info.path)
                for (where, key, name), row in iter_described(self.folder, info.path):
                    yield resolve(base, name, f"{where}: {key}"), row

    def _check_metadata(self, path: str, names: NameIndex, problems: Problems) -> None:
        base = posixpath.dirname(path)
        for row in iter_metadata(self.folder, path):
            with problems.collect(path):
                for key, name in find_names(row.values or {}, row.where) if row.values else ():
                    if name is not None:
                        image = resolve(base, name, f"{row.where}: {key}")
                        # Rows may share additional images, as pairs of images do.
                        if not names.add("named", image) and key == "file_name":
                            names.add("repeated", image)


def _has_file_names(folder: Folder, path: str) -> bool:
    if path.endswith(".parquet"):
        return True  # column names are at its end; no other layout has a file of this name
    head = read_head(folder, path)
    return b"file_name" in head or describe_pointer(head) is not None


Named = tuple[str, str, Any]
"""Name of a row in messages, column, and the file name in it."""

_BATCH = 256
_MAX_TEXT = 1 << 20  # bytes of a value of a Parquet file
_MAX_FIELD = 1 << 24  # characters of a CSV field; the default limit is 131,072


@dataclass(frozen=True, slots=True)
class Row:
    """Row of a metadata file.

    Args:
        where: name of the row in messages.
        values: values by column; None for lines that are not rows, such as the header.
        stored: bytes of the row in the file; empty for Parquet.
    """

    where: str
    values: dict[str, Any] | None
    stored: bytes


def iter_described(folder: Folder, path: str) -> Iterator[tuple[Named, Mapping[str, Any]]]:
    """Iterate over the images that a metadata file names, with their rows.

    Args:
        folder: files of the dataset.
        path: path of the file; its suffix determines its format.

    Raises:
        DataError: if it is malformed, or a row names no image.
    """
    for row in iter_metadata(folder, path):
        if row.values is not None:
            for key, name in find_names(row.values, row.where):
                if name is not None:
                    yield (row.where, key, name), row.values


def iter_metadata(folder: Folder, path: str) -> Iterator[Row]:
    """Iterate over the rows of a metadata file in any format.

    Raises:
        DataError: if it is malformed.
    """
    yield from _iter_parquet(folder, path) if path.endswith(".parquet") else iter_rows(folder, path)


def find_names(values: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    """Return the columns of a row that name images, with the names.

    Raises:
        DataError: if there are none.
    """
    names = list(_iter_names(values, ""))
    if not names:
        raise DataError(f"{where} has no file_name; expected the path of its image there")
    return names


def iter_rows(folder: Folder, path: str) -> Iterator[Row]:
    """Iterate over the rows of a ``.jsonl`` or ``.csv`` file, and the lines between them.

    Raises:
        DataError: if it is malformed.
    """
    yield from _iter_csv(folder, path) if path.endswith(".csv") else _iter_jsonl(folder, path)


def _iter_names(value: Any, above: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _iter_names(item, f"{above}[{number}]")
        return
    for key, item in value.items() if isinstance(value, Mapping) else ():
        key_path = f"{above}.{key}".lstrip(".")
        if key == "file_name" or str(key).endswith("_file_name"):
            yield key_path, item
        elif key == "file_names" or str(key).endswith("_file_names"):
            items = item if isinstance(item, list) else [item]
            yield from ((f"{key_path}[{number}]", name) for number, name in enumerate(items))
        else:
            yield from _iter_names(item, key_path)


def _iter_jsonl(folder: Folder, path: str) -> Iterator[Row]:
    with open_annotation(folder, path) as file:
        for where, line, stored in iter_stored_lines(file, path):
            if not line.strip():
                yield Row(where, None, stored)
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise DataError(f"{where} is not valid JSON; the file may be truncated") from None
            if not isinstance(row, dict):
                raise DataError(f"{where} is not a JSON object")
            yield Row(where, row, stored)


def _iter_csv(folder: Folder, path: str) -> Iterator[Row]:
    with open_annotation(folder, path) as file:
        read: list[bytes] = []

        def lines() -> Iterator[str]:
            for _, text, stored in iter_stored_lines(file, path):
                read.append(stored)
                yield text

        csv.field_size_limit(_MAX_FIELD)
        table = csv.reader(lines(), strict=True)
        try:
            header = next(table, [])
            yield Row(f"{path}, line 1", None, b"".join(read))
            read.clear()
            for row in table:
                where = f"{path}, line {table.line_num}"
                row = fit_row(row, len(header), where)
                values = {k: v or None for k, v in zip(header, row, strict=True)} if row else None
                yield Row(where, values, b"".join(read))
                read.clear()
        except csv.Error as error:
            where = f"{path}, line {table.line_num + 1}"
            raise DataError(f"{where} is not CSV in UTF-8 ({error})") from None


def iter_batches(folder: Folder, path: str) -> Iterator[tuple[Any, Any, list[Row]]]:
    """Iterate over batches of a ``.parquet`` file: schema, record batch, rows.

    A file without rows gives one empty batch.

    Raises:
        DataError: if it cannot be read.
    """
    import pyarrow as pa

    from curate.storage.cells import check_cells, iter_portions
    from curate.storage.parquet import check_chunks, check_texts, load_parquet

    number = 0
    with open_annotation(folder, path) as file:
        try:
            table = load_parquet(file)
            schema = table.schema_arrow
            size = check_chunks(table.metadata, frozenset(schema.names), path)
            check_texts(file, schema.names, path, _MAX_TEXT)
            if not table.metadata.num_rows:
                yield schema, pa.RecordBatch.from_pylist([], schema=schema), []
            batches = table.iter_batches(min(_BATCH, size), use_threads=False)
            for batch in chain.from_iterable(map(iter_portions, batches)):
                for column, label in zip(batch.columns, schema.names, strict=True):
                    check_cells(column, label, path)
                locations = (f"{path}, row {number + index + 1}" for index in range(batch.num_rows))
                values = zip(locations, batch.to_pylist(), strict=True)
                yield schema, batch, [Row(where, row, b"") for where, row in values]
                number += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            line = one_line(error)
            raise DataError(f"{path} is not a readable Parquet file ({line})") from None


def _iter_parquet(folder: Folder, path: str) -> Iterator[Row]:
    for _, _, rows in iter_batches(folder, path):
        yield from rows
