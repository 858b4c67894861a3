"""Rewriting of JSON objects, JSON Lines, CSV, texts and documents from their parsed values."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.layouts.annotations import iter_lines, iter_stored_lines
from curate.layouts.sidecars.file_facts import (
    drop_file_facts,
    drop_file_lines,
    renew_fingerprint,
)
from curate.layouts.sidecars.invisible import clean_document
from curate.layouts.sidecars.prose import MAX_PROSE, find_document_fault
from curate.layouts.sidecars.shapes import MATRIX_ROWS, is_matrix_header
from curate.layouts.sidecars.values import Limits

MAX_DOCUMENT = 1 << 20
_MAX_JSON = 1 << 24  # bytes of an object that is held in memory

_COLON = re.compile(r'"\s*:( ?)')
_COMMA = re.compile(r'["\]}\d],( ?)["\[{\d-]')
_CELL_NUMBER = re.compile(r"(?=.{1,24}$)[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d{1,2})?", re.ASCII)
_INDENT = re.compile(r"\s*[{\[]\r?\n( *)\S")

_LimitRow = Callable[[dict[Any, Any]], dict[Any, Any]]


@dataclass(frozen=True, slots=True)
class JsonStyle:
    """Spaces with which a JSON document is written.

    Args:
        comma: text between items.
        colon: text between key and value.
        indent: spaces per level, or None for one line.
    """

    comma: str = ", "
    colon: str = ": "
    indent: int | None = None

    def format(self, value: Any, level: int = 0, ascii_only: bool = False) -> bytes:
        """Format a value that is nested at a level."""
        text = json.dumps(
            value,
            ensure_ascii=ascii_only,
            separators=("," if self.indent is not None else self.comma, self.colon),
            indent=self.indent,
        )
        return text.replace("\n", self.newline(level)).encode()

    def newline(self, level: int) -> str:
        """Return what starts an item at a level: a line end and indentation, or nothing."""
        return "" if self.indent is None else "\n" + " " * self.indent * level


def find_style(head: bytes) -> JsonStyle:
    """Return the style of a document by its first bytes."""
    text = head.decode("utf-8", "replace")
    indent = _INDENT.match(text)
    comma, colon = _COMMA.search(text), _COLON.search(text)
    return JsonStyle(
        comma="," + (comma[1] if comma else " "),
        colon=":" + (colon[1] if colon else " "),
        indent=len(indent[1]) if indent and len(indent[1]) <= 8 else None,
    )


def parse_json(data: bytes | str, name: str) -> Any:
    """Parse a JSON value.

    Raises:
        DataError: if it is not valid JSON.
    """
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is not text
    except (ValueError, RecursionError):
        raise DataError(f"{name} is not valid JSON; the file may be truncated") from None
    return value


def rewrite_json(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite a JSON value that describes an image, such as of a sample.

    Raises:
        DataError: if it is not valid JSON, or neither an object nor within the limits.
    """

    def limit(value: Any) -> Any:
        if isinstance(value, dict):
            return limits.record(value)
        kept = limits.record({"json": value})
        if not kept:
            raise DataError(f"{name} is over the limits of annotations")
        return kept["json"]

    _rewrite_object(file, target, name, limit)


