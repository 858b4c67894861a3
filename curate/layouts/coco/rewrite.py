"""Rewriting of COCO JSON from its parsed values, in memory that grows with one item only."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.layouts.coco.parse import iter_pieces
from curate.layouts.sidecars.keys import KEYS
from curate.layouts.sidecars.text import JsonStyle, find_style, parse_json
from curate.layouts.sidecars.values import Limits

_LISTS = frozenset({"images", "annotations", "categories", "licenses"})
_NAMES = frozenset({"categories", "licenses"})
_MAX_ITEM = 1 << 24  # bytes
_MAX_REST = 1 << 24  # bytes outside lists
_HEAD = 1 << 14


def rewrite_coco(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Rewrite a COCO JSON file, item by item.

    Its top-level lists are written in their order; the items of unknown lists must have an
    ``id`` or the id of something else, otherwise they and all values outside lists share the
    limits of one record.

    Args:
        file: the JSON file, seekable.
        target: file to write to.
        name: name in messages.
        limits: limits on the values.

    Raises:
        DataError: if it is not valid JSON, or an item is larger than 16 MB.
    """
    rest = _read_rest(file, name)
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    writer = _Writer(target, find_style(head), limits, head.isascii())
    lists = {key for key, value in rest.items() if value == []}
    waiting = list(rest)
    seen: str | None = None
    for piece in iter_pieces(file, None, name):
        if not piece.key:
            continue
        if piece.key != seen:
            writer.write_values(waiting, rest, lists, piece.key)
            seen = piece.key
        if len(piece.data) > _MAX_ITEM:
            raise DataError(f"{name}: {piece.key}[{piece.number}] is larger than 16 MB")
        writer.write_item(piece.key, parse_json(piece.data, f"{name}: {piece.key}[{piece.number}]"))
    writer.write_values(waiting, rest, lists, None)
    writer.finish()
    file.seek(-1, io.SEEK_END)
    target.write(file.read().strip(b"}"))


def _read_rest(file: BinaryIO, name: str) -> dict[str, Any]:
    """Return the document with its top-level lists emptied."""
    text, size = [], 0
    for piece in iter_pieces(file, None, name):
        if piece.key:
            continue
        size += len(piece.data)
        if size > _MAX_REST:
            raise DataError(f"{name} has more than 16 MB outside its lists")
        text.append(piece.data)
    data = b"".join(text)
    rest = parse_json(data, name)
    if not isinstance(rest, dict):
        raise DataError(f"{name} is not a JSON object")
    pairs: list[tuple[str, Any]] = []

    def note(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found  # of the outermost object in the end
        return dict(found)

    json.loads(data, object_pairs_hook=note)
    lists = [key for key, value in pairs if value == []]
    for key, count in Counter(lists).items():
        if count > 1:
            raise DataError(f"{name}: the key {key[:80]!a} occurs twice")
    return rest


class _Writer:
    """Writer of the keys and items of a document, in its style."""

    def __init__(self, target: BinaryIO, style: JsonStyle, limits: Limits, ascii_only: bool):
        self._target, self._style, self._limits = target, style, limits
        self._ascii = ascii_only
        self._is_first = self._is_first_item = True
        self._open: str | None = None
        self._kept: dict[str, int] = {}
        target.write(b"{")

    def write_values(
        self, waiting: list[str], rest: Mapping[str, Any], lists: set[str], until: str | None
    ) -> None:
        """Write the values before a list, and open it; all that are left if it is None."""
        self._close()
        while waiting:
            key = waiting.pop(0)
            if not self._limits.accepts_shared_key(key):
                self._limits.drop(KEYS)
                if key == until:
                    return
                continue
            if key == until:
                self._key(key)
                self._target.write(b"[")
                self._open, self._is_first_item = key, True
                return
            if key in lists:
                self._key(key)
                self._target.write(b"[]")
                continue
            kept = self._limits.shared(key, rest[key])
            if kept is not None or rest[key] is None:
                self._key(key)
                self._target.write(self._style.format(kept, 1, self._ascii))
        if until is not None:
            raise DataError(f"the key {until[:80]!a} occurs twice")

    def write_item(self, key: str, value: Any) -> None:
        """Write an item of the open list."""
        value = self._limit_item(key, value) if self._open is not None else None
        if value is None:
            return
        self._target.write(b"" if self._is_first_item else self._comma())
        self._is_first_item = False
        self._target.write(self._style.newline(2).encode())
        self._target.write(self._style.format(value, 2, self._ascii))

    def finish(self) -> None:
        """Write the end of the document."""
        self._close()
        self._target.write(self._style.newline(0).encode() + b"}")

    def _limit_item(self, key: str, value: Any) -> Any:
        if isinstance(value, dict) and (key in _LISTS or _has_id(value)):
            return self._limits.record(value, key in _NAMES)
        if isinstance(value, list):
            self._limits.drop(key)
            return None
        return self._limits.shared(key, value)

    def _close(self) -> None:
        if self._open is not None:
            end = b"" if self._is_first_item else self._style.newline(1).encode()
            self._target.write(end + b"]")
            self._open = None

    def _key(self, key: str) -> None:
        self._target.write(b"" if self._is_first else self._comma())
        self._is_first = False
        self._target.write(self._style.newline(1).encode())
        self._target.write(self._style.format(key, 0, self._ascii) + self._style.colon.encode())

    def _comma(self) -> bytes:
        return b"," if self._style.indent is not None else self._style.comma.encode()


def _has_id(value: Mapping[str, Any]) -> bool:
    return any(key == "id" or key.endswith("_id") for key in value)
