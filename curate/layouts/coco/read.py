"""COCO layout: images and any number of JSON files with ``images`` and ``annotations``."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import Problems, open_annotation, read_head, resolve, shorten
from curate.layouts.coco.groups import NAME, Opener, iter_annotations, iter_image_ids, name_of
from curate.layouts.coco.parse import Item, is_coco, iter_annotated
from curate.layouts.coco.rewrite import rewrite_coco
from curate.layouts.containers import iter_listed_folders
from curate.layouts.contents import note_contained
from curate.layouts.files import not_recognized, split_in, split_of_folders
from curate.layouts.label_maps import LabelMapLayout, is_panoptic_map
from curate.layouts.sidecars.values import Limits
from curate.storage.index import NameIndex

_SHOWN = 4
_MAX_OTHERS = 16  # folders of unusual names in which images are looked for
_MAX_EXAMINED = 64  # some tools write a JSON file per image
_IN_SPLITS = ("train", "valid", "val", "test")


class Coco(LabelMapLayout):
    """Images and COCO JSON files: instances, keypoints, captions, panoptic and others.

    The split of an image is named by its folders (``train2017``), or by the name of the
    JSON file that lists it. Panoptic maps are copied if they are proven to be label maps.
    """

    layout = "coco"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for COCO JSON files, first in their usual folders, recognized by their start."""
        found = _find_coco(folder, _usual_files(folder))
        found = found or _find_coco(folder, _other_files(folder))
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return f"{', '.join(map(_with_split, found[:_SHOWN]))}{more}" if found else None

    @cached_property
    def _survey(self) -> Survey:
        """Content of all JSON files; read on first use, in each process."""
        return take_survey(self.folder)

    def check(self, strict: bool = False) -> Iterator[str]:
        """Read all JSON files to their ends.

        Raises:
            DataError: if there are none, or ``strict`` and one is malformed.
        """
        if next(self._jsons(), None) is None:
            raise not_recognized(self.folder, "JSON files with images and annotations", "coco")
        yield from note_contained(self.folder)
        yield from self._survey.problems.report(strict)
        yield from self._survey.notes
        names = self._survey.names
        for info in self.folder.files():
            if self._is_image(info):
                names.add("there", info.path)
        yield from names.iter_unmatched(
            ("there", "image", "images are not listed in any COCO JSON")
        )

    def parse(self, path: str) -> ImageRecord:
        """Return the record of an image; its split is named by a folder or a JSON file."""
        split = split_of_folders(path) or self._survey.names.get("image", path)
        return ImageRecord(id=path, uri=path, split=split or None)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over rows, one per annotation: category name and ``attributes``.

        An annotation that occurs in two files, such as instances and keypoints, is one row.
        """
        seen = NameIndex()
        for path, opener in self._jsons():
            finder = Finder(self.folder, image_folders(self.folder, path), path)
            for number, row in iter_annotations(opener, path):
                image = finder.find(row[NAME], f"{path}: {NAME}")
                values = {name: value for name, value in row.items() if name != NAME}
                new = number is None or seen.add("annotation", f"{number!r} {image}")
                if (
                    image is not None
                    and new
                    and any(value is not None for value in values.values())
                ):
                    yield image, values
        seen.close()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Iterate over the image ids in the JSON files."""
        for path, opener in self._jsons():
            finder = Finder(self.folder, image_folders(self.folder, path), path)
            for number, name in iter_image_ids(opener, path):
                image = finder.find(name, f"{path}: {NAME}")
                if image is not None:
                    yield number, image

    def _jsons(self) -> Iterator[tuple[str, Opener]]:
        for info in self.folder.files():
            if info.regular and self.format_of(info.path):
                yield info.path, partial(open_annotation, self.folder, info.path)

    def format_of(self, path: str) -> str:
        """Return ``coco`` for COCO JSON files."""
        is_json = is_json_name(path)
        return "coco" if is_json and is_coco(read_head(self.folder, path)) else ""

    def rewrite_sidecar(
        self, file: SidecarFile, opened: BinaryIO, target: BinaryIO, limits: Limits
    ) -> None:
        """Write an annotation file again from its parsed values; see `SidecarSource`."""
        if file.format == "coco":
            rewrite_coco(opened, target, file.uri, limits)
        else:
            super().rewrite_sidecar(file, opened, target, limits)

    def may_be_label_map(self, path: str) -> bool:
        """Return whether a panoptic JSON file names a file as a label map."""
        in_folder = any(name.startswith("panoptic") for name in path.split("/")[:-1])
        is_png = path.lower().endswith(".png")
        return is_png and in_folder and self._survey.names.get("map", path) is not None

    def image_of(self, path: str) -> str | None:
        """Return the path of the image of a label map, or None if it is not there."""
        known = self._survey.names.get("map", path)
        if known is None:
            return None
        name, image, _ = json.loads(known)
        return self._survey.names.get(f"file {name}", image)

    def is_label_map(self, path: str, data: bytes) -> bool:
        """Prove a panoptic map by the segments that its JSON file lists, and their areas."""
        names = self._survey.names
        known = names.get("map", path) if self.may_be_label_map(path) else None
        if known is None:
            return False
        name, image, segments = json.loads(known)
        areas = {segment.get("id"): segment.get("area") for segment in segments}
        size = json.loads(names.get(f"size {name}", image) or "{}")
        return is_panoptic_map(data, areas, (size.get("width"), size.get("height")))


