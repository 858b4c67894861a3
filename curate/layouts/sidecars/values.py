"""Limits on the values of annotations, and a report of what they contain.

Annotations are parsed and written again from the parsed values. A record (an image, an object,
a row) may hold plain values, text up to `MAX_TEXT` characters or longer prose, and numbers in
known shapes: boxes, polygons, keypoints, run lengths. Other values are dropped and counted:
thumbnails, lists of pixels and rows of pixels have none of these shapes.
"""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from curate.layouts.sidecars.content import (
    DROPPED_KINDS,
    MAX_KEY,
    URL,
    Content,
    kind_of_key,
    kind_of_text,
    kinds_of_key,
)
from curate.layouts.sidecars.shapes import (
    count_boxes,
    is_embedding,
    is_known_shape,
    is_matrix,
    is_plausible_embedding,
    is_run_lengths,
    shape_of_lists,
)

MAX_TEXT = 512
"""Characters of a text that is not prose."""
MAX_PROSE = 16_384
"""Characters of a text of words."""
MAX_URL = 2048

_MAX_DEPTH = 32
_NUMBERS, _LETTERS = 200, 2048  # of a record outside known shapes
_PER_BOX = 16  # further numbers, and characters, for each box of a record
_EMBEDDING = 64

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PLAIN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


class _OverLimitError(Exception):
    pass


