"""Options of the limits on annotations, and the report of what they kept and dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from curate.layouts.sidecars.budget import Budget
from curate.layouts.sidecars.content import (
    DIGEST,
    DROPPED_KINDS,
    EMAIL,
    URL,
    Content,
    kinds_of_key,
    kinds_of_text,
    matches_pattern,
)
from curate.layouts.sidecars.keys import FileKeys
from curate.layouts.sidecars.shapes import EMBEDDING, find_spread_embedding, is_embedding

_T = TypeVar("_T")


class Rules:
    """Options of the limits, the state of a file and a record, and the report.

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
        self._shared = Budget()
        self._are_names = False
        self._codes = 0
        self._keys = FileKeys()
        self._notes: list[tuple[str, str, int]] | None = None

    def copy(self) -> Self:
        """Return the same limits with an empty report."""
        return type(self)(tuple(self.drop_keys), self.include, self.is_image, self.match_path)

    def open(self, file: str) -> None:
        """Set the file to which the following records belong."""
        self._file = file
        self._shared = Budget()
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

    def settle(self, limit: Callable[[_T], _T], value: _T) -> _T:
        """Return a value that a function limits, once it drops nothing more.

        What is dropped may have allowed what is kept: without this, the limits would drop more
        when they are applied to their own output, as `curate verify` does.
        """
        while True:
            before, self._notes = self.content.count_dropped(), []
            value = limit(value)
            if self.content.count_dropped() == before:
                break
        notes, self._notes = self._notes, None
        for kind, key, count in notes:
            self.note(kind, key, count)
        return value

    def document(self, text: str) -> None:
        """Report the links, addresses and digests in a text for people."""
        for kind, pattern in (("urls", URL), ("names", EMAIL), ("hashes", DIGEST)):
            count = sum(1 for _ in pattern.finditer(text))
            if count:
                self.content.add(self._file, kind, "(text)", count)

    def note(self, kind: str | None, key: str, count: int = 1) -> None:
        """Count values that are kept."""
        if kind is None or not count:
            return
        if self._notes is not None:
            self._notes.append((kind, key, count))
        else:
            self.content.add(self._file, kind, key, count)

    def rest_of(self, value: str) -> str | None:
        """Return a text without the path of an image at its end, or None if it has none."""
        for name in self.budget.own:
            if value.endswith(name) and value[-len(name) - 1 : -len(name)] in ("", "/", "\\"):
                return value[: -len(name)]
        size = self.match_path(value) if self.match_path is not None else 0
        return value[:-size] if size else None

    @property
    def drops_embeddings(self) -> bool:
        """Whether embeddings are to be dropped."""
        return "embeddings" in self.drop_keys

    def drops_value(self, key: Any, value: Any) -> bool:
        """Return whether a value is to be dropped for its key or its kind."""
        name = str(key)
        if value is not None and value != "" and self.drops(name):
            return True
        if isinstance(value, str):
            return not self.drop_keys.isdisjoint(kinds_of_text(value))
        if not self.drops_embeddings or not isinstance(value, list | Mapping):
            return False
        if isinstance(value, Mapping):
            spread = find_spread_embedding(value) if len(value) >= EMBEDDING else ()
            return len(spread) * 10 >= len(value) * 9 > 0
        return len(value) >= EMBEDDING and is_embedding(name, value)
