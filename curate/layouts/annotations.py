"""Bounded reading of untrusted annotation files: lines, paths, and JSON of any size."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from curate.core.documents import parse_yaml
from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.layouts.access.folder import Folder
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer
from curate.layouts.encodings import as_utf8, decode_head
from curate.storage.index import NameIndex

_MAX_LINE = 16 << 20  # bytes of a line; enough for a polygon of a million points
_ELSEWHERE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[A-Za-z][\w+.-]*://")
_HEAD = 1 << 16
_BLOCK = 1 << 16  # what a JSON parser reads at a time


class Problems:
    """Malformed annotations: counted by kind, with the first one of each.

    Reading continues after a problem, since annotations are only carried unless their values
    are needed.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, line: str) -> None:
        """Count a problem.

        Args:
            kind: what is malformed, in the plural or a file name.
            line: message without a full stop.
        """
        count, first = self._found.get(kind, (0, line))
        self._found[kind] = (count + 1, first)

    @contextmanager
    def collect(self, kind: str) -> Iterator[None]:
        """Count a `DataError` of the block as a problem; the rest of the block is skipped."""
        try:
            yield
        except SourceChangedError:
            raise
        except DataError as error:
            self.add(kind, str(error))

    def report(self, strict: bool) -> Iterator[str]:
        """Iterate over the notes.

        Raises:
            DataError: if ``strict`` and there is a problem.
        """
        for kind, (count, first) in self._found.items():
            if strict:
                raise DataError(f"{first}; fix it, or remove this annotation from SOURCE")
            yield f"{count:,} problems in {kind}; the first: {first.removeprefix(f'{kind}: ')}."


def open_annotation(folder: Folder, path: str) -> BinaryIO:
    """Open an annotation file; as UTF-8, where a byte order mark declares an encoding.

    Raises:
        DataError: if it cannot be read, or is not in the encoding that it declares.
        SetupError: if its storage does not respond.
    """
    try:
        file = folder.open(path)
        if reason := describe_pointer(file.read(POINTER_BYTES)):
            file.close()
            raise WithheldError("pointer", reason)
        file.seek(0)
    except WithheldError as error:
        raise DataError(f"{path!r} in {folder.name} cannot be read: {error.detail}") from None
    return as_utf8(file, path)


def read_head(folder: Folder, path: str) -> bytes:
    """Return the first bytes of an annotation file to recognize it by; empty if unreadable.

    They are UTF-8 where a byte order mark declares an encoding.
    """
    try:
        with folder.open(path) as file:
            return decode_head(file.read(_HEAD))
    except WithheldError:
        return b""


def iter_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, str]]:
    """Iterate over the lines of a text file in constant memory.

    Args:
        file: UTF-8 text, with or without a byte order mark.
        name: name of the file in messages.

    Yields:
        The name of the line in messages, and its text without the line end.

    Raises:
        DataError: if a line is not UTF-8, or longer than 16 MB.
    """
    for where, text, _ in iter_stored_lines(file, name):
        yield where, text.rstrip("\r\n")


def iter_stored_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Iterate over lines as `iter_lines` does, with line ends, and with the stored bytes."""
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        where = f"{name}, line {number}"
        if len(line) > _MAX_LINE:
            raise DataError(
                f"{where} is longer than {_MAX_LINE >> 20} MB, which is too long for an annotation"
            )
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{where} is not UTF-8 text") from None
        yield where, text, line


def resolve(base: str, value: Any, where: str) -> str:
    """Resolve a path in an annotation to a path in the dataset.

    Args:
        base: folder to which the path is relative; empty for the root.
        value: value in the annotation.
        where: name of the field in messages.

    Raises:
        DataError: if it is not a path, is absolute, or contains ``..``.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value or not _is_text(value):
        raise DataError(f"{where} is {shorten(value)}, which names no file")
    if _ELSEWHERE.match(value):
        raise DataError(f"{where} is {shorten(value)}; give a path relative to the dataset")
    if ".." in value.replace("\\", "/").split("/"):
        raise DataError(f"{where} is {shorten(value)}, which leaves its folder; drop the '..'")
    return posixpath.normpath(posixpath.join(base, value) if base else value)


def add_to_split(names: NameIndex, split: str, name: str) -> bool:
    """Add a name in the list of a split to those of the kind ``split``.

    Args:
        names: the value of a name is the split of the first list that has it.
        split: the split.
        name: the name.

    Returns:
        Whether it is new in that list.
    """
    if names.add("split", name, split):
        return True
    return names.get("split", name) != split and names.add(f"in {split}", name)


def shorten(value: Any) -> str:
    """Format a value for a message: ASCII, of bounded length."""
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else "no text"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell a lone surrogate
        return False
    return True


_WORD = re.compile(rb"-?(?:NaN|Infinity)")
_MAX_WORD = 9
_MAX_DEPTH = 64  # annotations nest less than ten deep; parser memory grows with the depth
_DIGITS = b"0123456789.eE+-"
_DEPTHS = np.zeros(256, np.int8)
_DEPTHS[list(b"[{")] = 1
_DEPTHS[list(b"]}")] = -1


def iter_items(file: BinaryIO, prefix: str, name: str, longest: int = _MAX_LINE) -> Iterator[Any]:
    """Iterate over the values with one prefix in a JSON document.

    Args:
        file: the document, from its start.
        prefix: prefix in the notation of ijson, such as ``images.item``.
        name: name of the file in messages.
        longest: maximum length of a value, bytes.

    Raises:
        DataError: if it is not valid JSON, nested too deeply, or a value is too long.
    """
    import ijson

    limited = _DepthLimitedFile(file, name, longest, prefix.count(".") + 1)
    with _json_errors(name):
        yield from ijson.items(limited, prefix, use_float=True)


