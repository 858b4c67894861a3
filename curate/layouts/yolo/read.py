"""YOLO as Ultralytics has it: ``images`` and ``labels`` trees, ``data.yaml``, lists of images."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder, Leaf
from curate.layouts.annotations import iter_lines, open_annotation, resolve, shorten
from curate.layouts.files import CARRIED_SUFFIXES, FileLayout, split_of_folders
from curate.layouts.yolo.config import Config, find_config, load_config
from curate.storage.index import NameIndex

_SLACK = 1e-6  # a box drawn to the border, written with six digits


def check_line(line: str, where: str, config: Config) -> int:
    """Check a box, a polygon or a pose; returns the number of its class.

    Args:
        line: ``class x y w h``, ``class x1 y1 x2 y2 x3 y3 …`` or, with ``kpt_shape``,
            a box and its keypoints; as shares of the image's size.
        where: what a message calls the line.
        config: what the dataset's configuration says.

    Raises:
        DataError: if it is none of these.
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
            f"{where} has {len(values)} numbers after the class; want 4, or pairs from 3 on"
        )
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:
            raise DataError(f"{where}: {value:g} is not between 0 and 1")
    return number


def _class(text: str, where: str) -> int:
    whole, _, zeros = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 9) or zeros.strip("0"):
        raise DataError(f"{where}: the class is {shorten(text)}; want a whole number")
    return int(whole)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {shorten(text)} is no number")
    return value


_CATEGORY = "category"
_SPLITS = ("train", "val", "valid", "test")
_NOT_LABELS = frozenset({"classes.txt", "README.txt"})


class Yolo(FileLayout):
    """Images below ``images`` with a text file each at the same place below ``labels``.

    An image's split is the list that names it, or is told by its folders.
    """

    layout = "yolo"
    carried_suffixes = CARRIED_SUFFIXES | {".yaml", ".yml"}

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """A ``data.yaml``, or trees of images and labels side by side."""
        config = find_config(folder)
        if config is not None:
            return config
        for place in ("", *(f"{split}/" for split in _SPLITS)):
            if _has_labels(folder, f"{place}labels") and folder.names(f"{place}images"):
                return f"{place}labels beside {place}images"
        return None

    @cached_property
    def config(self) -> Config:
        """What the dataset's configuration says."""
        path = find_config(self.folder)
        return load_config(self.folder, path) if path else Config()

    @cached_property
    def _lists(self) -> NameIndex:
        """Images that lists name, with their split."""
        names = NameIndex()
        for split, path in self._list_paths:
            with open_annotation(self.folder, path) as file:
                for where, line in iter_lines(file, path):
                    if line.strip():
                        image = self.find_listed(line.strip(), path, where)
                        if not names.add(f"in {split}", image):
                            raise DataError(f"{where} names {line!a}, which an earlier line has")
                        names.add("split", image, split)
        return names

    def check(self) -> Iterator[str]:
        """Read the configuration, every list and every label.

        Raises:
            DataError: if one is malformed.
        """
        yield from self.config.notes
        names = self._lists
        for leaf in self.folder.leaves():
            if self._is_image(leaf):
                names.add("there", leaf.path)
                names.add("image", label_of(leaf.path))
            elif _is_label(leaf):
                names.add("label", leaf.path)
                self._check_label(leaf.path)
        for one, other, text in (
            ("image", "label", "images have no label"),
            ("label", "image", "labels have no image"),
            ("split", "there", "images of the lists are absent"),
        ):
            count, example = names.only_in(one, other)
            if count:
                yield f"{count:,} {text}, such as {example!r}."

    def parse(self, path: str) -> ImageRecord:
        """Read an image's split from the lists, else from its folders."""
        split = self._lists.get("split", path) or split_of_folders(path)
        return ImageRecord(id=path, uri=path, split=split)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A row for each object: the name of its class as ``category``."""
        if _CATEGORY not in columns:
            return
        for leaf in self.folder.leaves():
            label = label_of(leaf.path)
            found = self.folder.leaf(label) if self._is_image(leaf) else None
            if found is not None and found.regular:
                for number in self._iter_classes(label):
                    yield leaf.path, {_CATEGORY: self.config.names.get(number, str(number))}

    def _check_label(self, path: str) -> None:
        for _ in self._iter_classes(path):
            pass

    def _iter_classes(self, path: str) -> Iterator[int]:
        """The class of each object that a label names, checked line by line."""
        with open_annotation(self.folder, path) as file:
            for where, line in iter_lines(file, path):
                if line.strip():
                    yield check_line(line, where, self.config)

    def list_paths(self) -> frozenset[str]:
        """Paths of the lists of images."""
        return frozenset(path for _, path in self._list_paths)

    def find_listed(self, line: str, path: str, where: str) -> str:
        """The image that a list's line means: it counts from SOURCE or from the list's folder.

        Raises:
            DataError: if it names no file in SOURCE.
        """
        image = resolve("", line, where)
        beside = resolve(posixpath.dirname(path), line, where)
        return image if self.folder.leaf(beside) is None else beside

    @cached_property
    def _list_paths(self) -> list[tuple[str, str]]:
        return list(self.config.lists) or _usual_lists(self.folder)


def label_of(path: str) -> str:
    """Where the label of an image is: ``labels`` for the last ``images``, and ``.txt``."""
    before, images, after = f"/{path}".rpartition("/images/")
    swapped = f"{before}/labels/{after}"[1:] if images else path
    return str(PurePosixPath(swapped).with_suffix(".txt"))


def _is_label(leaf: Leaf) -> bool:
    path = PurePosixPath(leaf.path)
    is_text = path.suffix == ".txt" and path.name not in _NOT_LABELS
    return leaf.regular and is_text and "labels" in path.parts[:-1]


def _has_labels(folder: Folder, place: str) -> bool:
    """Whether there is a text file in a folder, or in the first one inside it."""
    names = sorted(folder.names(place))
    if any(name.endswith(".txt") for name in names):
        return True
    inner = next((name for name in names if name.endswith("/")), None)
    return inner is not None and any(
        name.endswith(".txt") for name in folder.names(posixpath.join(place, inner[:-1]))
    )


def _usual_lists(folder: Folder) -> list[tuple[str, str]]:
    lists = ((split, f"{split}.txt") for split in _SPLITS)
    return [(split, path) for split, path in lists if folder.leaf(path) is not None]
