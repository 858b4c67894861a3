"""Two streams of images side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar


class HasId(Protocol):
    """A record, an entry, or anything else that stands for an image."""

    @property
    def id(self) -> str:
        """Unique in its stream."""
        ...


A = TypeVar("A", bound=HasId)
B = TypeVar("B", bound=HasId)


def join_by_id(first: Iterator[A], second: Iterator[B]) -> Iterator[tuple[A | None, B | None]]:
    """Two streams, both sorted by id, side by side; None where one has no such image."""
    a, b = next(first, None), next(second, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.id < b.id):
            yield a, None
            a = next(first, None)
        elif a is None or b.id < a.id:
            yield None, b
            b = next(second, None)
        else:
            yield a, b
            a, b = next(first, None), next(second, None)
