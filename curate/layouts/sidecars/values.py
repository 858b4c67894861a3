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

from curate.layouts.sidecars.budget import Budget, OverLimitError
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
    Size,
    are_boxes,
    are_numbers,
    count_boxes,
    count_runs,
    is_box_key,
    is_embedding,
    is_known_shape,
    is_matrix,
    is_plausible_embedding,
    shape_of_lists,
)

MAX_TEXT = 512
"""Characters of a text that is not prose."""
MAX_PROSE = 16_384
"""Characters of a text of words."""
MAX_URL = 2048

_MAX_DEPTH = 32
_EMBEDDING = 64
_ENCODED = 96  # characters without a space, most of them in irregular words

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_HEXADECIMAL = re.compile(r"[0-9a-f]{1,128}", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PLAIN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


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
        self.budget = Budget()
        self._shared: dict[str, Budget] = {}

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
        self.budget = Budget.scaled(scale)

    def record(self, value: Mapping[Any, Any], scale: int = 1) -> dict[Any, Any]:
        """Return a record (an image, an object, a row) without the values over the limits."""
        self.begin(scale)
        return self._fields(value)

    def shared(self, key: str, value: Any) -> Any:
        """Return an item of a list whose items share the limits of one record, or None."""
        self.budget = self._shared.setdefault(key, Budget())
        return self._field(key, value, 0)[1]

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
        boxes = self.allow_boxes(value)
        kept = {}
        for name, item in value.items():
            present, item = self._field(name, item, boxes)
            if present:
                kept[name] = item
        return kept

    def _field(self, key: Any, value: Any, parallel: int) -> tuple[bool, Any]:
        """Return whether a field of a record is kept, and its value."""
        before = self.budget.save()
        try:
            return True, self._limit(key, value, parallel, 0)
        except OverLimitError:
            self.budget.restore(before)
            self.drop(str(key)[:MAX_KEY])
            return False, None

    def _limit(self, key: Any, value: Any, parallel: int, depth: int) -> Any:
        """Return a value within the limits; raises `OverLimitError` otherwise."""
        name = key if isinstance(key, str) else str(key)
        kind = kind_of_key(name)
        if self.drops(name):
            if value is None or value == "":  # an empty cell of a CSV file
                return value
            raise OverLimitError
        if isinstance(value, str):
            return self._limit_text(name, value, kind)
        if value is None or isinstance(value, bool):
            self.budget.spend(shapes=10)
            return value
        if isinstance(value, int | float):
            if isinstance(value, int) and abs(value) >= 1 << 64:
                raise OverLimitError
            self.budget.spend(numbers=1)
            self.note(kind, name)
            return value
        if depth > _MAX_DEPTH:
            raise OverLimitError
        if isinstance(value, Mapping):
            return self._limit_mapping(value, depth)
        if isinstance(value, list):
            return self._limit_list(name, value, kind, parallel, depth)
        if not isinstance(value, _PLAIN):
            raise OverLimitError  # bytes
        self.budget.spend(numbers=1)
        return value

    def _limit_text(self, key: str, value: str, kind: str | None) -> str:
        found = kind_of_text(value)
        if found in self.drop_keys or not is_text(value):
            raise OverLimitError
        if found == "urls" and URL.fullmatch(value):
            self.budget.spend_once(value, links=len(value))
        elif is_prose(value):
            self.budget.spend_once(value, prose=len(value))
        else:
            self.budget.spend_once(value, letters=len(value))
        if value:
            self.note(kind if kind and found in (None, "text") else found, key)
        return value

    def _limit_mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if runs := count_runs(value):
            self.budget.spend(shapes=runs)
            return value
        count = self.allow_boxes(value)
        kept = {}
        for name, item in value.items():
            if isinstance(name, str):
                if len(name) > MAX_KEY or _CONTROL.search(name):
                    raise OverLimitError
                self.budget.spend_once(name, letters=_cost_of_key(name))
            if self._is_dropped(name, item):
                self.drop(str(name))
                continue
            kept[name] = self._limit(name, item, count, depth + 1)
        return kept

    def _is_dropped(self, key: Any, value: Any) -> bool:
        name = str(key)
        if value is not None and value != "" and self.drops(name):
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
        if are_numbers(value):
            if len(value) == 4 and is_box_key(key) and are_boxes([value], self.budget.size):
                self.budget.spend_box(value)
                return value
            if len(value) >= _EMBEDDING and len(value) != parallel and is_embedding(key, value):
                kind = "embeddings"
                if kind in self.drop_keys or not is_plausible_embedding(value):
                    raise OverLimitError
            elif is_known_shape(key, value):
                self.budget.spend(shapes=len(value))
            elif len(value) == parallel and _are_codes(value):
                self.budget.spend(numbers=-(-len(value) // 4))
            else:
                self.budget.spend(numbers=len(value))
            self.note(kind, key)
            return value
        if all(isinstance(item, str) for item in value):
            plain = [item for item in dict.fromkeys(value) if not URL.fullmatch(item)]
            total = sum(map(len, plain))
            if max(MAX_TEXT, self.budget.letters) < total and not is_prose(" ".join(plain)):
                raise OverLimitError  # its pieces may be words, one by one
            return [self._limit_text(key, item, kind) for item in value]
        if shape := shape_of_lists(key, value, self.budget.size):
            self.note(kind, key)
            count = sum(map(len, value))
            if shape == "boxes":
                self.budget.spend(boxes=len(value))
            else:
                self.budget.spend(**{"shapes" if shape == "known" else "numbers": count})
            return value
        if is_matrix(value):
            raise OverLimitError
        kept = []
        for item in value:
            if isinstance(item, Mapping):
                kept.append(self._limit_mapping(item, depth + 1))
            else:
                kept.append(self._limit(key, item, 0, depth + 1))
        return kept

    def allow_boxes(self, value: Mapping[Any, Any]) -> int:
        """Allow what the boxes of an object have; returns their number.

        The outermost object with a width and a height states the size of the image.
        """
        if self.budget.size is None and not self.budget.allowed:
            self.budget.size = _find_size(value)
        count = count_boxes(value, self.budget.size)
        self.budget.allow(count)
        return count

    def note(self, kind: str | None, key: str, count: int = 1) -> None:
        """Count values that are kept."""
        if kind is not None and count:
            self.content.add(self._file, kind, key, count)


def is_text(value: str) -> bool:
    """Return whether a text is within the limits: short, a URL, or prose."""
    if len(value) > MAX_PROSE or _CONTROL.search(value):
        return False
    if len(value) <= MAX_TEXT:
        return not any(map(_is_encoded, value.split())) if len(value) > _ENCODED else True
    if len(value) <= MAX_URL and URL.fullmatch(value):
        return True
    return is_prose(value)


def _find_size(value: Mapping[Any, Any]) -> Size | None:
    """Return the width and height that a record states, for lists of boxes in it, or None."""
    sides: list[Any] = [value.get("width"), value.get("height")]
    if not are_numbers(sides) or not all(0 < side < 1e7 for side in sides):
        return None
    return sides[0], sides[1]


def _cost_of_key(key: str) -> int:
    """Return the characters that a key counts as: few for a name of words and numbers."""
    is_plain = len(key) <= 24 and measure_text(key)[2] == 0
    return 1 + len(key) // 8 if is_plain else len(key)


def _are_codes(value: Sequence[float]) -> bool:
    """Return whether numbers are small, as of categories and attributes of boxes."""
    return all(type(item) is int and 0 <= item < 16 for item in value)


_PART = re.compile(r"[^\W_]+")


def _is_encoded(token: str) -> bool:
    """Return whether a text without spaces is longer than names are, and without words."""
    if len(token) <= _ENCODED or URL.fullmatch(token) or _HEXADECIMAL.fullmatch(token):
        return False
    if suffix := _SUFFIX.search(token):  # a path, of which each name may be a digest
        return any(map(_is_encoded, token[: suffix.start()].split("/")))
    total, _, irregular = measure_text(token)
    return irregular * 2 > total


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
