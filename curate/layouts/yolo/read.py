"""Ultralytics YOLO: ``images`` and ``labels`` trees, ``data.yaml``, lists of images."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import FileInfo, Folder
from curate.layouts.annotations import (
    Problems,
    add_to_split,
    iter_lines,
    open_annotation,
    resolve,
    shorten,
)
from curate.layouts.containers import iter_listed_folders
from curate.layouts.contents import note_contained
from curate.layouts.files import ANNOTATION_SUFFIXES, FileLayout, not_recognized, split_of_folders
from curate.layouts.sidecars.text import rewrite_list
from curate.layouts.sidecars.values import Limits
from curate.layouts.yolo.config import Config, find_config, load_config
from curate.layouts.yolo.rewrite import (
    check_count,
    has_labels,
    rewrite_config,
    rewrite_labels,
    rewrite_names,
)
from curate.storage.index import NameIndex

_MAX_EXAMINED = 32  # texts that are read to recognize labels
_TOLERANCE = 1e-6  # rounding of a box at the border, written with six digits


def check_line(line: str, where: str, config: Config) -> int:
    """Check a box, a polygon or a pose; returns its class.

    Args:
        line: ``class x y w h``, ``class x1 y1 x2 y2 x3 y3 …`` or, with ``kpt_shape``, a box
            and its keypoints, relative to the image size.
        where: name of the line in messages.
        config: configuration of the dataset.

    Raises:
        DataError: if it is invalid.
    """
    first, *rest = line.split()
    number = _class(first, where)
    if config.classes is not None and number >= config.classes:
        raise DataError(f"{where}: class {number} is none of the {config.classes} in data.yaml")
    values = [_number(text, where) for text in rest]
    if config.keypoints is not None:
        if len(values) not in (4, 4 + config.keypoints):
            raise DataError(f"{where} has {len(values)} numbers after the class; kpt_shape differs")
        values = values[:4]  # keypoints may have a visibility of 2
    elif len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise DataError(
            f"{where} has {len(values)} numbers after the class; expected 4, or pairs from 3 on"
        )
    for value in values:
        if not -_TOLERANCE <= value <= 1 + _TOLERANCE:
            raise DataError(f"{where}: {value:g} is not between 0 and 1")
    return number


def _class(text: str, where: str) -> int:
    whole, _, zeros = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 9) or zeros.strip("0"):
        raise DataError(f"{where}: the class is {shorten(text)}; expected an integer")
    return int(whole)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {shorten(text)} is not a number")
    return value


_CATEGORY = "category"
_LABELS = "lines of labels"
_SPLITS = ("train", "val", "valid", "test")
_DARKNET = ("obj.data", "obj.names")
"""Files in place of ``data.yaml`` in datasets of Darknet, which CVAT exports."""
_TOPS = ("", "data/")
"""Folders of these files; AlexeyAB's version has them in ``data``."""
_LIST = re.compile(r"(train|val|valid|test)(?:-dev)?(?:\d{4})?\.txt")
_NAMES = frozenset({"classes.txt", *_DARKNET})
_NOT_LABELS = frozenset({"classes.txt", "README.txt"})


