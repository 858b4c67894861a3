"""Read annotation files that nobody vouches for: line by line, and the paths in them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from curate.core.errors import DataError, WithheldError
from curate.layouts.access.folder import Folder

_LONGEST = 16 << 20  # bytes of one line; a polygon of a million points fits in
_ELSEWHERE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|[A-Za-z][\w+.-]*://")
_HEAD = 1 << 16


def open_annotation(folder: Folder, path: str) -> BinaryIO:
    """Open an annotation file.

    Raises:
        DataError: if it cannot be read.
        SetupError: if its storage does not answer.
    """
    try:
        return folder.open(path)
    except WithheldError as error:
        raise DataError(f"{path!r} in {folder.name} cannot be read: {error.detail}") from None


def read_head(folder: Folder, path: str) -> bytes:
    """The first bytes of an annotation file, enough to tell its kind; none if unreadable."""
    try:
        with folder.open(path) as file:
            return file.read(_HEAD)
    except WithheldError:
        return b""


def iter_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, str]]:
    """Lines of a text with what a message calls each; memory does not grow with the text.

    Args:
        file: UTF-8, with or without a byte order mark.
        name: what a message calls the file.

    Raises:
        DataError: if a line is not UTF-8, or far too long.
    """
    for where, text, _ in iter_stored_lines(file, name):
        yield where, text.rstrip("\r\n")


def iter_stored_lines(file: BinaryIO, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Lines as ``iter_lines`` gives them but with their ends, and as they are stored."""
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        where = f"{name}, line {number}"
        if len(line) > _LONGEST:
            raise DataError(f"{where} is longer than {_LONGEST >> 20} MB; that is no annotation")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{where} is not UTF-8 text") from None
        yield where, text, line


def resolve(base: str, value: Any, where: str) -> str:
    """The path in the dataset that an annotation means.

    Args:
        base: the folder that the annotation counts from; empty for the root.
        value: what stands in the annotation.
        where: what a message calls that place.

    Raises:
        DataError: if it is no path, absolute, or leads out of the folder.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value or not _is_text(value):
        raise DataError(f"{where} is {shorten(value)}, which names no file")
    if _ELSEWHERE.match(value):
        raise DataError(f"{where} is {shorten(value)}; give a path relative to the dataset")
    if ".." in value.replace("\\", "/").split("/"):
        raise DataError(f"{where} is {shorten(value)}, which leaves its folder; drop the '..'")
    return posixpath.normpath(posixpath.join(base, value))


def shorten(value: Any) -> str:
    """What an annotation holds, for a message: ASCII and of bounded length."""
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else "no text"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell a lone surrogate
        return False
    return True


_DEEPEST = 64  # annotations are nested less than ten deep; a parser's memory grows with the depth
_DEPTHS = np.zeros(256, np.int8)
_DEPTHS[list(b"[{")] = 1
_DEPTHS[list(b"]}")] = -1


def iter_items(file: BinaryIO, prefix: str, name: str) -> Iterator[Any]:
    """The values at one place of a JSON document.

    Args:
        file: the document, from its start.
        prefix: the place, in ijson's notation, such as ``images.item``.
        name: what messages call the file.

    Raises:
        DataError: if it is not whole JSON, or nested too deep.
    """
    import ijson

    with _one_line(name):
        yield from ijson.items(_Shallow(file, name), prefix, use_float=True)


def load_kinds(file: BinaryIO, name: str) -> dict[str, str]:
    """The keys of a document that is an object, each with the event that begins its value.

    Reads it to its end.

    Raises:
        DataError: if it is not whole JSON, or nested too deep.
    """
    import ijson

    kinds: dict[str, str] = {}
    key = None
    with _one_line(name):
        for prefix, event, value in ijson.parse(_Shallow(file, name)):
            if prefix == "" and event == "map_key":
                key = value
            elif key is not None:
                kinds[key], key = event, None
    return kinds


def iter_events(file: BinaryIO, name: str) -> Iterator[tuple[str, str, Any]]:
    """Every place, event and value of a document, in ijson's notation.

    Raises:
        DataError: if it is not whole JSON, or nested too deep.
    """
    import ijson

    with _one_line(name):
        yield from ijson.parse(_Shallow(file, name), use_float=True)


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    import ijson

    try:
        yield
    except (ijson.JSONError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(f"{name} is not whole JSON: {line}") from None


class _Shallow:
    """A file that refuses to be read on where its JSON is nested too deep.

    Args:
        file: what is read.
        name: what messages call it.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._depth = 0
        self._in_string = False
        self._escaped = b""

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._follow(data)
        return data

    def _follow(self, data: bytes) -> None:
        """Keep count of brackets outside strings."""
        text = (self._escaped + data).replace(b"\\\\", b"").replace(b'\\"', b"")
        self._escaped = b"\\" if text.endswith(b"\\") else b""
        symbols = np.frombuffer(text, np.uint8)
        quotes = np.cumsum(symbols == ord('"'), dtype=np.int64) + self._in_string
        steps = np.where(quotes % 2 == 0, _DEPTHS[symbols], 0)
        depths = self._depth + np.cumsum(steps, dtype=np.int64)
        if depths.size:
            self._in_string, self._depth = bool(quotes[-1] % 2), int(depths[-1])
            if depths.max() > _DEEPEST:
                raise DataError(f"{self._name} is nested deeper than {_DEEPEST} levels")