def _with_split(path: str) -> str:
    split = split_in(PurePosixPath(path).stem)
    return f"{path} (split {split})" if split else path


def is_json_name(path: str) -> bool:
    """Return whether a path has the suffix of a JSON file."""
    return path.lower().endswith(".json")


def _find_coco(folder: Folder, paths: Iterable[str]) -> list[str]:
    examined = islice(filter(is_json_name, paths), _MAX_EXAMINED)
    return [path for path in examined if is_coco(read_head(folder, path))]


def _other_files(folder: Folder) -> Iterator[str]:
    for path, names in iter_listed_folders(folder):
        yield from (f"{path}{name}" for name in sorted(names) if name[-1:] != "/")


def _usual_files(folder: Folder) -> Iterator[str]:
    """Iterate over the usual paths of COCO JSON files, without listing folders of images."""
    tops = folder.list_names()
    for name in sorted(tops):
        yield name
        if name.lower() == "annotations/":
            yield from (f"{name}{inner}" for inner in sorted(folder.list_names(name)))
    for split in _IN_SPLITS:  # as exported by labeling tools
        path = posixpath.join(split, "_annotations.coco.json")
        if f"{split}/" in tops and folder.info(path) is not None:
            yield path


@dataclass(frozen=True, slots=True)
class Survey:
    """Content of the JSON files.

    Args:
        names: kind ``image``: listed paths, with the split; kind ``map``: panoptic maps,
            with their JSON file, the id of their image and their segments; kind ``size FILE``: ids
            of the images of a JSON file, with width and height.
        notes: notes for the user, one line each.
        problems: malformed items.
    """

    names: NameIndex
    notes: tuple[str, ...]
    problems: Problems


def take_survey(folder: Folder) -> Survey:
    """Read all COCO JSON files below a folder to their ends."""
    names, notes, problems = NameIndex(), [], Problems()
    for info in folder.files():
        is_json = info.regular and is_json_name(info.path)
        if is_json and is_coco(read_head(folder, info.path)):
            reader = _Reader(folder, info.path, names, problems)
            with problems.collect(info.path), open_annotation(folder, info.path) as file:
                for item in iter_annotated(file, info.path, problems):
                    with problems.collect(info.path):
                        reader.take(item)
            notes += reader.finish()
    return Survey(names, tuple(notes), problems)


class _Reader:
    """Reader of the items of one JSON file, with an index of its ids."""

    def __init__(self, folder: Folder, path: str, names: NameIndex, problems: Problems) -> None:
        self._folder, self._path, self._names = folder, path, names
        self._problems = problems
        self._split = split_in(PurePosixPath(path).stem) or ""
        self._ids = NameIndex()
        self._counts: Counter[str] = Counter()
        self._absent = ""
        self._images = Finder(folder, image_folders(folder, path), path)
        self._maps = Finder(folder, map_folders(path))

    def take(self, item: Item) -> None:
        where = f"{self._path}: {item.kind}[{item.number}]"
        self._counts[item.kind] += 1
        if item.kind == "images":
            self._take_image(item, where)
        else:
            self._take_annotation(item, where)

    def _take_image(self, item: Item, where: str) -> None:
        values = item.values
        key = id_key(values.get("id"), f"{where}.id")
        if not self._ids.add("image", key):
            line = f"{where}.id is {shorten(values['id'])}, which is duplicated"
            self._problems.add(self._path, line)
        name = name_of(values)
        path = self._images.find(name, f"{where}.file_name")
        if path is None:
            self._counts["absent"] += 1
            self._absent = self._absent or str(name)
        else:
            self._names.add("image", path, self._split)
            self._names.add(f"file {self._path}", key, path)
        if item.size:
            self._names.add(f"size {self._path}", key, json.dumps(item.size, default=str))

    def _take_annotation(self, item: Item, where: str) -> None:
        values = item.values
        self._ids.add("labeled", id_key(values.get("image_id"), f"{where}.image_id"))
        if "id" in values and not self._ids.add("label", id_key(values["id"], f"{where}.id")):
            line = f"{where}.id is {shorten(values['id'])}, which is duplicated"
            self._problems.add(self._path, line)
        if "file_name" in values:
            path = self._maps.find(values["file_name"], f"{where}.file_name")
            if path is not None:
                key = id_key(values["image_id"], f"{where}.image_id")
                self._names.add("map", path, json.dumps([self._path, key, item.segments]))

    def finish(self) -> list[str]:
        """Return notes on inconsistencies of this JSON file, one line each."""
        images, notes = self._counts["images"], []
        if self._absent:
            there = images - self._counts["absent"]
            notes.append(
                f"{self._path}: {there:,} of its {images:,} images are in {self._folder.name}; "
                f"missing are for example {shorten(self._absent)}."
            )
        unlisted, example = self._ids.only_in("labeled", "image")
        if unlisted:
            notes.append(
                f"{self._path}: annotations refer to {unlisted:,} images that it does not list, "
                f"such as {example}."
            )
        bare, example = self._ids.only_in("image", "labeled")
        if bare and self._counts["annotations"]:
            notes.append(
                f"{self._path}: {bare:,} images have no annotation, such as that of id {example}."
            )
        self._ids.close()
        return notes


