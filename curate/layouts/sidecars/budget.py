"""What a record of annotations may contain in total."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from curate.layouts.sidecars.shapes import FEW_BOXES, Size, are_boxes

_EXAMINED = 32  # boxes of objects after which all are examined together


class OverLimitError(Exception):
    """A value is over the limits of its record, and is dropped."""


@dataclass(slots=True)
class Budget:
    """What a record may still contain.

    Args:
        numbers: numbers outside known shapes.
        shapes: numbers in known shapes other than boxes, and truth values.
        letters: characters of texts that are not prose; equal ones count once.
        prose: characters of prose.
        symbols: characters of prose that are neither letters nor digits.
        links: characters of URLs.
        keys: characters of keys, by `cost_of_key`; equal ones count once.
        names: characters of lists of class names, which only documents have.
        boxes: boxes in lists.
        listed: what a number in a list counts as.
        own: path and names of the image, which are kept whatever they look like.
        allowed: boxes that have allowed further values.
        size: size of the image, if the record contains it.
        seen: keys and texts that were counted.
        singles: boxes that objects have, one each, with their keys.
    """

    numbers: int = 200
    shapes: int = 8192
    letters: int = 1024
    prose: int = 32_768
    symbols: int = 2048
    links: int = 3072
    keys: int = 4096
    names: int = 0
    boxes: int = 4000
    listed: int = 1
    own: tuple[str, ...] = ()
    allowed: int = 0
    size: Size | None = None
    seen: dict[str, None] = field(default_factory=dict)
    singles: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    @classmethod
    def of_document(cls) -> Budget:
        """Return the budget of a document about a dataset, such as ``dataset_info.json``.

        It may have four times the texts, links and keys of a record, and lists of class names,
        but not more numbers in lists.
        """
        plain = cls()
        return cls(
            numbers=4 * plain.numbers,
            listed=4,
            letters=4 * plain.letters,
            prose=4 * plain.prose,
            symbols=4 * plain.symbols,
            links=4 * plain.links,
            keys=4 * plain.keys,
            names=1 << 20,
        )

    def allow(self, boxes: int) -> None:
        """Allow what objects with boxes have: attributes, labels and masks.

        The first 64 boxes allow 16 numbers, 64 characters and masks of 4,096 numbers each; all
        others 8 numbers, 8 characters and masks of 1,024 numbers.
        """
        first = min(boxes, max(0, 64 - self.allowed))
        rest = boxes - first
        self.allowed += boxes
        self.numbers += 16 * first + 8 * rest
        self.letters += 64 * first + 8 * rest
        self.shapes += 4096 * first + 1024 * rest

    def spend(self, **parts: int) -> None:
        """Subtract what a value contains; raises `OverLimitError` if too little is left."""
        for name, count in parts.items():
            if getattr(self, name) < count:
                raise OverLimitError
        for name, count in parts.items():
            setattr(self, name, getattr(self, name) - count)

    def spend_once(self, text: str, **parts: int) -> None:
        """Subtract a key or a text, unless it was subtracted before."""
        if text not in self.seen:
            self.spend(**parts)
            self.seen[text] = None

    def spend_box(self, key: str, box: list[Any]) -> None:
        """Subtract the box of an object.

        All boxes under one key must be plausible together as those of an image. Repeated ones,
        such as crops, count as truth values do instead.
        """
        self.spend(boxes=1)
        self.singles.append((key, tuple(box)))
        if len(self.singles) % _EXAMINED:
            return
        grouped: dict[str, list[tuple[Any, ...]]] = {}
        for each, one in self.singles:
            grouped.setdefault(each, []).append(one)
        for boxes in grouped.values():
            if len(boxes) > FEW_BOXES >= len(set(boxes)):
                self.spend(shapes=10 * _EXAMINED)
            elif not are_boxes(list(map(list, boxes)), self.size):
                raise OverLimitError

    def save(self) -> tuple[int, ...]:
        """Return a copy for `restore`."""
        return *_values_of(self), len(self.singles), len(self.seen)

    def restore(self, saved: tuple[int, ...]) -> None:
        """Undo what was subtracted since `save`, for a value that is dropped."""
        *values, boxes, count = saved
        for name, value in zip(_COUNTERS, values, strict=True):
            setattr(self, name, value)
        del self.singles[boxes:]
        while len(self.seen) > count:
            self.seen.popitem()


_COUNTERS = (
    *("numbers", "shapes", "letters", "prose", "symbols", "links", "keys", "names", "boxes"),
    "allowed",
)
_values_of = attrgetter(*_COUNTERS)
