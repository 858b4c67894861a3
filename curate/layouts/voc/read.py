"""Pascal VOC: images with XML files, in its own folders or in those of other datasets."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import (
    Problems,
    add_to_split,
    iter_lines,
    open_annotation,
    read_head,
    resolve,
)
from curate.layouts.contents import note_contained
from curate.layouts.files import IMAGE_SUFFIXES, not_recognized, split_of_folders
from curate.layouts.label_maps import LabelMapLayout, is_voc_map, load_voc_map
from curate.layouts.sidecars.text import rewrite_list
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.folders import (
    SUFFIX,
    Found,
    divide,
    find_folders,
    is_annotation_head,
    join,
)
from curate.layouts.voc.parse import load_annotation, load_objects
from curate.layouts.voc.rewrite import rewrite_xml
from curate.layouts.voc.segmentations import Outlines, fits_outlines, load_outlines
from curate.storage.index import NameIndex

_MAX_SHOWN = 80
LISTS = "ImageSets"
MAPS = {"SegmentationClass": True, "SegmentationObject": False}
"""Folders of segmentations, and whether their values are classes."""
IMAGE, LABEL = "image", "label"
_SPLITS = ("train", "val", "test")  # trainval is both
_FLAG = re.compile(r"\s+-?[01]$")


class Voc(LabelMapLayout):
    """Images with XML files of the same name, and lists in ``ImageSets``.

    The split of an image is the list of ``ImageSets/Main`` that names it, else given by its
    folders. Segmentations are copied if they are proven to be label maps.
    """

    layout = "voc"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for annotations of images in SOURCE and in its first three levels of folders."""
        found = find_folders(folder)
        return None if found.is_partial else found.why or None

    @cached_property
    def _found(self) -> Found:
        return find_folders(self.folder)

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        """Names of the folders of images and of annotations, in any parent."""
        names = dict.fromkeys((each.images, each.annotations) for each in self._found.folders)
        return list(names) or [("", "")]

    @cached_property
    def _standard(self) -> tuple[str, ...]:
        """Folders all of whose XML files must be annotations."""
        folders = self._found.folders if self._found.is_standard else ()
        return tuple(f"{join(each.parent, each.annotations)}/" for each in folders)

    @cached_property
    def _list_problems(self) -> Problems:
        return Problems()

    @cached_property
    def _splits(self) -> NameIndex:
        """Splits of images, by path without suffix."""
        names = NameIndex()
        for parent in dict.fromkeys(each.parent for each in self._found.folders):
            for split in _SPLITS:
                path = posixpath.join(parent, LISTS, "Main", f"{split}.txt")
                info = self.folder.info(path)
                if info is not None and info.regular:
                    self._read_list(path, split, names)
        return names

    def check(self, strict: bool = False) -> Iterator[str]:
        """Read all lists and XML files.

        Raises:
            DataError: if there are none, or ``strict`` and one is malformed.
        """
        yield from note_contained(self.folder)
        names, problems = self._splits, Problems()
        foreign, other, first = 0, 0, ""
        for info in self.folder.files():
            kind, key = self.kind_of(info.path)
            if kind == IMAGE and self._is_image(info):
                names.add("image", key)
            elif kind == LABEL and info.regular and not self.format_of(info.path):
                other, first = other + 1, first or info.path
            elif kind == LABEL and info.regular:
                names.add("label", key)
                with (
                    problems.collect("XML files"),
                    open_annotation(self.folder, info.path) as file,
                ):
                    stated = load_annotation(file, info.path)
                    foreign += stated.has_local_path
                    if not _names_image(stated.filename, key):
                        names.add("renamed", f"{info.path}: {stated.filename[:_MAX_SHOWN]}")
        if not self._found.folders and names.only_in("label", "")[0] == 0:
            raise not_recognized(self.folder, "XML files of Pascal VOC", "voc")
        yield from self._list_problems.report(strict)
        yield from problems.report(strict)
        if foreign:
            yield f"{foreign:,} files contain a local path in <path>; kept as it is."
        if other:
            yield f"XML files that are not of Pascal VOC left out: {other:,}, such as {first!r}."
        yield from names.iter_unmatched(
            ("renamed", "", "XML files name another image in <filename> than that of their name, "
             "to which they belong"),
            ("image", "label", "images have no XML file"),
            ("label", "image", "XML files have no image"),
            ("split", "image", "names in ImageSets/Main have no image"),
        )  # fmt: skip

    def parse(self, path: str) -> ImageRecord:
        """Return the record of an image; its split is given by the lists, else its folders."""
        kind, key = self.kind_of(path)
        split = self._splits.get("split", key) if kind == IMAGE else None
        return ImageRecord(id=path, uri=path, split=split or split_of_folders(path))

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over rows, one per object: its name as ``category``, ``pose`` and others."""
        for info in self.folder.files():
            kind, key = self.kind_of(info.path)
            if kind == IMAGE and self._is_image(info) and (label := self.label_of(key)):
                with open_annotation(self.folder, label) as file:
                    for row in load_objects(file, label):
                        yield info.path, row

    def format_of(self, path: str) -> str:
        """Return the format of XML files of VOC and of lists in ``ImageSets``."""
        kind, _ = self.kind_of(path)
        if kind == LISTS:
            return "list" if path.lower().endswith(".txt") else ""
        if kind != LABEL:
            return ""
        if path.startswith(self._standard):
            return "xml"
        if (known := self._heads.get("head", path)) is None:
            known = "xml" if is_annotation_head(read_head(self.folder, path)) else ""
            self._heads.add("head", path, known)
        return known

    @cached_property
    def _heads(self) -> NameIndex:
        """Formats of XML files, by the start of their content."""
        return NameIndex()

    def rewrite_sidecar(
        self, file: SidecarFile, opened: BinaryIO, target: BinaryIO, limits: Limits
    ) -> None:
        """Write an annotation file again from its parsed values; see `SidecarSource`."""
        if file.format == "xml":
            rewrite_xml(opened, target, file.uri, limits)
        elif file.format == "list":
            rewrite_list(opened, target, file.uri, limits)
        else:
            super().rewrite_sidecar(file, opened, target, limits)

    def may_be_label_map(self, path: str) -> bool:
        """Return whether a file is a PNG in a folder of segmentations."""
        return self.kind_of(path)[0] in MAPS and path.lower().endswith(".png")

    def image_of(self, path: str) -> str | None:
        """Return the path of the image of a segmentation, or None if it is not there."""
        key = self.kind_of(path)[1]
        suffixes = sorted(IMAGE_SUFFIXES)
        paths = (f"{key}{suffix}" for suffix in (*suffixes, *map(str.upper, suffixes)))
        return next((each for each in paths if self.find(each) is not None), None)

    def is_label_map(self, path: str, data: bytes) -> bool:
        """Prove a segmentation by its palette, its values and the objects of its image."""
        if not self.may_be_label_map(path):
            return False
        classes = MAPS[self.kind_of(path)[0]]
        outlines = self._load_outlines(path)
        return (
            outlines is not None
            and is_voc_map(data, classes)
            and fits_outlines(load_voc_map(data), outlines, classes)
        )

    def _load_outlines(self, path: str) -> Outlines | None:
        """Return what the annotation of the image of a segmentation states, or None."""
        label = self.label_of(self.kind_of(path)[1])
        if label is not None:
            with contextlib.suppress(DataError), open_annotation(self.folder, label) as file:
                return load_outlines(file, label)
        return None

    def kind_of(self, path: str) -> tuple[str, str]:
        """Return what a file is, by its path, and the path of its image without the suffix.

        It is an image, an XML file, a list in ``ImageSets``, a segmentation, or '' for others.
        """
        stem, is_xml = posixpath.splitext(path)[0], path.lower().endswith(SUFFIX)
        for images, labels in self._names:
            for folder in (LISTS, *MAPS):
                for before, after in divide(stem, folder):
                    return folder, join(before, images, after)
            for before, after in divide(stem, labels) if is_xml else ():
                return LABEL, join(before, images, after)
            if not is_xml and next(divide(stem, images), None):
                return IMAGE, stem
        return "", stem

    def label_of(self, key: str) -> str | None:
        """Return the XML file of an image, given by its path without the suffix, or None."""
        return self._find(key, None, (SUFFIX, SUFFIX.upper()))

    def map_of(self, key: str, folder: str) -> str | None:
        """Return the segmentation in one of `MAPS` of an image, or None."""
        return self._find(key, folder, (".png",))

    def _find(self, key: str, folder: str | None, suffixes: Sequence[str]) -> str | None:
        """Return the file of an image in a folder beside that of images, by default its label."""
        paths = (
            join(before, labels if folder is None else folder, after) + suffix
            for images, labels in self._names
            for before, after in divide(key, images)
            for suffix in suffixes
        )
        for path in dict.fromkeys(paths):
            info = self.folder.info(path)
            if info is not None and info.regular and (folder or self.format_of(path)):
                return path
        return None

    def listed_key(self, path: str, name: str, where: str) -> str:
        """Return the path without suffix of an image that a list names; see `resolve`."""
        before, _ = next(divide(path, LISTS))
        return resolve(join(before, self._names[0][0]), name, where)

    def _read_list(self, path: str, split: str, names: NameIndex) -> None:
        problems = self._list_problems
        with problems.collect(path), open_annotation(self.folder, path) as file:
            for where, line in iter_lines(file, path):
                name = _FLAG.sub("", line.strip())
                with problems.collect(path):
                    key = self.listed_key(path, name, where) if name else ""
                    if key and not add_to_split(names, split, key):
                        problems.add(path, f"{where} names {name!a}, which is duplicated")


def _names_image(filename: str, key: str) -> bool:
    name = posixpath.basename(filename)
    return posixpath.basename(key) in (name, posixpath.splitext(name)[0])
