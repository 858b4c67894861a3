"""Stream JSON of any size: items one by one, in constant memory, without trusting the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from curate.core.errors import DataError

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
