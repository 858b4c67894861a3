"""Thrift structures of Parquet files, walked before they are parsed: a few bytes can claim much.

A footer is parsed to objects hundreds of times its size, and a page is decompressed to the size
that its own header states. See the Parquet format, ``parquet.thrift``, and the compact protocol.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

import pyarrow as pa

_MAX_FOOTER = 16 << 20  # bytes
_MAX_REMEMBERED = 10_000  # footers
_SMALL_FOOTER = 128 << 10  # of which the objects fit in memory whatever they are
_MAX_STRUCTS = 500_000  # each takes up to 850 bytes; a column of a row group has about seven
_MAX_DEPTH = 20
_MAX_PAGES = 1_000_000
_MAX_PAGE_HEADER = 64 << 10
_PAGE_HEADER = 512  # usual size, with statistics
_MAX_PAGE = 256 << 20
"""Maximum size of a page once decompressed, bytes."""
_SLACK = 1 << 20
_FREE_ROWS = 1_000_000
_MAX_ROWS_PER_BYTE = 16  # of the file, if it has more rows
_BOUNDED = frozenset({"UNCOMPRESSED", "SNAPPY"})
"""Compressions that expand at most 22 times."""
_BOOLEANS, _INTEGERS, _LISTS = (1, 2), (4, 5, 6), (9, 10)
_BINARY, _STRUCT = 8, 12
_SIZES = {1: 1, 2: 1, 3: 1, 7: 8}
"""Sizes of booleans in lists, bytes and doubles."""

_checked: dict[bytes, str | None] = {}
"""What is wrong with large footers, by their digests; files are opened several times."""


def check_footer(file: BinaryIO) -> int:
    """Check the size of a footer, and the number of its structures.

    Args:
        file: the open file; its position afterwards is its start.

    Returns:
        The size of the footer, bytes.

    Raises:
        pyarrow.ArrowInvalid: if it is too large. Damage is left to the parser.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PAR1" and length <= size - 8:
        if length > _MAX_FOOTER:
            raise pa.ArrowInvalid(
                f"its footer has {length:,} bytes; at most {_MAX_FOOTER:,} are read"
            )
        if length > _SMALL_FOOTER:
            file.seek(size - 8 - length)
            _check_structs(file.read(length))
    file.seek(0)
    return max(length if length <= _MAX_FOOTER else 0, 1)


def _check_structs(data: bytes) -> None:
    digest = hashlib.sha256(data).digest()
    if digest not in _checked:
        if len(_checked) > _MAX_REMEMBERED:
            _checked.clear()
        try:
            walk(data)
            _checked[digest] = None
        except IndexError:
            _checked[digest] = "its footer is damaged"
        except pa.ArrowInvalid as error:
            _checked[digest] = str(error)
    if (problem := _checked[digest]) is not None:
        raise pa.ArrowInvalid(problem)


def check_pages(file: BinaryIO, footer: Any, columns: frozenset[str] | None = None) -> None:
    """Check that pages decompress to no more than the footer states.

    Readers choose by the footer how many rows they read at a time, and hold a page of each column.

    Args:
        file: the open file; its position is kept.
        footer: metadata of the file.
        columns: columns that are read; None for all.

    Raises:
        pyarrow.ArrowInvalid: if they do, or if the rows are too many for the file.
    """
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    rows = max(footer.num_rows, *(_sizes(footer) or [0]))
    if rows > max(_FREE_ROWS, _MAX_ROWS_PER_BYTE * size):
        raise pa.ArrowInvalid(f"it has {rows:,} rows in {size:,} bytes, which are too many")
    pages = 0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        held = 0
        for chunk in map(group.column, range(group.num_columns)):
            if columns is not None and chunk.path_in_schema.partition(".")[0] not in columns:
                continue
            # Pages of a column without values are not read.
            if chunk.compression not in _BOUNDED and chunk.num_values > 0:
                count, largest = _check_chunk(file, chunk, size, _MAX_PAGES - pages)
                pages, held = pages + count, held + largest
        if held > _MAX_PAGE:
            raise pa.ArrowInvalid(
                f"pages of its columns expand to {held >> 20:,} MB together; at most "
                f"{_MAX_PAGE >> 20} MB are read; write smaller pages, or remove columns"
            )
    file.seek(position)


