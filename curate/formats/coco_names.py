"""What the ids and file names in a COCO JSON mean."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.formats.annotations import resolve, shorten
from curate.formats.folder import Folder


class Finder:
    """Finds the files that names in one JSON mean; the folder that had the last is asked first.

    Args:
        folder: the dataset.
        places: folders that the names may count from, the likeliest first.
    """

    def __init__(self, folder: Folder, places: Sequence[str]) -> None:
        self._folder = folder
        self._places = list(places)

    def find(self, name: Any, where: str) -> str | None:
        """The path of a file, or None if it is not there.

        Raises:
            DataError: if the name is none of a file in the dataset.
        """
        name = resolve("", name, where)
        for number, place in enumerate(self._places):
            path = posixpath.normpath(posixpath.join(place, name))
            leaf = self._folder.leaf(path)
            if leaf is not None and leaf.regular:
                self._places.insert(0, self._places.pop(number))
                return path
        return None


def id_key(value: Any, where: str) -> str:
    """An id as text in which 1 and "1" differ.

    Raises:
        DataError: if it is neither a number nor a text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DataError(f"{where} is {shorten(value)}; want a number or a text")
    return json.dumps(value)


def image_places(path: str) -> list[str]:
    """Folders that the names in a JSON may count from, the likeliest first."""
    own, stem = posixpath.dirname(path), PurePosixPath(path).stem
    word = stem.rpartition("_")[2]  # val2017 of instances_val2017
    tops = dict.fromkeys([posixpath.dirname(own), own, ""])
    inner = ("", "images", word, f"images/{word}", "train", "val", "test", "data")
    return list(dict.fromkeys(posixpath.join(top, name) for name in inner for top in tops))


def map_places(path: str) -> list[str]:
    """Folders of the maps of a panoptic JSON, such as ``annotations/panoptic_val2017``."""
    own, stem = posixpath.dirname(path), PurePosixPath(path).stem
    return list(
        dict.fromkeys(posixpath.join(top, stem) for top in (own, posixpath.dirname(own), ""))
    )