class Limits:
    """Limits on values, with the keys to drop and a report of what was kept and dropped.

    Args:
        drop_keys: kinds of `KINDS`, and keys, to drop.
        include: patterns of the paths of files that are copied unread.
        is_image: returns whether a file name is that of an image of the dataset.
    """

    def __init__(
        self,
        drop_keys: Sequence[str] = DROPPED_KINDS,
        include: Sequence[str] = (),
        is_image: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self.drop_keys = frozenset(drop_keys)
        self.include = tuple(include)
        self.is_image = is_image
        self.content = Content()
        self._file = ""
        self._numbers = self._letters = 0
        self._shared: dict[str, tuple[int, int]] = {}

    def open(self, file: str) -> None:
        """Set the file to which the following records belong."""
        self._file = file
        self._shared.clear()
        self.content.open(file)

    def drop(self, key: str, count: int = 1) -> None:
        """Count values that were dropped."""
        self.content.add_dropped(self._file, key, count)

    def includes(self, path: str) -> bool:
        """Return whether a file is copied unread, by its path or its name."""
        name = path.rpartition("/")[2]
        return any(fnmatchcase(path, each) or fnmatchcase(name, each) for each in self.include)

    def drops(self, key: str) -> bool:
        """Return whether a key, or a kind of it, is to be dropped."""
        return key in self.drop_keys or not self.drop_keys.isdisjoint(kinds_of_key(key))

    def begin(self, scale: int = 1) -> None:
        """Start a record.

        Args:
            scale: factor of the limits, for lists of class names.
        """
        self._numbers, self._letters = _NUMBERS * scale, _LETTERS * scale

    def record(self, value: Mapping[Any, Any], scale: int = 1) -> dict[Any, Any]:
        """Return a record (an image, an object, a row) without the values over the limits."""
        self.begin(scale)
        return self._fields(value)

    def shared(self, key: str, value: Any) -> Any:
        """Return an item of a list whose items share the limits of one record, or None."""
        self._numbers, self._letters = self._shared.get(key, (_NUMBERS, _LETTERS))
        kept = self._field(key, value, 0)[1]
        self._shared[key] = self._numbers, self._letters
        return kept

    def value(self, key: str, value: Any) -> Any:
        """Return a value of the record that was started, or None if it is over the limits."""
        return self._field(key, value, 0)[1]

    def document(self, text: str) -> None:
        """Report the links and addresses in a text for people."""
        for kind, pattern in (("urls", URL), ("names", _EMAIL)):
            count = sum(1 for _ in pattern.finditer(text))
            if count:
                self.content.add(self._file, kind, "(text)", count)

    def _fields(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        self._allow_boxes(value)
        kept, boxes = {}, count_boxes(value)
        for name, item in value.items():
            present, item = self._field(name, item, boxes)
            if present:
                kept[name] = item
        return kept

    def _field(self, key: Any, value: Any, parallel: int) -> tuple[bool, Any]:
        """Return whether a field of a record is kept, and its value."""
        before = self._numbers, self._letters
        try:
            return True, self._limit(key, value, parallel, 0)
        except _OverLimitError:
            self._numbers, self._letters = before
            self.drop(str(key)[:MAX_KEY])
            return False, None

    def _limit(self, key: Any, value: Any, parallel: int, depth: int) -> Any:
        """Return a value within the limits; raises `_OverLimitError` otherwise."""
        name = key if isinstance(key, str) else str(key)
        kind = kind_of_key(name)
        if self.drops(name):
            if value is None:
                return None
            raise _OverLimitError
        if isinstance(value, str):
            return self._limit_text(name, value, kind)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if isinstance(value, int) and abs(value) >= 1 << 64:
                raise _OverLimitError
            self._spend(1, 0)
            self.note(kind, name)
            return value
        if depth > _MAX_DEPTH:
            raise _OverLimitError
        if isinstance(value, Mapping):
            return self._limit_mapping(value, depth)
        if isinstance(value, list):
            return self._limit_list(name, value, kind, parallel, depth)
        if not isinstance(value, _PLAIN):
            raise _OverLimitError  # bytes
        self._spend(1, 0)
        return value

    def _limit_text(self, key: str, value: str, kind: str | None) -> str:
        found = kind_of_text(value)
        if found in self.drop_keys or not is_text(value):
            raise _OverLimitError
        if found != "urls" and len(value) <= MAX_TEXT:
            self._spend(0, 0 if is_prose(value) else len(value))
        if value:
            self.note(kind if kind and found in (None, "text") else found, key)
        return value

    def _limit_mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if is_run_lengths(value):
            return value
        self._allow_boxes(value)
        kept, count = {}, count_boxes(value)
        for name, item in value.items():
            if isinstance(name, str):
                if len(name) > MAX_KEY or _CONTROL.search(name):
                    raise _OverLimitError
                self._spend(0, len(name) // 8 if len(name) <= 24 else len(name))
            if self._is_dropped(name, item):
                self.drop(str(name))
                continue
            kept[name] = self._limit(name, item, count, depth + 1)
        return kept

    def _is_dropped(self, key: Any, value: Any) -> bool:
        name = str(key)
        if value is not None and self.drops(name):
            return True
        if isinstance(value, str):
            return kind_of_text(value) in self.drop_keys
        is_list = isinstance(value, list) and len(value) >= _EMBEDDING
        return is_list and "embeddings" in self.drop_keys and is_embedding(name, value)

    def _limit_list(
        self, key: str, value: list[Any], kind: str | None, parallel: int, depth: int
    ) -> list[Any]:
        if not value:
            return value
        if all(type(item) is int or type(item) is float for item in value):
            if len(value) >= _EMBEDDING and len(value) != parallel and is_embedding(key, value):
                kind = "embeddings"
                if kind in self.drop_keys or not is_plausible_embedding(value):
                    raise _OverLimitError
            elif not is_known_shape(key, value):
                self._spend(len(value), 0)
            self.note(kind, key)
            return value
        if all(isinstance(item, str) for item in value):
            total = sum(map(len, value))
            if total > MAX_TEXT and len(value) > 1 and not is_prose(" ".join(value)):
                return [self._limit_one(key, item, kind, total) for item in value]
            return [self._limit_text(key, item, kind) for item in value]
        if shape := shape_of_lists(key, value):
            self.note(kind, key)
            return value if shape == "free" else self._spent(value)
        if is_matrix(value):
            raise _OverLimitError
        kept = []
        for item in value:
            if isinstance(item, Mapping):
                kept.append(self._limit_mapping(item, depth + 1))
            else:
                kept.append(self._limit(key, item, 0, depth + 1))
        return kept

    def _limit_one(self, key: str, item: str, kind: str | None, total: int) -> str:
        """Return an item of a long list of short texts, each of which must be short or a URL."""
        if not URL.fullmatch(item) and total > self._letters:
            raise _OverLimitError
        return self._limit_text(key, item, kind)

    def _spent(self, value: list[Any]) -> list[Any]:
        self._spend(sum(map(len, value)), 0)
        return value

    def _spend(self, numbers: int, letters: int) -> None:
        self._numbers -= numbers
        self._letters -= letters
        if self._numbers < 0 or self._letters < 0:
            raise _OverLimitError

    def _allow_boxes(self, value: Mapping[Any, Any]) -> None:
        boxes = count_boxes(value)
        self._numbers += _PER_BOX * boxes
        self._letters += 8 * _PER_BOX * boxes

    def note(self, kind: str | None, key: str, count: int = 1) -> None:
        """Count values that are kept."""
        if kind is not None and count:
            self.content.add(self._file, kind, key, count)


def is_text(value: str) -> bool:
    """Return whether a text is within the limits: short, a URL, or prose."""
    if _CONTROL.search(value):
        return False
    if len(value) <= MAX_TEXT:
        return True
    if len(value) <= MAX_URL and URL.fullmatch(value):
        return True
    return len(value) <= MAX_PROSE and is_prose(value)


_PART = re.compile(r"[^\W_]+")


def is_prose(value: str) -> bool:
    """Return whether a text consists of words.

    Words have letters of one case, or one capital, and at most 40 of them; digits are less than
    a quarter. Encoded data (base64, hexadecimal, quoted-printable, lists of pixels) is not prose.
    """
    total, digits, irregular = measure_text(value)
    return irregular * 6 <= total and digits * 4 <= total and (total > 0 or not value.strip())


def measure_text(value: str) -> tuple[int, int, int]:
    """Return the numbers of letters and digits in a text, of digits, and of irregular words."""
    total = digits = irregular = 0
    for part in _PART.findall(URL.sub(" ", value)):
        size = len(part)
        total += size
        if part.isdigit():
            digits += size
        elif (size > 40 and part.isascii()) or not part.isalpha():
            irregular += size
        elif not (part.islower() or part.isupper() or part[1:].islower()):
            irregular += 0 if not part.isascii() and part.upper() == part.lower() else size
    return total, digits, irregular
