"""The objects that a Pascal VOC annotation speaks of, each as a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

from curate.formats.voc_xml import follow

_OBJECT = ("annotation", "object")
_NAME, _CATEGORY = "name", "category"
_LONGEST_TEXT = 1 << 12


def load_objects(file: BinaryIO, name: str) -> list[Mapping[str, str]]:
    """A row for each object of an annotation.

    Its ``name`` is the column ``category``; each other element with nothing but a text,
    such as ``pose``, is a column of its own name. Boxes and parts are passed over.

    Args:
        file: the XML.
        name: what a message calls it.

    Raises:
        DataError: if it is malformed.
    """
    rows: list[Mapping[str, str]] = []
    row: dict[str, str] = {}

    def text(place: tuple[str, ...], data: str) -> None:
        if place[:2] == _OBJECT and len(place) == 3 and len(row.get(place[2], "")) < _LONGEST_TEXT:
            row[place[2]] = row.get(place[2], "") + data

    def end(place: tuple[str, ...]) -> None:
        if place == _OBJECT:
            plain = {key: value.strip() for key, value in row.items() if value.strip()}
            rows.append({_CATEGORY if key == _NAME else key: v for key, v in plain.items()})
            row.clear()

    follow(file, name, text, end)
    return rows