def load_kinds(file: BinaryIO, name: str) -> dict[str, str]:
    """Return the keys of a JSON object with the ijson event that starts each value.

    Reads the document to its end.

    Raises:
        DataError: if it is not valid JSON, or nested too deeply.
    """
    import ijson

    kinds: dict[str, str] = {}
    key, depth = None, 0
    with _json_errors(name):
        for event, value in ijson.basic_parse(_DepthLimitedFile(file, name), use_float=True):
            if key is not None:
                kinds[key], key = event, None
            elif depth == 1 and event == "map_key":
                key = value
            if event in ("start_map", "start_array"):
                depth += 1
            elif event in ("end_map", "end_array"):
                depth -= 1
    return kinds


def iter_events(file: BinaryIO, name: str) -> Iterator[tuple[str, str, Any]]:
    """Iterate over the prefixes, events and values of a document, as ijson does.

    Raises:
        DataError: if it is not valid JSON, or nested too deeply.
    """
    import ijson

    with _json_errors(name):
        yield from ijson.parse(_DepthLimitedFile(file, name), use_float=True)


@contextmanager
def _json_errors(name: str) -> Iterator[None]:
    import ijson

    try:
        yield
    except (ijson.JSONError, UnicodeDecodeError) as error:
        line = str(error).strip().partition("\n")[0][:200].rstrip(". ")
        raise DataError(f"{name} is not valid JSON: {line}") from None


def check_json_head(head: bytes) -> bytes:
    """Return the start of a JSON document with words that are not JSON, such as ``NaN``, as null.

    It is empty if the document is nested too deeply.
    """
    try:
        return _DepthLimitedFile(io.BytesIO(head), "").read()
    except DataError:
        return b""


class _DepthLimitedFile:
    """File that raises `DataError` where its JSON is nested too deeply or has too long a text.

    The time that a parser takes grows with the square of the length of a text or number.

    ``NaN`` and infinities, which Python writes and the loaders of the field read, become null.

    Args:
        file: file to read.
        name: name in messages.
        longest: maximum length of a value, bytes, or None.
        level: how deep the brackets are nested that surround those values.
    """

    def __init__(
        self, file: BinaryIO, name: str, longest: int | None = None, level: int = 0
    ) -> None:
        self._file = file
        self._name = name
        self._longest = longest
        self._level = level
        self._length = 0  # bytes of the current value
        self._depth = 0
        self._in_string = False
        self._text = 0  # bytes of whole blocks inside one text or number
        self._escaped = b""

    def read(self, size: int = -1) -> bytes:
        return self._follow(self._read_words(size))

    def _read_words(self, size: int) -> bytes:
        """Read without ending inside a word such as ``NaN``."""
        data = self._file.read(size)
        for _ in range(_MAX_WORD):
            more = self._file.read(1) if data[-1:].isalpha() or data[-1:] == b"-" else b""
            if not more:
                break
            data += more
        return data

    def _follow(self, data: bytes) -> bytes:
        """Count brackets outside strings; returns the data with words that are not JSON as null."""
        lead = len(self._escaped)
        text = (self._escaped + data).replace(b"\\\\", b"__").replace(b'\\"', b"__")
        self._escaped = b"\\" if text.endswith(b"\\") else b""
        symbols = np.frombuffer(text, np.uint8)
        quotes = np.cumsum(symbols == ord('"'), dtype=np.uint8)  # whether odd is all that counts
        is_text = ((quotes & 1) != self._in_string).view(np.int8)
        depths = np.cumsum(_DEPTHS[symbols] * (1 - is_text), dtype=np.int32) + self._depth
        if depths.size:
            has_quote = text.find(b'"', 1) >= 0
            is_inside = not has_quote and (self._in_string or not text.strip(_DIGITS))
            self._text = self._text + len(data) if is_inside else 0
            if self._text > _MAX_LINE:
                raise DataError(
                    f"{self._name} has a text longer than {_MAX_LINE >> 20} MB, which is too long "
                    "for an annotation"
                )
            self._in_string, self._depth = bool(is_text[-1]), int(depths[-1])
            if self._longest is not None:
                self._measure_value(depths, self._longest)
            if depths.max() > _MAX_DEPTH:
                raise DataError(f"{self._name} is nested deeper than {_MAX_DEPTH} levels")
        for word in reversed(list(_WORD.finditer(text))):
            if not is_text[word.start()]:
                data = data[: word.start() - lead] + b"null" + data[word.end() - lead :]
        return data

    def _measure_value(self, depths: Any, longest: int) -> None:
        """Count the bytes since the last one between values."""
        between = np.flatnonzero(depths <= self._level)
        length = self._length + (int(between[0]) if between.size else depths.size)
        self._length = int(depths.size - 1 - between[-1]) if between.size else length
        if length > longest + _BLOCK:
            raise DataError(
                f"{self._name} has a value longer than {longest >> 20} MB, which is too long for "
                "an annotation"
            )


def load_mapping(data: bytes, path: str) -> Mapping[str, Any]:
    """Parse a configuration in YAML.

    Raises:
        DataError: if it is not valid YAML, see `parse_yaml`, or not a mapping.
    """
    value = parse_yaml(data, path)
    if not isinstance(value, Mapping):
        raise DataError(f"{path} is not a mapping")
    return value