def rewrite_info(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite a JSON object that describes a dataset, such as ``dataset_info.json``."""

    def limit(value: Any) -> Any:
        return renew_fingerprint(_limit_info(drop_file_facts(value, limits), name, limits))

    _rewrite_object(file, target, name, limit)


def rewrite_facts(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite a JSON object that a program has written about an output, such as ``run.json``."""
    _rewrite_object(file, target, name, lambda value: _limit_info(value, name, limits))


def _limit_info(value: Any, name: str, limits: Limits) -> Any:
    if not isinstance(value, dict):
        raise DataError(f"{name} is not a JSON object")
    return limits.document_record(value)


def _rewrite_object(
    file: BinaryIO, target: BinaryIO, name: str, limit: Callable[[Any], Any]
) -> None:
    data = file.read(_MAX_JSON + 1)
    if len(data) > _MAX_JSON:
        raise DataError(f"{name} is longer than {_MAX_JSON >> 20} MB")
    value = parse_json(data, name)
    style = find_style(data[:4096])
    target.write(style.format(limit(value), ascii_only=data.isascii()))
    target.write(b"\n" if data.endswith(b"\n") else b"")


def rewrite_json_lines(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite the objects of a JSON Lines file, one by one."""
    _rewrite_lines(file, target, name, limits.record)


def rewrite_image_lines(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite the objects of a JSON Lines file that belongs to one image."""
    _rewrite_lines(file, target, name, limits.shared_row)


def _rewrite_lines(file: BinaryIO, target: BinaryIO, name: str, limit: _LimitRow) -> None:
    style = end = None
    for where, line, stored in iter_stored_lines(file, name):
        if not line.strip():
            continue
        row = parse_json(line, where)
        if not isinstance(row, dict):
            raise DataError(f"{where} is not a JSON object")
        style = style or JsonStyle(*_spaces(find_style(stored[:4096])))
        target.write(style.format(limit(row), ascii_only=stored.isascii()))
        end = _line_end(line) if end is None else end
        target.write(_line_end(line) and end)


def _spaces(style: JsonStyle) -> tuple[str, str]:
    return style.comma, style.colon


def _line_end(line: str) -> bytes:
    return b"\r\n" if line.endswith("\r\n") else b"\n" if line.endswith("\n") else b""


def rewrite_csv(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite the rows of a CSV or TSV file; a dropped value leaves an empty cell."""
    _rewrite_table(file, target, name, limits, limits.record)


def rewrite_image_csv(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite the rows of a CSV or TSV file that belongs to one image."""

    def limit(row: Mapping[str, Any]) -> dict[str, Any]:
        cells = {key: _parse_number(cell) for key, cell in row.items() if cell != ""}
        return limits.shared_row(cells)

    _rewrite_table(file, target, name, limits, limit)


def _rewrite_table(
    file: BinaryIO, target: BinaryIO, name: str, limits: Limits, limit: _LimitRow
) -> None:
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    first, ends = b"", [b""]
    if delimiter == ",":
        delimiter = find_delimiter(file.readline(_MAX_JSON).decode("utf-8", "replace"))
        file.seek(0)

    def lines() -> Iterator[str]:
        for _, text, _ in iter_stored_lines(file, name):
            ends[:] = [_line_end(text)]
            yield text

    csv.field_size_limit(_MAX_JSON)
    table = csv.reader(lines(), strict=True, delimiter=delimiter)
    try:
        header = next(table, None)
        is_matrix = is_matrix_header(header or ())
        for row in [] if header is None else [header]:
            limits.begin()
            for key in row:
                if not limits.accepts_key(key):
                    raise DataError(
                        f"{name} has a column name over the limits; rename {key[:40]!a}"
                    )
            first = ends[0]
            target.write(_format_row(row, delimiter, first))
        for number, row in enumerate(filter(None, table), 1):
            if is_matrix and number >= MATRIX_ROWS:
                raise DataError(
                    f"{name} is a matrix of numbers; no column says what its rows are of"
                )
            row = fit_row(row, len(header or ()), f"{name}, line {table.line_num}")
            cells = dict(zip(header or (), row, strict=bool(row)))
            values = limit({key: _parse_cell(cell) for key, cell in cells.items()})
            kept = [
                _format_cell(cell) if key in values and _is_same(values[key], cell) else ""
                for key, cell in zip(header or (), row, strict=bool(row))
            ]
            target.write(_format_row(kept, delimiter, ends[0] and first))
    except csv.Error as error:
        where = f"{name}, line {table.line_num + 1}"
        raise DataError(f"{where} is not CSV in UTF-8 ({error})") from None


def find_delimiter(header: str) -> str:
    """Return the delimiter of a CSV file by its first line: a comma, or one of ``;`` and ``|``."""
    found = (mark for mark in ";|" if mark in header and "," not in header)
    return next(found, ",")


def fit_row(row: list[str], columns: int, where: str) -> list[str]:
    """Return a row of a CSV file with one cell for each column, or an empty row.

    Missing cells at the end are empty, as for pandas, and commas after the last cell are ignored.

    Raises:
        DataError: if there are more values than columns.
    """
    if not row:
        return row
    if any(row[columns:]):
        raise DataError(f"{where} has {len(row)} values for {columns} columns")
    return row[:columns] + [""] * (columns - len(row))


def _parse_cell(cell: str) -> Any:
    """Return a list or an object if a cell contains one; its limits are those of its values."""
    if cell[:1] in ("[", "{"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _format_cell(cell: str) -> str:
    """Return a cell as it is, or written again from the list or object that it contains."""
    value = _parse_cell(cell)
    if isinstance(value, str):
        return cell
    return find_style(cell.encode()).format(value, ascii_only=cell.isascii()).decode()


def _parse_number(value: Any) -> Any:
    """Return the number that a cell contains, if it is one of up to 24 characters."""
    is_number = isinstance(value, str) and _CELL_NUMBER.fullmatch(value) is not None
    return float(value) if is_number else value


def _is_same(value: Any, cell: str) -> bool:
    plain = _parse_cell(cell)
    return bool(value == (_parse_number(plain) if type(value) is float else plain))


def _format_row(row: list[str], delimiter: str, end: bytes) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(row)
    return out.getvalue().encode() + end


def rewrite_text(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite a text that describes an image, such as a caption or the name of a class."""
    text = _decode(file.read(4 * MAX_PROSE + 1), name)
    kept = limits.record({PurePosixPath(name).suffix[1:]: text})
    if not kept:
        raise DataError(f"{name} is neither a short text nor prose")
    target.write(text.encode())


def rewrite_document(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Copy a README, LICENSE or CITATION file: UTF-8 text up to 1 MB."""
    text, invisible = clean_document(_decode_document(file, name))
    if invisible:
        limits.drop("(invisible characters)", invisible)
    _write_document(drop_file_lines(text, limits), target, name, limits)


def copy_document(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Copy a text about an output, such as a dataset card, with what it states about files."""
    _write_document(_decode_document(file, name), target, name, limits)


def _decode_document(file: BinaryIO, name: str) -> str:
    text = _decode(file.read(MAX_DOCUMENT + 1), name)
    if len(text.encode()) > MAX_DOCUMENT:
        raise DataError(f"{name} is larger than 1 MB")
    return text


def _write_document(text: str, target: BinaryIO, name: str, limits: Limits) -> None:
    if fault := find_document_fault(text):
        raise DataError(f"{name} {fault}")
    limits.document(text)
    target.write(text.encode())


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not UTF-8 text") from None


_MAX_BLANK = 2  # lines in a row
_HEADER = 2  # lines of a list that name no image, such as the number of images and attributes
_BETWEEN = re.compile(r"[\s,;:|#\"'()<>]+")


def rewrite_lines(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write the lines that name an image of the dataset, and up to two before them.

    Each line is a record of one text: an image with its attributes, or with a caption.

    Raises:
        DataError: if a line is not UTF-8 text.
    """
    end = b""
    blank = 0
    for number, (_, text, _) in enumerate(iter_stored_lines(file, name)):
        line = text.rstrip("\r\n") if text.strip() else ""
        blank = 0 if line else blank + 1
        if blank > _MAX_BLANK:
            continue
        is_known = not line or number < _HEADER or _names_image(line, limits)
        if not is_known or not limits.record({"lines": line}):
            limits.drop("lines", not is_known)
            continue
        end = end or _line_end(text)
        target.write(line.encode() + (_line_end(text) and end))


def _names_image(line: str, limits: Limits) -> bool:
    words = [line.strip(), *_BETWEEN.split(line)] if len(line) <= MAX_PROSE else []
    names = (word.replace("\\", "/").rpartition("/")[2] for word in words)
    return any(name and limits.is_image(name) for name in names)


_LIST_NUMBERS = re.compile(r"(?:\s+-?\d{1,6}){0,2}", re.ASCII)
_MAX_NAME = 1024


def rewrite_list(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write the lines of a list that name an image of the dataset, with up to two numbers.

    Raises:
        DataError: if a line is not UTF-8 text.
    """
    for _, line in iter_lines(file, name):
        text = line.strip()
        image, numbers = _split_line(text)
        is_image = len(image) <= _MAX_NAME and limits.is_image(image.rpartition("/")[2])
        is_image = is_image and _LIST_NUMBERS.fullmatch(numbers) is not None
        if text and not (is_image and limits.record({"lines": image})):
            limits.drop("lines", not is_image)
            continue
        target.write(f"{text}\n".encode())


def _split_line(text: str) -> tuple[str, str]:
    """Return the image of a line of a list, and the numbers after it with the space before."""
    found = re.search(r"(?:\s+-?\d{1,6}){1,2}$", text)
    return (text[: found.start()], found[0]) if found else (text, "")
