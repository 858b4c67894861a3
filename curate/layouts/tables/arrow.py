"""Layout of `datasets` on disk, as written by ``save_to_disk``."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from curate.core.documents import MAX_JSON, parse_json
from curate.core.errors import DataError
from curate.layouts.access.folder import Folder
from curate.layouts.sidecars.table import ROWS
from curate.layouts.tables.images import ImageColumns
from curate.layouts.tables.layout import TableLayout
from curate.layouts.tables.rows import Slice, Table, open_or_close, rows_at_a_time

_SHARED = frozenset(
    {
        *("dictionary", "run_end_encoded", "list_view", "large_list_view", "string_view"),
        "binary_view",
    }
)
_STATE = "state.json"
_SPLITS = "dataset_dict.json"


class ArrowDataset(TableLayout):
    """`Dataset` or `DatasetDict` on disk: Arrow streams named by ``state.json``.

    Args:
        folder: files of the dataset.
    """

    layout = "arrow"
    kind = "Arrow"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for the files that ``save_to_disk`` writes at the root."""
        names = folder.list_names()
        if _SPLITS in names:
            return _SPLITS
        return f"{_STATE} and dataset_info.json" if {_STATE, "dataset_info.json"} <= names else None

    def split_of(self, container: str) -> str | None:
        """Return the split of a container: its folder, or the split in ``state.json``."""
        folder = container.rpartition("/")[0]
        if folder:
            return folder
        split = self._load(_STATE).get("_split")
        return split if isinstance(split, str) else None

    def open_table(self, container: str) -> Table:
        """Open an Arrow stream."""
        return open_or_close(ArrowTable, self.open_container(container))

    @cached_property
    def _containers(self) -> tuple[str, ...]:
        prefixes = [""]
        if _SPLITS in self.folder.list_names():
            splits = self._load(_SPLITS).get("splits")
            prefixes = [f"{_check_name(split, _SPLITS)}/" for split in _list(splits, _SPLITS)]
        found = {path for prefix in prefixes for path in self._files_of(prefix)}
        for path in found:
            if self.folder.info(path) is None:
                raise DataError(f"{path!r}, which {_STATE} names, is not in {self.folder.name}")
        return tuple(sorted(found, key=str.encode))

    def _files_of(self, prefix: str) -> Iterator[str]:
        path = f"{prefix}{_STATE}"
        state = self._load(path)
        indices = any(name.startswith("indices") for name in self.folder.list_names(prefix))
        if indices or state.get("_indices_files") or state.get("_indices_data_files"):
            raise DataError(
                f"{prefix or self.folder.name!r} contains rows that its indices exclude; "
                "call flatten_indices() on the dataset and save it again"
            )
        for item in _list(state.get("_data_files"), path):
            name = item.get("filename") if isinstance(item, dict) else None
            yield prefix + _check_name(name, path)

    def _load(self, path: str) -> dict[str, Any]:
        if self.folder.info(path) is None:
            raise DataError(f"{path!r} is not in {self.folder.name}; save the dataset again")
        try:
            with self.folder.open(path) as file:
                value = parse_json(file.read(MAX_JSON + 1), path)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise DataError(f"{path!r} is not a JSON object; save the dataset again")
        return value


class ArrowTable:
    """Arrow stream, read from start to end, one record batch at a time.

    Args:
        file: open file; closed with the table.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.schema = self._open().schema
        for field in self.schema:
            if found := _find_shared(field.type):
                raise pa.ArrowInvalid(
                    f"the column {field.name!r} has the type {found}, of which a value may be "
                    "stored once for all rows; cast it to a plain type"
                )

    def full_columns(self) -> frozenset[str]:
        """Return no columns: a stream has no statistics."""
        return frozenset()

    def group_of(self, row: int) -> int:
        """Return 0: a stream is read from its start."""
        return 0

    def iter_slices(self, columns: Sequence[str], start: int = 0) -> Iterator[Slice]:
        """Iterate over rows in order, from the first."""
        first = 0
        for batch in self._iter_batches():
            chosen = batch.select(list(columns))
            step = rows_at_a_time(chosen.nbytes, chosen.num_rows)
            for start in range(0, chosen.num_rows, step):
                piece = chosen.slice(start, step)
                yield Slice(first + start, piece, start + step >= chosen.num_rows)
            first += chosen.num_rows

    def iter_texts(self, columns: ImageColumns) -> Iterator[Any]:
        """Iterate over record batches of a few hundred rows."""
        for batch in self._iter_batches():
            for start in range(0, batch.num_rows, ROWS):
                yield batch.slice(start, ROWS)

    def open_writer(self, target: BinaryIO, schema: Any) -> AbstractContextManager[Any]:
        """Open a writer of another Arrow stream."""
        writer: AbstractContextManager[Any] = pa.ipc.new_stream(target, schema)
        return writer

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> Any:
        self._file.seek(0)
        return pa.ipc.open_stream(self._file)

    def _iter_batches(self) -> Iterator[Any]:
        self._file.seek(0)
        messages = pa.ipc.MessageReader.open_stream(self._file)
        schema = pa.ipc.read_schema(messages.read_next_message())
        for message in messages:
            try:
                compressed = _is_compressed(message.metadata.to_pybytes())
            except struct.error:
                raise pa.ArrowInvalid("a message is damaged") from None
            if compressed:  # could expand to any size
                raise pa.ArrowInvalid("its buffers are compressed; save it without compression")
            batch = pa.ipc.read_record_batch(message, schema)
            # Offsets in a corrupt stream could point anywhere in memory.
            batch.validate(full=True)
            yield batch


def _find_shared(kind: Any) -> str | None:
    """Return a type, or a type in it, whose values may share their bytes, by its name."""
    name = re.split(r"[<\[(]", str(kind), maxsplit=1)[0]
    if name in _SHARED:
        return name
    inner = (kind.field(index).type for index in range(kind.num_fields))
    return next(filter(None, map(_find_shared, inner)), None)


def _is_compressed(metadata: bytes) -> bool:
    """Return whether the buffers of a record batch are compressed, by its FlatBuffers message.

    Field 2 of ``Message`` is the header; field 3 of ``RecordBatch`` describes the compression.
    """
    header = _follow(metadata, _field(metadata, _unsigned(metadata, 0), 2))
    return _field(metadata, header, 3) != 0


def _field(data: bytes, table: int, number: int) -> int:
    """Return the offset of a field of a FlatBuffers table, or 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    entry = 4 + 2 * number
    (size,) = struct.unpack_from("<H", data, vtable)
    offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else 0


def _follow(data: bytes, offset: int) -> int:
    return offset + _unsigned(data, offset)


def _unsigned(data: bytes, offset: int) -> int:
    return int(struct.unpack_from("<I", data, offset)[0])


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{path!r} lists no data files; save the dataset again")
    return value


def _check_name(name: Any, path: str) -> str:
    if not isinstance(name, str) or PurePosixPath(name).name != name or name in ("", ".", ".."):
        raise DataError(f"{path!r} names {name!r}, which is not the name of a file next to it")
    return name
