"""The layout of `datasets` on disk: what ``save_to_disk`` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from curate.core.errors import DataError
from curate.layouts.access.folder import Folder
from curate.layouts.sidecars.table import ROWS
from curate.layouts.tables.images import ImageColumns
from curate.layouts.tables.layout import TableLayout
from curate.layouts.tables.rows import Slice, Table, open_or_close, rows_at_a_time

_STATE = "state.json"
_SPLITS = "dataset_dict.json"


class ArrowDataset(TableLayout):
    """A `Dataset` or `DatasetDict` on disk: Arrow streams that ``state.json`` names.

    Args:
        folder: where it was saved.
    """

    layout = "arrow"
    kind = "Arrow"

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """What ``save_to_disk`` leaves at the top."""
        names = folder.names()
        if _SPLITS in names:
            return _SPLITS
        return f"{_STATE} and dataset_info.json" if {_STATE, "dataset_info.json"} <= names else None

    def split_of(self, container: str) -> str | None:
        """The split that the container's folder is, or that its state names."""
        folder = container.rpartition("/")[0]
        if folder:
            return folder
        split = self._load(_STATE).get("_split")
        return split if isinstance(split, str) else None

    def open_table(self, container: str) -> Table:
        """Open one Arrow stream."""
        return open_or_close(ArrowTable, self.open_container(container))

    @cached_property
    def _containers(self) -> tuple[str, ...]:
        prefixes = [""]
        if _SPLITS in self.folder.names():
            splits = self._load(_SPLITS).get("splits")
            prefixes = [f"{_check_name(split, _SPLITS)}/" for split in _list(splits, _SPLITS)]
        found = {path for prefix in prefixes for path in self._files_of(prefix)}
        for path in found:
            if self.folder.leaf(path) is None:
                raise DataError(f"{path!r}, which {_STATE} names, is not in {self.folder.name}")
        return tuple(sorted(found, key=str.encode))

    def _files_of(self, prefix: str) -> Iterator[str]:
        path = f"{prefix}{_STATE}"
        state = self._load(path)
        indices = any(name.startswith("indices") for name in self.folder.names(prefix))
        if indices or state.get("_indices_files") or state.get("_indices_data_files"):
            raise DataError(
                f"{prefix or self.folder.name!r} holds rows that its indices leave out; "
                "call flatten_indices() on the dataset and save it again"
            )
        for item in _list(state.get("_data_files"), path):
            name = item.get("filename") if isinstance(item, dict) else None
            yield prefix + _check_name(name, path)

    def _load(self, path: str) -> dict[str, Any]:
        if self.folder.leaf(path) is None:
            raise DataError(f"{path!r} is not in {self.folder.name}; save the dataset again")
        try:
            value = json.loads(self.folder.read(path))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise DataError(f"{path!r} is no JSON object; save the dataset again")
        return value


class ArrowTable:
    """One Arrow stream, read from beginning to end, one record batch at a time.

    Args:
        file: the open file; closed with the table.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.schema = self._open().schema
        for field in self.schema:
            if pa.types.is_dictionary(field.type):
                raise pa.ArrowInvalid(f"the column {field.name!r} is encoded by a dictionary")

    def full_columns(self) -> frozenset[str]:
        """None: a stream says nothing of what is absent."""
        return frozenset()

    def group_of(self, row: int) -> int:
        """Always the same: a stream is read from its beginning."""
        return 0

    def iter_slices(self, columns: Sequence[str], start: int = 0) -> Iterator[Slice]:
        """Rows in order, from the first."""
        first = 0
        for batch in self._iter_batches():
            chosen = batch.select(list(columns))
            step = rows_at_a_time(chosen.nbytes, chosen.num_rows)
            for place in range(0, chosen.num_rows, step):
                piece = chosen.slice(place, step)
                yield Slice(first + place, piece, place + step >= chosen.num_rows)
            first += chosen.num_rows

    def iter_texts(self, columns: ImageColumns) -> Iterator[Any]:
        """Record batches of a few hundred rows."""
        for batch in self._iter_batches():
            for place in range(0, batch.num_rows, ROWS):
                yield batch.slice(place, ROWS)

    def open_writer(self, target: BinaryIO, schema: Any) -> AbstractContextManager[Any]:
        """Write another Arrow stream."""
        writer: AbstractContextManager[Any] = pa.ipc.new_stream(target, schema)
        return writer

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> Any:
        self._file.seek(0)
        return pa.ipc.open_stream(self._file)

    def _iter_batches(self) -> Iterator[Any]:
        for batch in self._open():
            # The offsets in a damaged stream could point anywhere in memory.
            batch.validate(full=True)
            yield batch


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{path!r} names no data; save the dataset again")
    return value


def _check_name(name: Any, path: str) -> str:
    if not isinstance(name, str) or PurePosixPath(name).name != name or name in ("", ".", ".."):
        raise DataError(f"{path!r} names {name!r}, which is no name of a file beside it")
    return name
