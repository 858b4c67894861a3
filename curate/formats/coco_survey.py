"""What all COCO JSON files of a dataset say of its images, kept on disk."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.formats.annotations import open_annotation, read_head, shorten
from curate.formats.coco_json import Item, iter_annotated, looks_like_coco
from curate.formats.coco_names import Finder, id_key, image_places, map_places
from curate.formats.folder import Folder
from curate.formats.on_disk import NamesOnDisk
from curate.formats.splits import split_in


@dataclass(frozen=True, slots=True)
class Survey:
    """What the JSON files say.

    Args:
        names: of kind ``image`` the paths that they list, with the split; of
            kind ``map`` the panoptic maps, with the ids of their segments.
        notes: what a user should know, a line each.
    """

    names: NamesOnDisk
    notes: tuple[str, ...]


def take_survey(folder: Folder) -> Survey:
    """Read every COCO JSON below a folder to its end.

    Raises:
        DataError: if one is malformed.
    """
    names, notes = NamesOnDisk(), []
    for leaf in folder.leaves():
        is_json = leaf.regular and leaf.path.endswith(".json")
        if is_json and looks_like_coco(read_head(folder, leaf.path)):
            reader = _Reader(folder, leaf.path, names)
            with open_annotation(folder, leaf.path) as file:
                for item in iter_annotated(file, leaf.path):
                    reader.take(item)
            notes += reader.finish()
    return Survey(names, tuple(notes))


class _Reader:
    """Takes one JSON's items; ids are looked up in a list of its own."""

    def __init__(self, folder: Folder, path: str, names: NamesOnDisk) -> None:
        self._folder, self._path, self._names = folder, path, names
        self._split = split_in(PurePosixPath(path).stem) or ""
        self._ids = NamesOnDisk()
        self._counts: Counter[str] = Counter()
        self._absent = ""
        self._images = Finder(folder, image_places(path))
        self._maps = Finder(folder, map_places(path))

    def take(self, item: Item) -> None:
        where = f"{self._path}: {item.kind}[{item.number}]"
        self._counts[item.kind] += 1
        if item.kind == "images":
            self._take_image(item.values, where)
        else:
            self._take_annotation(item, where)

    def _take_image(self, values: dict[str, Any], where: str) -> None:
        key = id_key(values.get("id"), f"{where}.id")
        if not self._ids.add("image", key):
            raise DataError(f"{where}.id is {shorten(values['id'])}, which another image has")
        path = self._images.find(values.get("file_name"), f"{where}.file_name")
        if path is None:
            self._counts["absent"] += 1
            self._absent = self._absent or str(values["file_name"])
        else:
            self._names.add("image", path, self._split)

    def _take_annotation(self, item: Item, where: str) -> None:
        values = item.values
        self._ids.add("labelled", id_key(values.get("image_id"), f"{where}.image_id"))
        if "id" in values and not self._ids.add("label", id_key(values["id"], f"{where}.id")):
            raise DataError(f"{where}.id is {shorten(values['id'])}, which another annotation has")
        if "file_name" in values:
            path = self._maps.find(values["file_name"], f"{where}.file_name")
            ids = [number for number in item.segments if type(number) is int]
            if path is not None:
                self._names.add("map", path, json.dumps(ids))

    def finish(self) -> list[str]:
        """What is odd about this JSON, a line each."""
        images, notes = self._counts["images"], []
        if self._absent:
            there = images - self._counts["absent"]
            notes.append(
                f"{self._path}: {there:,} of its {images:,} images are in {self._folder.name}; "
                f"absent are such as {shorten(self._absent)}."
            )
        strangers, example = self._ids.only_in("labelled", "image")
        if strangers:
            notes.append(
                f"{self._path}: annotations belong to {strangers:,} images that it does not list, "
                f"such as {example}."
            )
        bare, example = self._ids.only_in("image", "labelled")
        if bare and self._counts["annotations"]:
            notes.append(
                f"{self._path}: {bare:,} images have no annotation, such as that of id {example}."
            )
        self._ids.close()
        return notes
