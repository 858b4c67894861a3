"""The Hugging Face folder: images, and ``metadata.jsonl``, ``.csv`` or ``.parquet`` beside them."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import iter_stored_lines, open_annotation, read_head, resolve
from curate.layouts.files import CARRIED_SUFFIXES
from curate.layouts.imagefolder import ImageFolder
from curate.storage.index import NameIndex

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


class HfFolder(ImageFolder):
    """Images that ``metadata`` files name, as the ``imagefolder`` loader of `datasets` reads them.

    Every ``metadata`` file speaks of the images in its own folder and below. Split
    and category are read from the folders, never from a column.
    """

    layout = "hf_folder"
    carried_suffixes = CARRIED_SUFFIXES | {".jsonl"}

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """A metadata file that speaks of file names: in SOURCE, or in a folder of it or of data."""
        for place in _usual_places(folder):
            for name in NAMES:
                path = posixpath.join(place, name)
                if folder.leaf(path) is not None and _speaks_of_files(folder, path):
                    return path
        return None

    def parse(self, path: str) -> ImageRecord:
        """Read split and category from an image's path; a leading ``data/`` says nothing."""
        inner = path.removeprefix("data/")
        said = super().parse(inner)
        return ImageRecord(id=path, uri=path, split=said.split, category=said.category)

    def check(self) -> Iterator[str]:
        """Look for every image that the metadata names.

        Raises:
            DataError: if a metadata file is malformed, or names an image that is
                absent, outside its folder or named before.
        """
        names = NameIndex()
        for leaf in self.folder.leaves():
            if PurePosixPath(leaf.path).name in NAMES:
                self._check_metadata(leaf.path, names)
            elif self._is_image(leaf):
                names.add("there", leaf.path)
        count, example = names.only_in("there", "named")
        if count:
            yield f"{count:,} images stand in no metadata file, such as {example!r}."
        names.close()

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The rows of the metadata, each for every image that it names.

        Raises:
            DataError: if a metadata file is malformed.
        """
        for leaf in self.folder.leaves():
            if PurePosixPath(leaf.path).name in NAMES:
                place = posixpath.dirname(leaf.path)
                for (where, key, name), row in iter_described(self.folder, leaf.path):
                    yield resolve(place, name, f"{where}: {key}"), row

    def _check_metadata(self, path: str, names: NameIndex) -> None:
        place = posixpath.dirname(path)
        for where, key, name in iter_file_names(self.folder, path):
            image = resolve(place, name, f"{where}: {key}")
            leaf = self.folder.leaf(image)
            if leaf is None or not leaf.regular:
                raise DataError(f"{where}: {key} is {name!a}, and {image!a} is not there")
            # Columns of further images may share them; a row's own image is its id.
            if not names.add("named", image) and key == "file_name":
                raise DataError(f"{where}: {key} is {name!a}, which an earlier row has")


def _usual_places(folder: Folder) -> Iterator[str]:
    yield ""
    tops = sorted(name for name in folder.names() if name.endswith("/"))
    yield from tops
    if "data/" in tops:
        yield from (f"data/{name}" for name in sorted(folder.names("data")) if name[-1:] == "/")


def _speaks_of_files(folder: Folder, path: str) -> bool:
    if path.endswith(".parquet"):
        return True  # its column names stand at its end; no other layout has a file of this name
    return b"file_name" in read_head(folder, path)


Named = tuple[str, str, Any]
"""What a message calls the row, the column, and the name that it gives."""

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a metadata file.

    Args:
        where: what a message calls it.
        values: by column; None for what is no row, such as a header or an empty line.
        stored: the bytes that it is in the file; none of a Parquet file.
    """

    where: str
    values: dict[str, Any] | None
    stored: bytes


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
    for (where, key, name), _ in iter_described(folder, path):
        yield where, key, name


def iter_described(folder: Folder, path: str) -> Iterator[tuple[Named, Mapping[str, Any]]]:
    """Every image that a metadata file names, with the row that names it.

    Args:
        folder: where the file is.
        path: the file, whose suffix tells its form.

    Raises:
        DataError: if it is malformed, or a row names no image.
    """
    rows = _iter_parquet(folder, path) if path.endswith(".parquet") else iter_rows(folder, path)
    for row in rows:
        if row.values is not None:
            for key, name in find_names(row.values, row.where):
                if name is not None:
                    yield (row.where, key, name), row.values


def find_names(values: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    """Where a row names images, and how.

    Raises:
        DataError: if it does not.
    """
    names = list(_iter_names(values, ""))
    if not names:
        raise DataError(f"{where} has no file_name; want the path of its image there")
    return names


def iter_rows(folder: Folder, path: str) -> Iterator[Row]:
    """Every row of a ``.jsonl`` or ``.csv``, and what stands between them.

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
        place = f"{above}.{key}".lstrip(".")
        if key == "file_name" or str(key).endswith("_file_name"):
            yield place, item
        elif key == "file_names" or str(key).endswith("_file_names"):
            items = item if isinstance(item, list) else [item]
            yield from ((f"{place}[{number}]", name) for number, name in enumerate(items))
        else:
            yield from _iter_names(item, place)


def _iter_jsonl(folder: Folder, path: str) -> Iterator[Row]:
    with open_annotation(folder, path) as file:
        for where, line, stored in iter_stored_lines(file, path):
            if not line.strip():
                yield Row(where, None, stored)
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise DataError(f"{where} is not JSON; is the file cut off?") from None
            if not isinstance(row, dict):
                raise DataError(f"{where} is no JSON object")
            yield Row(where, row, stored)


def _iter_csv(folder: Folder, path: str) -> Iterator[Row]:
    with open_annotation(folder, path) as file:
        read: list[bytes] = []

        def lines() -> Iterator[str]:
            for _, text, stored in iter_stored_lines(file, path):
                read.append(stored)
                yield text

        table = csv.reader(lines(), strict=True)
        try:
            header = next(table, [])
            yield Row(f"{path}, line 1", None, b"".join(read))
            read.clear()
            for row in table:
                where = f"{path}, line {table.line_num}"
                if row and len(row) != len(header):
                    raise DataError(f"{where} has {len(row)} values for {len(header)} columns")
                values = {k: v or None for k, v in zip(header, row, strict=True)} if row else None
                yield Row(where, values, b"".join(read))
                read.clear()
        except csv.Error as error:
            where = f"{path}, line {table.line_num + 1}"
            raise DataError(f"{where} is not CSV in UTF-8 ({error})") from None


def iter_batches(folder: Folder, path: str) -> Iterator[tuple[Any, Any, list[Row]]]:
    """Rows of a ``.parquet``, some at a time: the file's schema, a record batch, its rows.

    A file without rows gives one empty batch.

    Raises:
        DataError: if it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with open_annotation(folder, path) as file:
        try:
            table = pq.ParquetFile(file, pre_buffer=False)
            schema = table.schema_arrow
            if not table.metadata.num_rows:
                yield schema, pa.RecordBatch.from_pylist([], schema=schema), []
            for batch in table.iter_batches(batch_size=_BATCH):
                places = (f"{path}, row {number + place + 1}" for place in range(batch.num_rows))
                values = zip(places, batch.to_pylist(), strict=True)
                yield schema, batch, [Row(where, row, b"") for where, row in values]
                number += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            line = " ".join(str(error).split())[:200]
            raise DataError(f"{path} is not a readable Parquet file ({line})") from None


def _iter_parquet(folder: Folder, path: str) -> Iterator[Row]:
    for _, _, rows in iter_batches(folder, path):
        yield from rows
