"""Limits on the values of annotations, and a report of what they contain.

Annotations are parsed and written again from the parsed values. A record (an image, an object,
a row) may hold plain values, text up to `MAX_TEXT` characters or longer prose, and numbers in
known shapes: boxes, polygons, keypoints, run lengths. Other values are dropped and counted:
thumbnails, lists of pixels and rows of pixels have none of these shapes.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

from curate.layouts.sidecars.budget import (
    CODE,
    FLAG,
    NUMBER,
    RECORD,
    Budget,
    OverLimitError,
    cost_of_number,
    cost_of_numbers,
    cost_of_value,
)
from curate.layouts.sidecars.content import (
    URL,
    kind_of_key,
    kinds_of_text,
)
from curate.layouts.sidecars.keys import KEYS, MAX_KEYS, is_key, name_of_key
from curate.layouts.sidecars.prose import (
    MAX_CODES,
    find_class_names,
    has_encoded_run,
    is_prose,
    is_text,
    measure_codes,
)
from curate.layouts.sidecars.rules import Rules
from curate.layouts.sidecars.shapes import (
    EMBEDDING,
    are_boxes,
    are_numbers,
    count_boxes,
    count_runs,
    find_axes,
    find_shape,
    find_sides,
    find_size,
    find_spread_embedding,
    group_numbered,
    is_box_key,
    is_embedding,
    is_matrix,
    is_plausible_embedding,
    shape_of_lists,
)

_MAX_DEPTH = 32
_MAX_LISTED = 1024  # characters of a list of texts whose pieces may be words, one by one
_PLAIN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)


class Limits(Rules):
    """Limits on values, with the keys to drop and a report of what was kept and dropped."""

    def begin(self) -> None:
        """Start a record."""
        self.budget = Budget()

    def record(self, value: Mapping[Any, Any], are_names: bool = False) -> dict[Any, Any]:
        """Return a record (an image, an object, a row) without the values over the limits.

        Args:
            value: the record.
            are_names: whether its texts are names, as of a class or a license.
        """

        def limit(value: dict[Any, Any]) -> dict[Any, Any]:
            self.begin()
            return self._fields(value)

        self._are_names = are_names
        try:
            return self.settle(limit, dict(value))
        finally:
            self._are_names = False

    def document_record(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the values of a document about a dataset within its limits."""

        def limit(value: dict[Any, Any]) -> dict[Any, Any]:
            self.budget = self.document_budget()
            return self._fields(value)

        return self.settle(limit, dict(value))

    def document_budget(self) -> Budget:
        """Return the budget of a document."""
        return Budget.of_document()

    def shared(self, key: str, value: Any) -> Any:
        """Return a value of a file whose values share the limits of one record, or None."""
        before = self._shared.save()

        def limit(value: Any) -> Any:
            self.budget = self._shared
            self.budget.restore(before)
            return self._field(key, value)[1]

        return self.settle(limit, value)

    def shared_row(self, row: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return a row of a file of one image, whose rows share the limits of one record."""
        return self.shared("rows", row) or {}

    def value(self, key: str, value: Any) -> Any:
        """Return a value of the record that was started, or None if it is over the limits."""
        self.budget.is_own = self._is_own(value)
        return self._field(key, value)[1]

    def accepts_shared_key(self, key: str) -> bool:
        """Return whether a key of the file itself is within the limits of one record."""
        self.budget = self._shared
        return self.accepts_key(key)

    def accepts_key(self, key: Any) -> bool:
        """Return whether a key of the record that was started is within its limits."""
        try:
            self._spend_key(key)
        except OverLimitError:
            return False
        return True

    def _fields(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        sides = self.allow_boxes(value)
        is_long = len(value) >= EMBEDDING
        unfit = {*find_spread_embedding(value)} if is_long and self.drops_embeddings else set()
        unfit |= _find_numbered(value) if is_long else set()
        kept = {}
        for number, (name, item) in enumerate(value.items()):
            is_empty = item is None or item == ""  # as a cell from which a value was dropped
            is_known = number < MAX_KEYS and self.accepts_key(name)
            if (name in unfit and not is_empty) or not is_known:
                if number < MAX_KEYS or not is_empty:
                    self.drop(name_of_key(name) if is_known else KEYS)
                continue
            if name in sides:
                kept[name] = item
                continue
            self.budget.is_own = self._is_own(item)
            present, item = self._field(name, item)
            if present:
                kept[name] = item
        return kept

    def _is_own(self, value: Any) -> bool:
        """Return whether a value of an object with boxes belongs to these: of one, or one each."""
        boxed = self.budget.boxed
        return boxed == 1 or (boxed > 1 and isinstance(value, list) and len(value) == boxed)

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

    def _field(self, key: Any, value: Any) -> tuple[bool, Any]:
        """Return whether a field of a record is kept, and its value."""
        before = self.budget.save()
        try:
            return True, self._limit(key, value, 0)
        except OverLimitError:
            self.budget.restore(before)
            self.drop(name_of_key(key))
            return False, None

    def _limit(self, key: Any, value: Any, depth: int) -> Any:
        """Return a value within the limits; raises `OverLimitError` otherwise."""
        if depth == 0 and (value is None or value == "" or value == {}):
            return value  # as it is where a value or a row was dropped
        name = key if isinstance(key, str) else str(key)
        if self.drops(name):
            raise OverLimitError
        kind = kind_of_key(name)
        if isinstance(value, str):
            return self._limit_text(name, value, kind)
        if value is None or isinstance(value, bool):
            self.budget.spend_data(FLAG)
            return value
        if isinstance(value, int | float):
            if isinstance(value, int) and abs(value) >= 1 << 64:
                raise OverLimitError
            self.budget.spend_data(cost_of_number(value))
            self.note(kind, name)
            return value
        if depth > _MAX_DEPTH:
            raise OverLimitError
        if self.budget.names and self._spend_names(name, value):
            return value
        if isinstance(value, Mapping):
            if self.drops_value(name, value):
                raise OverLimitError
            return self._limit_mapping(value, depth)
        if isinstance(value, list):
            return self._limit_list(name, value, kind, depth)
        if not isinstance(value, _PLAIN):
            raise OverLimitError  # bytes
        self.budget.spend_data(NUMBER)
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
        self.budget.spend_text(value)

    def _are_paths(self, texts: Sequence[str]) -> bool:
        return all(self.rest_of(text) == "" for text in texts)

    def _limit_mapping(
        self, value: Mapping[Any, Any], depth: int, before: Sequence[Any] = ()
    ) -> Any:
        """Return an object within the limits.

        Args:
            value: the object.
            depth: its depth in the record.
            before: keys of the object before it in a list.
        """
        if runs := count_runs(value):
            self.budget.spend(shapes=runs)
            return value
        if len(value) > MAX_KEYS:
            raise OverLimitError
        budget = self.budget
        if list(value) != before:
            budget.spend_data(CODE)
        outer = budget.boxed, budget.share, budget.joints, budget.is_own
        budget.boxed = 0
        sides = self.allow_boxes(value)
        has_boxes = budget.boxed > 0
        (axes, shape), kept = find_axes(value), {}
        for name, item in value.items():
            if self._is_key(str(name)):
                self._spend_key(name)
            else:
                self.drop(KEYS)
                continue
            if self.drops_value(name, item):
                self.drop(name_of_key(name))
                continue
            if name in axes or name in sides:
                budget.spend_shape(shape or "shapes", len(item) if name in axes else 0)
                kept[name] = item
                continue
            budget.is_own = self._is_own(item) if has_boxes else outer[3]
            kept[name] = self._limit(name, item, depth + 1)
        if has_boxes:
            budget.share, budget.joints = outer[1:3]
        budget.boxed, budget.is_own = outer[0], outer[3]
        return kept

    def _limit_list(self, key: str, value: list[Any], kind: str | None, depth: int) -> list[Any]:
        budget = self.budget
        outer, budget.scale = budget.scale, budget.listed
        kept = self._limit_items(key, value, kind, depth)
        budget.scale = outer
        return kept

    def _limit_items(self, key: str, value: list[Any], kind: str | None, depth: int) -> list[Any]:
        budget = self.budget
        budget.spend_data(CODE)
        if not value:
            return value
        is_own = budget.is_own and len(value) == budget.boxed
        if are_numbers(value):
            if len(value) == 4 and is_box_key(key) and are_boxes([value], budget.size):
                budget.spend_boxes(key, [value])
                return value
            if len(value) >= EMBEDDING and not is_own and is_embedding(key, value):
                kind = "embeddings"
                if kind in self.drop_keys or not is_plausible_embedding(value):
                    raise OverLimitError
            elif shape := find_shape(key, value):
                budget.spend_shape(shape, len(value))
            else:
                budget.spend_data(cost_of_numbers(value))
            self.note(kind, key)
            return value
        if all(isinstance(item, str) for item in value):
            plain = [item for item in dict.fromkeys(value) if not URL.fullmatch(item)]
            is_long = sum(map(len, plain)) > _MAX_LISTED and not is_own
            if is_long and not is_prose(" ".join(plain)) and not self._are_paths(plain):
                raise OverLimitError  # its pieces may be words, one by one
            return [self._limit_text(key, item, kind) for item in value]
        if shape := shape_of_lists(key, value, budget.size):
            self.note(kind, key)
            if shape == "boxes":
                budget.spend_boxes(key, value)
            elif shape == "other":
                if is_matrix(value) and not is_own:
                    raise OverLimitError
                budget.spend_data(sum(map(cost_of_numbers, value)) + FLAG * len(value))
            else:
                budget.spend_shape(shape, sum(map(len, value)))
            return value
        if is_matrix(value):
            raise OverLimitError
        kept: list[Any] = []
        keys: list[Any] = []
        for item in value:
            if isinstance(item, Mapping):
                kept.append(self._limit_mapping(item, depth + 1, keys))
                keys = list(item)
            else:
                kept.append(self._limit(key, item, depth + 1))
        return kept

    def allow_boxes(self, value: Mapping[Any, Any]) -> tuple[Any, ...]:
        """Allow what the boxes of an object have; returns the keys that are sides of its box.

        The outermost object with a width and a height states the size of the image.
        """
        budget = self.budget
        sides = find_sides(value)
        if budget.size is None and not budget.allowed and not sides:
            budget.size = find_size(value)
        count = count_boxes(value, budget.size)
        sides = () if count else sides
        budget.allow(count or int(bool(sides)))
        if sides:
            budget.spend_boxes("", [[value[side] for side in sides]])
        return sides


def _find_numbered(value: Mapping[Any, Any]) -> set[Any]:
    """Return keys that differ only in a number, and have more numbers than a record has."""
    groups = group_numbered(value)
    return {
        key
        for keys in groups.values()
        if len(keys) >= EMBEDDING and sum(cost_of_value(value[key]) for key in keys) > RECORD
        for key in keys
    }
