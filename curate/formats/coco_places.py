"""Where the files are that a COCO JSON names: it does not say from which folder its names count."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from curate.formats.annotations import resolve
from curate.formats.folder import Folder


class Places:
    """Folders in which names are looked up; the one that had the last name is asked first.

    Args:
        folder: the dataset.
        places: folders in it, the likeliest first.
    """

    def __init__(self, folder: Folder, places: Sequence[str]) -> None:
        self._folder = folder
        self._places = list(places)

    def find(self, name: Any, where: str) -> str | None:
        """The file that a name means, or None if it is nowhere.

        Args:
            name: what stands in the JSON.
            where: what a message calls that place.

        Raises:
            DataError: if it is no name of a file in the dataset.
        """
        name = resolve("", name, where)
        for number, place in enumerate(self._places):
            path = posixpath.normpath(posixpath.join(place, name))
            leaf = self._folder.leaf(path)
            if leaf is not None and leaf.regular:
                self._places.insert(0, self._places.pop(number))
                return path
        return None


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