def _sizes(footer: Any) -> list[int]:
    return [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]


def _check_chunk(file: BinaryIO, chunk: Any, size: int, max_pages: int) -> tuple[int, int]:
    """Check the pages of a column in a row group; returns their number and the largest size."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = min(start + chunk.total_compressed_size, size)
    total = pages = largest = 0
    while 0 <= start < end:
        if pages == max_pages:
            raise pa.ArrowInvalid(f"it has more than {_MAX_PAGES:,} pages")
        header, stored, expanded = _parse_page(file, start)
        total, largest = total + expanded, max(largest, expanded)
        if expanded > _MAX_PAGE or total > 2 * chunk.total_uncompressed_size + _SLACK:
            raise pa.ArrowInvalid(
                f"a page of the column {chunk.path_in_schema!a} expands to {expanded >> 20:,} MB, "
                f"more than its footer states or the {_MAX_PAGE >> 20} MB that are read"
            )
        start += header + stored
        pages += 1
    return pages, largest


def _parse_page(file: BinaryIO, offset: int) -> tuple[int, int, int]:
    """Return the sizes of a page: of its header, as stored, and once decompressed, bytes."""
    for limit in (_PAGE_HEADER, _MAX_PAGE_HEADER):
        file.seek(offset)
        try:
            length, fields = walk(file.read(limit))
        except IndexError:
            continue
        stored, expanded = fields.get(3, -1), fields.get(2, -1)
        if stored < 0 or expanded < 0:
            break
        return length, stored, expanded
    raise pa.ArrowInvalid("the header of a page is damaged")


def walk(data: bytes) -> tuple[int, dict[int, int]]:
    """Walk through a structure in the compact protocol.

    Returns:
        Its size in bytes, and its own integers by the number of their field.

    Raises:
        pyarrow.ArrowInvalid: if it is not valid, nested too deeply, or has too many structures.
        IndexError: if the data end before it.
    """
    walker = _Walker(data)
    integers = walker.struct(0)
    return walker.at, integers


class _Walker:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._structs = 0
        self.at = 0

    def struct(self, depth: int) -> dict[int, int]:
        """Walk through a structure; returns its integers."""
        self._structs += 1
        if self._structs > _MAX_STRUCTS or depth > _MAX_DEPTH:
            raise pa.ArrowInvalid("its footer describes too many row groups and columns")
        integers: dict[int, int] = {}
        field = 0
        while header := self._data[self.at]:
            self.at += 1
            field = field + (header >> 4) if header >> 4 else self._integer()
            kind = header & 15
            if kind in _INTEGERS:
                integers[field] = self._integer()
            elif kind not in _BOOLEANS:  # their value is the type
                self._value(kind, depth)
        self.at += 1
        return integers

    def _value(self, kind: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise pa.ArrowInvalid("its footer, or the header of a page, is nested too deeply")
        if self.at >= len(self._data):
            raise IndexError
        if kind in _INTEGERS:
            self._number()
        elif kind in _SIZES:
            self.at += _SIZES[kind]
        elif kind == _BINARY:
            size = self._number()
            self.at += size
        elif kind in _LISTS:
            header = self._data[self.at]
            self.at += 1
            count = header >> 4 if header >> 4 < 15 else self._number()
            for _ in range(count):
                self._value(header & 15, depth + 1)
        elif kind == _STRUCT:
            self.struct(depth + 1)
        else:
            raise pa.ArrowInvalid("its footer is damaged")

    def _integer(self) -> int:
        number = self._number()
        return (number >> 1) ^ -(number & 1)

    def _number(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise pa.ArrowInvalid("its footer is damaged")
