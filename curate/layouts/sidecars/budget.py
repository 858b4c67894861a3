"""What a record of annotations may contain in total."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curate.layouts.sidecars.shapes import Size, are_boxes

_EXAMINED = 32  # boxes of objects after which all are examined together


class OverLimitError(Exception):
    """A value is over the limits of its record, and is dropped."""


@dataclass(slots=True)
class Budget:
    """What a record may still contain.

    Args:
        numbers: numbers outside known shapes.
        shapes: numbers in known shapes other than boxes, and truth values.
        letters: characters of keys and of texts that are not prose; equal ones count once.
        prose: characters of prose.
        links: characters of URLs.
        boxes: boxes in lists.
        allowed: boxes that have allowed further values.
        size: size of the image, if the record contains it.
        seen: keys and texts that were counted.
        singles: boxes that objects have, one each.
    """

    numbers: int = 200
    shapes: int = 8192
    letters: int = 1024
    prose: int = 32_768
    links: int = 3072
    boxes: int = 4000
    allowed: int = 0
    size: Size | None = None
    seen: dict[str, None] = field(default_factory=dict)
    singles: list[list[Any]] = field(default_factory=list)

    @classmethod
    def scaled(cls, scale: int) -> Budget:
        """Return the budget of a list of class names, larger by a factor."""
        plain = cls()
        return cls(
            numbers=plain.numbers * scale,
            shapes=plain.shapes * scale,
            letters=2 * plain.letters * scale if scale > 1 else plain.letters,
            prose=plain.prose * scale,
            links=plain.links * scale,
            boxes=plain.boxes * scale,
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

    def spend(
        self,
        numbers: int = 0,
        shapes: int = 0,
        letters: int = 0,
        prose: int = 0,
        links: int = 0,
        boxes: int = 0,
    ) -> None:
        """Subtract what a value contains; raises `OverLimitError` if too little is left."""
        self.numbers -= numbers
        self.shapes -= shapes
        self.letters -= letters
        self.prose -= prose
        self.links -= links
        self.boxes -= boxes
        left = self.numbers, self.shapes, self.letters, self.prose, self.links, self.boxes
        if min(left) < 0:
            raise OverLimitError

    def spend_once(self, text: str, letters: int = 0, prose: int = 0, links: int = 0) -> None:
        """Subtract a key or a text, unless it was subtracted before."""
        if text not in self.seen:
            self.spend(letters=letters, prose=prose, links=links)
            self.seen[text] = None

    def spend_box(self, box: list[Any]) -> None:
        """Subtract the box of an object; all together must be plausible as those of an image."""
        self.spend(boxes=1)
        self.singles.append(box)
        if len(self.singles) % _EXAMINED == 0 and not are_boxes(self.singles, self.size):
            raise OverLimitError

    def save(self) -> tuple[int, ...]:
        """Return a copy for `restore`."""
        left = self.numbers, self.shapes, self.letters, self.prose, self.links, self.boxes
        return *left, self.allowed, len(self.singles), len(self.seen)

    def restore(self, saved: tuple[int, ...]) -> None:
        """Undo what was subtracted since `save`, for a value that is dropped."""
        *left, self.allowed, boxes, count = saved
        del self.singles[boxes:]
        self.numbers, self.shapes, self.letters, self.prose, self.links, self.boxes = left
        while len(self.seen) > count:
            self.seen.popitem()