class Yolo(FileLayout):
    """Images below ``images``, each with a text file at the same path below ``labels``.

    The split of an image is given by the list that names it, else by its folders.
    """

    layout = "yolo"
    annotation_suffixes = ANNOTATION_SUFFIXES | {".yaml", ".yml"}

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for a ``data.yaml``, or for trees of images and labels next to each other."""
        config = find_config(folder)
        if config is not None:
            return config
        for parent, names in iter_listed_folders(folder):
            if {"images/", "labels/"} <= names and _are_labels(folder, f"{parent}labels"):
                return f"{parent}labels beside {parent}images"
        top = _find_darknet(folder)
        return None if top is None else " and ".join(f"{top}{name}" for name in _DARKNET)

    @cached_property
    def _problems(self) -> Problems:
        """Problems of the configuration and the lists."""
        return Problems()

    @cached_property
    def config(self) -> Config:
        """Configuration of the dataset."""
        path = self._config_path
        if path is not None:
            with self._problems.collect(path):
                return load_config(self.folder, path, self._problems)
        return Config()

    @cached_property
    def _lists(self) -> NameIndex:
        """Images named by lists, with their split."""
        names, problems = NameIndex(), self._problems
        for split, path in self._list_paths:
            with problems.collect(path), open_annotation(self.folder, path) as file:
                for where, line in iter_lines(file, path):
                    with problems.collect(path):
                        image = self.find_listed(line.strip(), path, where) if line.strip() else ""
                        if image and not add_to_split(names, split, image):
                            problems.add(path, f"{where} names {line!a}, which is duplicated")
        return names

    def format_of(self, path: str) -> str:
        """Return the format of labels, the configuration, lists and class names."""
        name = PurePosixPath(path)
        if name.suffix in (".yaml", ".yml") and path == self._config_path:
            return "config"
        if path in self.list_paths():
            return "list"
        top = path.removesuffix(name.name)
        if name.name in _NAMES and (top in _TOPS or "labels" in name.parts):
            return "names"
        return "labels" if self._is_label_path(path) else ""

    def rewrite_sidecar(
        self, file: SidecarFile, opened: BinaryIO, target: BinaryIO, limits: Limits
    ) -> None:
        """Write an annotation file again from its parsed values; see `SidecarSource`."""
        if file.format == "labels":
            rewrite_labels(opened, target, file.uri, limits, self.config.keypoints)
        elif file.format == "config":
            rewrite_config(opened, target, file.uri, limits)
        elif file.format == "names":
            rewrite_names(opened, target, file.uri, limits)
        elif file.format == "list":
            rewrite_list(opened, target, file.uri, limits)
        else:
            super().rewrite_sidecar(file, opened, target, limits)

    @cached_property
    def _config_path(self) -> str | None:
        return find_config(self.folder)

    def check(self, strict: bool = False) -> Iterator[str]:
        """Read the configuration, all lists and all labels.

        Raises:
            DataError: if there are no labels, or ``strict`` and one is malformed.
        """
        yield from note_contained(self.folder)
        yield from self.config.notes
        names, problems = self._lists, Problems()
        unlike, first = 0, ""
        yield from self._problems.report(strict)
        for info in self.folder.files():
            if self._is_image(info):
                names.add("there", info.path)
                names.add("image", label_of(info.path))
            elif info.regular and self._is_label_path(info.path):
                if not self._has_labels(info.path):
                    unlike, first = unlike + 1, first or info.path
                    if not self._is_cut_off(info.path):
                        continue
                names.add("label", info.path)
                self._check_label(info.path, problems)
        if self._config_path is None and names.only_in("label", "")[0] == 0:
            raise not_recognized(self.folder, "data.yaml and no labels beside images", "yolo")
        yield from problems.report(strict)
        if unlike:
            yield f"Text files without labels left out: {unlike:,}, such as {first!r}."
        yield from names.iter_unmatched(
            ("image", "label", "images have no label"),
            ("label", "image", "labels have no image"),
            ("split", "there", "images of the lists are missing"),
        )

    def _to_sidecar(self, info: FileInfo) -> SidecarFile:
        """Texts among the labels of which no line is one are not annotations of the layout."""
        file = super()._to_sidecar(info)
        if file.format == "labels" and not self._has_labels(info.path):
            return replace(file, format="")
        return file

    def _has_labels(self, path: str) -> bool:
        return _has_labels(self.folder, path, self.config.keypoints)

    def _is_cut_off(self, path: str) -> bool:
        """Return whether a text without labels consists of numbers, so that it should have some."""
        with open_annotation(self.folder, path) as file:
            words = " ".join(line for _, line in islice(iter_lines(file, path), _MAX_EXAMINED))
        return not re.search(r"[^\W\d]{2}", re.sub(r"\b(?:nan|inf)\b", "", words, flags=re.I))

    def parse(self, path: str) -> ImageRecord:
        """Return the record of an image; its split is given by the lists, else its folders."""
        split = self._lists.get("split", path) or split_of_folders(path)
        return ImageRecord(id=path, uri=path, split=split)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over rows, one per object: its class name as ``category``."""
        if _CATEGORY not in columns:
            return
        for info in self.folder.files():
            label = label_of(info.path)
            found = self.folder.info(label) if self._is_image(info) else None
            if found is not None and found.regular and self._has_labels(label):
                for number in self._iter_classes(label):
                    yield info.path, {_CATEGORY: self.config.names.get(number, str(number))}

    def _is_label_path(self, name: str) -> bool:
        """Return whether a text file is in ``labels``, or beside its image outside ``images``."""
        path = PurePosixPath(name)
        if path.suffix != ".txt" or path.name in _NOT_LABELS or name in self.list_paths():
            return False
        return "labels" in path.parts[:-1] or self._image_labels.get("label", name) is not None

    @cached_property
    def _image_labels(self) -> NameIndex:
        """Paths of the labels of all images."""
        names = NameIndex()
        for info in self.folder.files():
            # Whether a text is a label follows from this.
            if not info.path.endswith(".txt") and self._is_image(info):
                names.add("label", label_of(info.path))
        return names

    def _check_label(self, path: str, problems: Problems) -> None:
        with problems.collect(_LABELS), open_annotation(self.folder, path) as file:
            for number, (where, line) in enumerate(iter_lines(file, path)):
                check_count(number, path)
                with problems.collect(_LABELS):
                    if line.strip():
                        check_line(line, where, self.config)

    def _iter_classes(self, path: str) -> Iterator[int]:
        """Iterate over the classes of the objects in a label file, checking each line."""
        with open_annotation(self.folder, path) as file:
            for number, (where, line) in enumerate(iter_lines(file, path)):
                check_count(number, path)
                if line.strip():
                    yield check_line(line, where, self.config)

    def list_paths(self) -> frozenset[str]:
        """Return the paths of the lists of images."""
        return frozenset(path for _, path in self._list_paths)

    def find_listed(self, line: str, path: str, where: str) -> str:
        """Return the image of a line of a list, relative to SOURCE or to the list's folder.

        Raises:
            DataError: if it is not a relative path in SOURCE.
        """
        image = resolve("", line, where)
        parent = posixpath.dirname(path)
        for each in (
            (posixpath.normpath(posixpath.join(parent, image)), image) if parent else (image,)
        ):
            if self.folder.info(each) is not None:
                return each
        return image.removeprefix("data/")  # the folder of Darknet in which SOURCE is

    @cached_property
    def _list_paths(self) -> list[tuple[str, str]]:
        return list(self.config.lists) or _usual_lists(self.folder)