class Finder:
    """Finder of the files named in one JSON file; tries the folder of the last match first.

    Args:
        folder: files of the dataset.
        folders: folders to which the names may be relative, the likeliest first.
        path: path of the JSON file, whose name may end in a split.
    """

    def __init__(self, folder: Folder, folders: Sequence[str], path: str = "") -> None:
        self._folder = folder
        self._folders = list(folders)
        self._word = _last_word(path)

    def find(self, name: Any, where: str) -> str | None:
        """Return the path of a file, or None if it does not exist.

        Raises:
            DataError: if the name is not a relative path in the dataset.
        """
        name = resolve("", name, where)
        for each in dict.fromkeys((name, name.replace("\\", "/"))):  # as written on Windows
            for number, parent in enumerate(self._folders):
                path = posixpath.normpath(posixpath.join(parent, each))
                info = self._folder.info(path)
                if info is not None and info.regular:
                    self._folders.insert(0, self._folders.pop(number))
                    return path
        return self._find_end(name.replace("\\", "/"))

    def _find_end(self, name: str) -> str | None:
        """Return the file whose path ends like a name, in two parts or more, or None.

        Of several the one in the folder of the split of the JSON file is taken.
        """
        _, *parts = name.split("/")
        while len(parts) > 1:
            end = "/".join(parts)
            paths = (posixpath.normpath(posixpath.join(parent, end)) for parent in self._folders)
            found = {path for path in paths if self._is_file(path)}
            likely = [path for path in found if self._word in path.split("/")[: -len(parts)]]
            found = set(likely) if len(found) > 1 and self._word else found
            if found:
                return found.pop() if len(found) == 1 else None
            parts = parts[1:]
        return None

    def _is_file(self, path: str) -> bool:
        info = self._folder.info(path)
        return info is not None and info.regular


def id_key(value: Any, where: str) -> str:
    """Format an id such that 1 and "1" differ.

    Raises:
        DataError: if it is neither a number nor a string.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DataError(f"{where} is {shorten(value)}; expected a number or a string")
    return json.dumps(value)


def image_folders(folder: Folder, path: str) -> list[str]:
    """Return the folders to which names in a JSON file may be relative, likeliest first."""
    own, word = posixpath.dirname(path), _last_word(path)
    tops = dict.fromkeys([posixpath.dirname(own), own, ""])
    inner = ("", "images", word, f"images/{word}", "train", "val", "test", "data")
    usual = [posixpath.join(top, name) for name in inner for top in tops]
    others = sorted(name[:-1] for name in folder.list_names() if name[-1:] == "/")
    return list(dict.fromkeys([*usual, *others[:_MAX_OTHERS]]))


def _last_word(path: str) -> str:
    """Return the end of the name of a JSON file: ``val2017`` of ``instances_val2017.json``."""
    return PurePosixPath(path).stem.rpartition("_")[2]


def map_folders(path: str) -> list[str]:
    """Return the folders of the maps of a panoptic JSON file, such as ``panoptic_val2017``."""
    own, stem = posixpath.dirname(path), PurePosixPath(path).stem
    return list(
        dict.fromkeys(posixpath.join(top, stem) for top in (own, posixpath.dirname(own), ""))
    )
