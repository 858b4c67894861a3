"""Limits on the keys of annotations, by mapping, record and file."""

from __future__ import annotations

import re
from functools import lru_cache

from curate.layouts.sidecars.budget import Budget, OverLimitError
from curate.layouts.sidecars.content import MAX_KEY
from curate.layouts.sidecars.invisible import cost_of_invisible
from curate.layouts.sidecars.prose import is_encoded_part, is_prose, is_text, measure_text

MAX_KEYS = 1024
"""Keys of a mapping."""
MAX_FILE_KEYS = 10_000
"""Distinct keys of a file, other than numbers."""
MAX_FILE_LETTERS = 4096
"""Characters of the distinct keys of a file that are not words."""

_WORDS = 24
_IRREGULAR = 4  # what a character of a key that is not words counts as
_NUMBER = re.compile(r"-?\d{1,9}")
_NUMBERS = re.compile(r"\d+")
_PART = re.compile(r"[^\W_]{5,}")


class FileKeys:
    """Distinct keys of a file, which are limited together."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self._letters = 0

    def spend(self, key: str, budget: Budget) -> None:
        """Count a key in its record and its file.

        Raises:
            OverLimitError: if it is too long or looks encoded, or too little is left.
        """
        if key in budget.seen:
            return
        cost = cost_of_key(key)
        is_new = key not in self._seen and not _NUMBER.fullmatch(key)
        letters = len(key) if is_new and cost > len(key) else 0
        if letters + self._letters > MAX_FILE_LETTERS:
            raise OverLimitError
        if is_new and len(self._seen) >= MAX_FILE_KEYS:
            raise OverLimitError
        budget.spend_once(key, keys=cost)
        if is_new:
            self._seen[key] = None
            self._letters += letters


@lru_cache(1 << 12)
def cost_of_key(key: str) -> int:
    """Return what a key counts as: few characters if it is words and numbers.

    Raises:
        OverLimitError: if it is too long or looks encoded.
    """
    if len(key) > MAX_KEY or not is_text(key) or "\n" in key:
        raise OverLimitError
    if cost_of_invisible(key):
        return _IRREGULAR * len(key)
    if len(key) <= _WORDS and measure_text(key).irregular == 0:
        return 1 + len(key) // 8
    is_plain = not any(map(is_encoded_part, _PART.findall(key)))
    if is_plain and is_prose(_NUMBERS.sub("", key)):
        return 2 + len(key) // 8
    return _IRREGULAR * len(key)


KEYS = "(keys over the limits)"
"""What a report calls keys that are over the limits: they may hold data, and are not named."""


def name_of_key(key: object) -> str:
    """Return what a report calls a key whose value was dropped."""
    text = str(key)
    return text if is_key(text) else KEYS


def is_key(key: str) -> bool:
    """Return whether a key is neither too long nor looks encoded."""
    try:
        cost_of_key(key)
    except OverLimitError:
        return False
    return True