def label_of(path: str) -> str:
    """Return the label path of an image: the last ``images`` becomes ``labels``, and ``.txt``."""
    before, images, after = f"/{path}".rpartition("/images/")
    swapped = f"{before}/labels/{after}"[1:] if images else path
    return str(PurePosixPath(swapped).with_suffix(".txt"))


def _are_labels(folder: Folder, parent: str) -> bool:
    """Return whether a folder or its first subfolder has texts, and one of the first is labels."""
    names = sorted(folder.list_names(parent))
    texts = [posixpath.join(parent, name) for name in names if name.endswith(".txt")]
    inner = next((name[:-1] for name in names if name.endswith("/")), None)
    if inner is not None:
        subfolder = posixpath.join(parent, inner)
        inside = sorted(folder.list_names(subfolder))
        texts += [posixpath.join(subfolder, name) for name in inside if name.endswith(".txt")]
    return any(_has_labels(folder, path, None) for path in texts[:_MAX_EXAMINED])


def _has_labels(folder: Folder, path: str, keypoints: int | None) -> bool:
    """Return whether a text has labels or is empty; also if it cannot be read, to be reported."""
    try:
        with open_annotation(folder, path) as file:
            return has_labels(file, path, keypoints)
    except DataError:
        return True


def _usual_lists(folder: Folder) -> list[tuple[str, str]]:
    """Return the split and path of texts such as ``train2017.txt``, in the root or Darknet's."""
    top = _find_darknet(folder) or ""
    found = ((_LIST.fullmatch(name), name) for name in sorted(folder.list_names(top.rstrip("/"))))
    lists = [(match[1], f"{top}{name}") for match, name in found if match is not None]
    return sorted(lists, key=lambda each: _SPLITS.index(each[0]))


def _find_darknet(folder: Folder) -> str | None:
    """Return the folder of the files of Darknet, the root or ``data/``; None if there is none."""
    tops = (
        top for top in _TOPS if all(folder.info(f"{top}{name}") is not None for name in _DARKNET)
    )
    return next(tops, None)
