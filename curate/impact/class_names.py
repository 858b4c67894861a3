"""The classes that a classifier tells apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes, in the order of their scores.

    Args:
        names: their names, or their numbers as text.
        are_named: whether predictions may name them.
    """

    names: tuple[str, ...]
    are_named: bool

    def __len__(self) -> int:
        return len(self.names)

    def find(
        self, values: npt.NDArray[Any], ids: Sequence[str], path: Path
    ) -> npt.NDArray[np.int64]:
        """Places of classes that are given by number or by name.

        Args:
            values: n or n×K, int64 or texts.
            ids: n, for messages.
            path: the file, for messages.

        Raises:
            DataError: if one is outside the classes.
        """
        if values.dtype.kind in "iu":
            places = values
        else:
            if not self.are_named:
                raise DataError(
                    f"{path} names classes, such as {str(values.flat[0])!r}; "
                    "give the list of names with --classes"
                )
            known = {name: place for place, name in enumerate(self.names)}
            flat = [known.get(value, -1) for value in values.flat]
            places = np.array(flat, dtype=np.int64).reshape(values.shape)
        outside = np.argwhere((places < 0) | (places >= len(self)))
        if len(outside):
            first = tuple(outside[0])
            raise DataError(
                f"{path} has the class {values[first]!s} for {ids[first[0]]!r}, "
                f"which is none of the {len(self):,} classes"
            )
        return places


def number_classes(count: int) -> Classes:
    """Classes without names."""
    return Classes(tuple(str(place) for place in range(count)), are_named=False)


def load_classes(given: str) -> Classes:
    """Read the names of classes.

    Args:
        given: how many there are, or a file with a name a line or a JSON list of names.

    Raises:
        DataError: if the file cannot be read, or a name is empty or comes twice.
    """
    if given.isdecimal() and 0 < int(given) <= 1_000_000:
        return number_classes(int(given))
    try:
        text = Path(given).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"the list of classes {given} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"the list of classes {given} is no UTF-8 text") from None
    names = _parse(text, given)
    if not names:
        raise DataError(f"the list of classes {given} is empty")
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"the list of classes {given} has an empty class at place {place}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the list of classes {given} has {twice!r} twice")
    return Classes(tuple(names), are_named=True)


def _parse(text: str, given: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return text.rstrip("\n").split("\n") if text.strip() else []
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the list of classes {given} is no JSON: {error}") from None
    return list(names)
