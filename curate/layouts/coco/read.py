"""COCO: images, and any number of JSON files with ``images`` and ``annotations``."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import open_annotation, read_head, resolve, shorten
from curate.layouts.coco.groups import NAME, Opener, iter_annotations, iter_image_ids
from curate.layouts.coco.json import Item, iter_annotated, looks_like_coco
from curate.layouts.files import split_in, split_of_folders
from curate.layouts.label_maps import MapLayout, is_panoptic_map
from curate.storage.index import NameIndex

_SHOWN = 4
_MOST_LOOKED_AT = 64  # some tools write a JSON for every image
_IN_SPLITS = ("train", "valid", "val", "test")


class Coco(MapLayout):
    """Images that COCO's JSON files speak of: instances, keypoints, captions, panoptic and so on.

    An image's split is told by its folders (``train2017``), or by the name of the
    JSON that lists it. Panoptic maps are carried where they are proven to be maps.
    """

    layout = "coco"

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """COCO's JSON files in their usual places, told by how they begin."""
        places = (path for path in _usual_places(folder) if path.endswith(".json"))
        looked_at = islice(places, _MOST_LOOKED_AT)
        found = [path for path in looked_at if looks_like_coco(read_head(folder, path))]
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return f"{', '.join(map(_with_split, found[:_SHOWN]))}{more}" if found else None

    @cached_property
    def _survey(self) -> Survey:
        """What all the JSON files say; read when it is first needed, in each process."""
        return take_survey(self.folder)

    def check(self) -> Iterator[str]:
        """Read every JSON file to its end.

        Raises:
            DataError: if one is malformed.
        """
        yield from self._survey.notes
        names = self._survey.names
        for leaf in self.folder.leaves():
            if self._is_image(leaf):
                names.add("there", leaf.path)
        count, example = names.only_in("there", "image")
        if count:
            yield f"{count:,} images stand in no COCO JSON, such as {example!r}."

    def parse(self, path: str) -> ImageRecord:
        """Read an image's split from its folders, else from the JSON that lists it."""
        split = split_of_folders(path) or self._survey.names.get("image", path)
        return ImageRecord(id=path, uri=path, split=split or None)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A row for each annotation: its category's name and its ``attributes``.

        The same annotation in two files, as of instances and of keypoints, is one.
        """
        seen = NameIndex()
        for path, opener in self._jsons():
            places = Finder(self.folder, image_places(path))
            for number, row in iter_annotations(opener, path):
                image = places.find(row[NAME], f"{path}: {NAME}")
                said = {name: value for name, value in row.items() if name != NAME}
                new = number is None or seen.add("annotation", f"{number!r} {image}")
                if image is not None and new and any(value is not None for value in said.values()):
                    yield image, said
        seen.close()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """The ids that the JSON files give to the images."""
        for path, opener in self._jsons():
            places = Finder(self.folder, image_places(path))
            for number, name in iter_image_ids(opener, path):
                image = places.find(name, f"{path}: {NAME}")
                if image is not None:
                    yield number, image

    def _jsons(self) -> Iterator[tuple[str, Opener]]:
        for leaf in self.folder.leaves():
            is_json = leaf.regular and leaf.path.endswith(".json")
            if is_json and looks_like_coco(read_head(self.folder, leaf.path)):
                yield leaf.path, partial(open_annotation, self.folder, leaf.path)

    def may_be_map(self, path: str) -> bool:
        """Whether a panoptic JSON names this file as a map."""
        in_folder = any(name.startswith("panoptic") for name in path.split("/")[:-1])
        is_png = path.lower().endswith(".png")
        return is_png and in_folder and self._survey.names.get("map", path) is not None

    def is_map(self, path: str, data: bytes) -> bool:
        """Prove a panoptic map against the segments that its JSON gives for it."""
        segments = self._survey.names.get("map", path) if self.may_be_map(path) else None
        return segments is not None and is_panoptic_map(data, json.loads(segments))


def _with_split(path: str) -> str:
    split = split_in(PurePosixPath(path).stem)
    return f"{path} (split {split})" if split else path


def _usual_places(folder: Folder) -> Iterator[str]:
    """Where COCO's JSON files usually are, without a look into folders full of images."""
    tops = folder.names()
    for name in sorted(tops):
        yield name
        if name.lower() == "annotations/":
            yield from (f"{name}{inner}" for inner in sorted(folder.names(name)))
    for split in _IN_SPLITS:  # as exported by labelling tools
        path = posixpath.join(split, "_annotations.coco.json")
        if f"{split}/" in tops and folder.leaf(path) is not None:
            yield path


@dataclass(frozen=True, slots=True)
class Survey:
    """What the JSON files say.

    Args:
        names: of kind ``image`` the paths that they list, with the split; of
            kind ``map`` the panoptic maps, with the ids of their segments.
        notes: what a user should know, a line each.
    """

    names: NameIndex
    notes: tuple[str, ...]


def take_survey(folder: Folder) -> Survey:
    """Read every COCO JSON below a folder to its end.

    Raises:
        DataError: if one is malformed.
    """
    names, notes = NameIndex(), []
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

    def __init__(self, folder: Folder, path: str, names: NameIndex) -> None:
        self._folder, self._path, self._names = folder, path, names
        self._split = split_in(PurePosixPath(path).stem) or ""
        self._ids = NameIndex()
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
