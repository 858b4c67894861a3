"""Limits on the values of annotations, and a report of what they contain.

Annotations are parsed and written again from the parsed values. A record (an image, an object,
a row) may hold plain values, text up to `MAX_TEXT` characters or longer prose, and numbers in
known shapes: boxes, polygons, keypoints, run lengths. Other values are dropped and counted:
thumbnails, lists of pixels and rows of pixels have none of these shapes.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from curate.layouts.sidecars.budget import Budget, OverLimitError
from curate.layouts.sidecars.content import (
    DROPPED_KINDS,
    EMAIL,
    URL,
    Content,
    kind_of_key,
    kinds_of_key,
    kinds_of_text,
    matches_pattern,
)
from curate.layouts.sidecars.keys import KEYS, MAX_KEYS, FileKeys, is_key, name_of_key
from curate.layouts.sidecars.prose import (
    MAX_CODES,
    MAX_TEXT,
    find_class_names,
    has_encoded_run,
    is_prose,
    is_text,
    measure_codes,
    measure_text,
)
from curate.layouts.sidecars.shapes import (
    EMBEDDING,
    are_boxes,
    are_codes,
    are_numbers,
    count_boxes,
    count_runs,
    find_axes,
    find_box,
    find_size,
    find_spread_embedding,
    is_box_key,
    is_embedding,
    is_known_shape,
    is_matrix,
    is_plausible_embedding,
    shape_of_lists,
)

_MAX_DEPTH = 32
_SYMBOLS = 64  # characters of a text from which its symbols count
_PLAIN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


class Limits:
    """Limits on values, with the keys to drop and a report of what was kept and dropped.

    Args:
        drop_keys: kinds of `KINDS`, and keys, to drop.
        include: patterns of the paths of files that are copied unread.
        is_image: returns whether a file name is that of an image of the dataset.
        match_path: returns how many characters at the end of a text are the path, the name or
            the stem of an image of the dataset, whose names are kept whatever they look like.
    """

    def __init__(
        self,
        drop_keys: Sequence[str] = DROPPED_KINDS,
        include: Sequence[str] = (),
        is_image: Callable[[str], bool] = lambda name: True,
        match_path: Callable[[str], int] | None = None,
    ) -> None:
        self.drop_keys = frozenset(drop_keys)
        self.include = tuple(include)
        self.is_image = is_image
        self.match_path = match_path
        self.content = Content()
        self._file = ""
        self.budget = Budget()
        self._shared: dict[str, Budget] = {}
        self._are_names = False
        self._codes = 0
        self._keys = FileKeys()

    def copy(self) -> Self:
        """Return the same limits with an empty report."""
        return type(self)(tuple(self.drop_keys), self.include, self.is_image, self.match_path)

    def open(self, file: str) -> None:
        """Set the file to which the following records belong."""
        self._file = file
        self._shared.clear()
        self._codes = 0
        self._keys = FileKeys()
        self.content.open(file)

    def drop(self, key: str, count: int = 1) -> None:
        """Count values that were dropped."""
        self.content.add_dropped(self._file, key, count)

    def includes(self, path: str) -> bool:
        """Return whether a file is copied unread, by its path or its name."""
        return any(matches_pattern(path, each) for each in self.include)

    def drops(self, key: str) -> bool:
        """Return whether a key, or a kind of it, is to be dropped."""
        return key in self.drop_keys or not self.drop_keys.isdisjoint(kinds_of_key(key))

    def begin(self) -> None:
        """Start a record."""
        self.budget = Budget()

    def record(self, value: Mapping[Any, Any], are_names: bool = False) -> dict[Any, Any]:
        """Return a record (an image, an object, a row) without the values over the limits.

        Args:
            value: the record.
            are_names: whether its texts are names, as of a class or a license.
        """
        self.budget, self._are_names = Budget(), are_names
        try:
            return self._fields(value)
        finally:
            self._are_names = False

    def document_record(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the values of a document about a dataset within its limits."""
        self.budget = Budget.of_document()
        return self._fields(value)

    def shared(self, key: str, value: Any) -> Any:
        """Return an item of a list whose items share the limits of one record, or None."""
        self.budget = self._shared.setdefault(key, Budget())
        return self._field(key, value, 0)[1]

    def shared_row(self, row: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return a row of a file of one image, whose rows share the limits of one record."""
        return self.shared("rows", row) or {}

    def value(self, key: str, value: Any) -> Any:
        """Return a value of the record that was started, or None if it is over the limits."""
        return self._field(key, value, 0)[1]

    def accepts_shared_key(self, key: str) -> bool:
        """Return whether a key of the file itself is within the limits of one record."""
        self.budget = self._shared.setdefault("", Budget())
        return self.accepts_key(key)

    def accepts_key(self, key: Any) -> bool:
        """Return whether a key of the record that was started is within its limits."""
        try:
            self._spend_key(key)
        except OverLimitError:
            return False
        return True

    def document(self, text: str) -> None:
        """Report the links and addresses in a text for people."""
        for kind, pattern in (("urls", URL), ("names", EMAIL)):
            count = sum(1 for _ in pattern.finditer(text))
            if count:
                self.content.add(self._file, kind, "(text)", count)

    def _fields(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        boxes = self.allow_boxes(value)
        is_long = len(value) >= EMBEDDING and "embeddings" in self.drop_keys
        spread = find_spread_embedding(value) if is_long else ()
        kept = {}
        for number, (name, item) in enumerate(value.items()):
            is_known = number < MAX_KEYS and self.accepts_key(name)
            if name in spread or not is_known:
                self.drop(name_of_key(name) if is_known else KEYS)
                continue
            present, item = self._field(name, item, boxes)
            if present:
                kept[name] = item
        return kept

    def _spend_key(self, key: Any) -> None:
        """Count a key; raises `OverLimitError` if it is over the limits."""
        name = key if isinstance(key, str) else str(key)
        try:
            self._keys.spend(name, self.budget)
        except OverLimitError:
            rest = self.rest_of(name)
            if rest is None:
                raise
            self._keys.spend(rest, self.budget)

    def _is_key(self, name: str) -> bool:
        return is_key(name) or self.rest_of(name) is not None

    def _field(self, key: Any, value: Any, parallel: int) -> tuple[bool, Any]:
        """Return whether a field of a record is kept, and its value."""
        before = self.budget.save()
        try:
            return True, self._limit(key, value, parallel, 0)
        except OverLimitError:
            self.budget.restore(before)
            self.drop(name_of_key(key))
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
        if self.budget.names and self._spend_names(name, value):
            return value
        if isinstance(value, Mapping):
            if self._is_dropped(name, value):
                raise OverLimitError
            return self._limit_mapping(value, depth)
        if isinstance(value, list):
            return self._limit_list(name, value, kind, parallel, depth)
        if not isinstance(value, _PLAIN):
            raise OverLimitError  # bytes
        self.budget.spend(numbers=1)
        return value

    def _spend_names(self, key: str, value: Any) -> bool:
        """Count a list or a numbered mapping of class names; returns whether it is one."""
        names = find_class_names(key, value)
        if not names:
            return False
        self.budget.spend(names=sum(map(len, names)))
        return True

    def _limit_text(self, key: str, value: str, kind: str | None) -> str:
        kinds = kinds_of_text(value)
        if not self.drop_keys.isdisjoint(kinds):
            raise OverLimitError
        try:
            self._spend_text(value)
        except OverLimitError:
            rest = self.rest_of(value)
            if rest is None:
                raise
            self._spend_text(rest)
        if value:
            for each in kinds if kind is None else {*kinds, kind} - {"text"} | {kind}:
                self.note(each, key)
        return value

    def _spend_text(self, value: str) -> None:
        if not is_text(value):
            raise OverLimitError
        if self._are_names and "://" not in value:
            self._codes += measure_codes(value)
            if self._codes > MAX_CODES or has_encoded_run(value):
                raise OverLimitError
        words = URL.sub(" ", value).strip() if "://" in value else value
        links = len(value) - len(words)
        if not words:
            self.budget.spend_once(value, links=links)
        elif is_prose(value):
            symbols = measure_text(words).symbols if len(words) > _SYMBOLS else 0
            self.budget.spend_once(value, prose=len(words), links=links, symbols=symbols)
        else:
            letters = len(words) if words.isascii() else max(len(words), len(words.encode()) // 2)
            self.budget.spend_once(value, letters=letters, links=links)

    def _are_paths(self, texts: Sequence[str]) -> bool:
        return all(self.rest_of(text) == "" for text in texts)

    def rest_of(self, value: str) -> str | None:
        """Return a text without the path of an image at its end, or None if it has none."""
        for name in self.budget.own:
            if value.endswith(name) and value[-len(name) - 1 : -len(name)] in ("", "/", "\\"):
                return value[: -len(name)]
        size = self.match_path(value) if self.match_path is not None else 0
        return value[:-size] if size else None

    def _limit_mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if runs := count_runs(value):
            self.budget.spend(shapes=runs)
            return value
        count = self.allow_boxes(value)
        if len(value) > MAX_KEYS:
            raise OverLimitError
        axes, kept = find_axes(value), {}
        for name, item in value.items():
            if self._is_key(str(name)):
                self._spend_key(name)
            else:
                self.drop(KEYS)
                continue
            if self._is_dropped(name, item):
                self.drop(name_of_key(name))
                continue
            if name in axes:
                self.budget.spend(shapes=len(item))
                kept[name] = item
                continue
            kept[name] = self._limit(name, item, count, depth + 1)
        return kept

    def _is_dropped(self, key: Any, value: Any) -> bool:
        name = str(key)
        if value is not None and value != "" and self.drops(name):
            return True
        if isinstance(value, str):
            return not self.drop_keys.isdisjoint(kinds_of_text(value))
        if "embeddings" not in self.drop_keys or not isinstance(value, list | Mapping):
            return False
        if isinstance(value, Mapping):
            spread = find_spread_embedding(value) if len(value) >= EMBEDDING else ()
            return len(spread) * 10 >= len(value) * 9 > 0
        return len(value) >= EMBEDDING and is_embedding(name, value)

    def _limit_list(
        self, key: str, value: list[Any], kind: str | None, parallel: int, depth: int
    ) -> list[Any]:
        if not value:
            return value
        if are_numbers(value):
            if len(value) == 4 and is_box_key(key) and are_boxes([value], self.budget.size):
                self.budget.spend_box(key, value)
                return value
            if len(value) >= EMBEDDING and len(value) != parallel and is_embedding(key, value):
                kind = "embeddings"
                if kind in self.drop_keys or not is_plausible_embedding(value):
                    raise OverLimitError
            elif is_known_shape(key, value):
                self.budget.spend(shapes=len(value))
            elif len(value) == parallel and are_codes(value):
                self.budget.spend(numbers=-(-len(value) // 4))
            else:
                self.budget.spend(numbers=len(value) * self.budget.listed)
            self.note(kind, key)
            return value
        if all(isinstance(item, str) for item in value):
            plain = [item for item in dict.fromkeys(value) if not URL.fullmatch(item)]
            total = sum(map(len, plain))
            is_long = max(MAX_TEXT, self.budget.letters) < total
            if is_long and not is_prose(" ".join(plain)) and not self._are_paths(plain):
                raise OverLimitError  # its pieces may be words, one by one
            return [self._limit_text(key, item, kind) for item in value]
        if shape := shape_of_lists(key, value, self.budget.size):
            self.note(kind, key)
            count = sum(map(len, value))
            if shape == "boxes":
                self.budget.spend(boxes=len(value))
            else:
                is_known = shape == "known"
                count *= 1 if is_known else self.budget.listed
                self.budget.spend(**{"shapes" if is_known else "numbers": count})
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
            self.budget.size = find_size(value)
        count = count_boxes(value, self.budget.size)
        box = None if count else find_box(value)
        self.budget.allow(count or int(box is not None))
        if box is not None:
            self.budget.spend_box("", box)
        return count

    def note(self, kind: str | None, key: str, count: int = 1) -> None:
        """Count values that are kept."""
        if kind is not None and count:
            self.content.add(self._file, kind, key, count)
