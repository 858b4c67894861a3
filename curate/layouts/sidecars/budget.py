"""What a record of annotations may contain in total, and what its values count as."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

from curate.layouts.sidecars.content import URL
from curate.layouts.sidecars.invisible import cost_of_invisible
from curate.layouts.sidecars.prose import is_prose, measure_runs, measure_text
from curate.layouts.sidecars.shapes import FEW_BOXES, Size, are_boxes

RECORD = 3200
"""Units of the values of a record that are neither words nor known shapes; about a bit each."""
OWN = 128
"""Units of the values of one box, in addition."""
OWN_POINTS = 512
"""Numbers of keypoints and landmarks of one box, in addition."""
FLAG = 2
"""Units of a truth value, 0, 1 and -1."""
CODE = 8
"""Units of an integer below 16, and of a text at least."""
NUMBER = 16
"""Units of a number, and of a URL."""
LONG = 32
"""Units of an integer of more than 32 bits."""
_DISTINCT = 4  # each of integers that are all distinct, as ids are and pixels are not
_FEW_IDS = 64
_MAX_ID = 1 << 16
_SYMBOLS = 64  # characters of prose from which its symbols count
_EXAMINED = 32  # boxes of objects after which all are examined together
_UNEXAMINED = 64  # boxes under keys of which too few are to be examined
_CELL = re.compile(r"(?=.{1,24}$)[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)
_DIGITS = re.compile(r"\d+")


class OverLimitError(Exception):
    """A value is over the limits of its record, and is dropped."""


def cost_of_number(value: float) -> int:
    """Return what a number counts as."""
    if value in (0, 1, -1):
        return FLAG
    size = abs(value)
    if value % 1 or not size < float("inf"):
        return NUMBER
    return CODE if size < 16 else NUMBER if size < 1 << 32 else LONG


def cost_of_numbers(values: Sequence[float]) -> int:
    """Return what a list of numbers counts as; less if all are distinct integers, such as ids."""
    is_distinct = len(values) >= _FEW_IDS and len(set(values)) == len(values)
    if is_distinct and all(type(value) is int and 0 <= value < _MAX_ID for value in values):
        return _DISTINCT * len(values)
    return sum(map(cost_of_number, values))


@lru_cache(1 << 12)
def number_of(text: str) -> float | None:
    """Return the number that a text of up to 24 characters is, or None."""
    return float(text) if _CELL.fullmatch(text) else None


@lru_cache(1 << 12)
def _cost_of_words(words: str) -> int:
    """Return what a text without its links counts as beside its words."""
    if is_prose(words):
        found = measure_text(words)
        return max(CODE, 6 * found.encoded + found.digits)
    return max(CODE, measure_runs(words))


def cost_of_value(value: Any) -> int:
    """Return what a number, or a text other than of words, counts as; 0 for others."""
    if isinstance(value, int | float):
        return cost_of_number(value)
    if not isinstance(value, str) or not value:
        return 0
    if (number := number_of(value)) is not None:
        return cost_of_number(number)
    return 0 if is_prose(value) else _cost_of_words(value)


@dataclass(slots=True)
class Budget:
    """What a record may still contain.

    Args:
        data: units of numbers, truth values, encoded runs and other values that are not words.
        shapes: numbers in known shapes other than boxes.
        points: numbers of outlines, keypoints and landmarks that could be others.
        prose: characters of texts.
        symbols: characters of prose that are neither letters nor digits.
        links: characters of URLs.
        keys: characters of keys, by `cost_of_key`; equal ones count once.
        names: characters of lists of class names, which only documents have.
        boxes: boxes in lists.
        allowed: boxes that have allowed further values.
        boxed: boxes of the object that is limited.
        share: units that its values may use instead of `data`, if they belong to its boxes.
        joints: numbers that these may use instead of `points`.
        is_own: whether the value that is limited belongs to its boxes.
        scale: what a unit counts as.
        listed: what a unit in a list counts as.
        size: size of the image, if the record contains it.
        own: path and names of the image, which are kept whatever they look like.
        seen: keys and texts that were counted.
        singles: boxes that were not examined in a list, with their keys.
    """

    data: int = RECORD
    shapes: int = 8192
    points: int = 1024
    prose: int = 32_768
    symbols: int = 2048
    links: int = 3072
    keys: int = 4096
    names: int = 0
    boxes: int = 4000
    allowed: int = 0
    boxed: int = 0
    share: int = 0
    joints: int = 0
    is_own: bool = False
    scale: int = 1
    listed: int = 1
    size: Size | None = None
    own: tuple[str, ...] = ()
    seen: dict[str, None] = field(default_factory=dict)
    singles: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    @classmethod
    def of_document(cls) -> Budget:
        """Return the budget of a document about a dataset, such as ``dataset_info.json``.

        It may have more texts, links, keys and single values than a record, and lists of class
        names, but not more values in lists.
        """
        plain = cls()
        return cls(
            data=4 * plain.data,
            listed=4,
            prose=4 * plain.prose,
            symbols=4 * plain.symbols,
            links=4 * plain.links,
            keys=4 * plain.keys,
            names=1 << 20,
        )

    def allow(self, boxes: int) -> None:
        """Allow what an object with boxes has: their attributes, masks and keypoints.

        The first 64 boxes allow masks of 4,096 numbers each, all others of 1,024.
        """
        first = min(boxes, max(0, 64 - self.allowed))
        self.allowed += boxes
        self.shapes += 4096 * first + 1024 * (boxes - first)
        if boxes:
            self.boxed, self.share, self.joints = boxes, OWN * boxes, OWN_POINTS * boxes

    def spend(self, **parts: int) -> None:
        """Subtract what a value contains; raises `OverLimitError` if too little is left."""
        for name, count in parts.items():
            if getattr(self, name) < count:
                raise OverLimitError
        for name, count in parts.items():
            setattr(self, name, getattr(self, name) - count)

    def spend_data(self, units: int) -> None:
        """Subtract a value that is not words, first from what the boxes of its object allow."""
        units *= self.scale
        own = min(self.share, units) if self.is_own else 0
        if self.data < units - own:
            raise OverLimitError
        self.share -= own
        self.data -= units - own

    def spend_shape(self, shape: str, numbers: int) -> None:
        """Subtract numbers in a shape of `find_shape`."""
        own = min(self.joints, numbers) if self.is_own and shape == "points" else 0
        self.spend(**{shape: numbers - own})
        self.joints -= own

    def spend_once(self, text: str, **parts: int) -> None:
        """Subtract a key, unless it was subtracted before."""
        if text not in self.seen:
            self.spend(**parts)
            self.seen[text] = None

    def spend_text(self, text: str) -> None:
        """Subtract a text: its words once, each occurrence as a code, a number or a link.

        Characters that nobody sees count in any case.
        """
        if (number := number_of(text)) is not None:
            self.spend_data(cost_of_number(number))
            return
        words = URL.sub(" ", text).strip() if "://" in text else text
        links = len(text) - len(words)
        if invisible := cost_of_invisible(text):
            self.spend_data(invisible)
        if text in self.seen:
            self.spend_data(NUMBER if links else CODE)
            return
        is_long = len(words) > _SYMBOLS and is_prose(words)
        symbols = measure_text(words).symbols if is_long else 0
        self.spend(prose=len(words), links=links, symbols=symbols)
        self.spend_data((_cost_of_words(words) if words else 0) + (NUMBER if links else 0))
        self.seen[text] = None

    def spend_boxes(self, key: str, boxes: Sequence[Sequence[Any]]) -> None:
        """Subtract boxes under a key.

        All few boxes under keys that differ in digits must be plausible together as those of an
        image. Repeated ones, such as crops, count as numbers in shapes do instead.
        """
        self.spend(boxes=len(boxes))
        if len(boxes) > FEW_BOXES:
            return  # examined as a list
        before = len(self.singles) // _EXAMINED
        self.singles += ((_DIGITS.sub("", key), tuple(box)) for box in boxes)
        if len(self.singles) // _EXAMINED > before:
            self._examine()

    def _examine(self) -> None:
        grouped: dict[str, list[tuple[Any, ...]]] = {}
        for key, box in self.singles:
            grouped.setdefault(key, []).append(box)
        few = 0
        for boxes in grouped.values():
            few += len(boxes) if len(boxes) <= FEW_BOXES else 0
            if len(boxes) > FEW_BOXES >= len(set(boxes)):
                self.spend(shapes=10 * _EXAMINED)
            elif not are_boxes(list(map(list, boxes)), self.size):
                raise OverLimitError
        if few > _UNEXAMINED:
            raise OverLimitError

    def save(self) -> tuple[Any, ...]:
        """Return a copy for `restore`."""
        return *_values_of(self), len(self.singles), len(self.seen)

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Undo what was subtracted since `save`, for a value that is dropped."""
        *values, boxes, count = saved
        for name, value in zip(_COUNTERS, values, strict=True):
            setattr(self, name, value)
        del self.singles[boxes:]
        while len(self.seen) > count:
            self.seen.popitem()


_COUNTERS = (
    *("data", "shapes", "points", "prose", "symbols", "links", "keys", "names", "boxes"),
    *("allowed", "boxed", "share", "joints", "is_own", "scale", "size"),
)
_values_of = attrgetter(*_COUNTERS)
