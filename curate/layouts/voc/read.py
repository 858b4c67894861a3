"""Pascal VOC: ``Annotations``, ``ImageSets`` and ``JPEGImages``, of one or several years."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from xml.parsers import expat

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import (
    Problems,
    iter_lines,
    open_annotation,
    resolve,
    shorten,
)
from curate.layouts.containers import iter_listed_folders
from curate.layouts.contents import note_contained
from curate.layouts.encodings import feed_xml
from curate.layouts.files import not_recognized, split_of_folders
from curate.layouts.label_maps import LabelMapLayout, is_voc_map, load_voc_map
from curate.layouts.sidecars.text import rewrite_list
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.rewrite import rewrite_xml
from curate.layouts.voc.segmentations import Outlines, fits_outlines, load_outlines
from curate.storage.index import NameIndex

_MAX_DEPTH = 64
_MAX_TEXT = 1 << 12
_SIZES = (("annotation", "size", "width"), ("annotation", "size", "height"))
_FILENAME = ("annotation", "filename")
_PATH = ("annotation", "path")
_WANTED = frozenset({*_SIZES, _FILENAME, _PATH})
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:")


def load_annotation(file: BinaryIO, name: str) -> bool:
    """Check an annotation.

    Args:
        file: XML file.
        name: name in messages.

    Returns:
        Whether its ``path`` is an absolute path of some computer.

    Raises:
        DataError: if it is malformed, has a document type declaration, or lacks the name
            or size of the image.
    """
    texts = _read(file, name)
    filename = texts.get(_FILENAME, "").strip()
    resolve("", filename, f"{name}: annotation/filename")
    for tags in _SIZES:
        text = texts.get(tags, "").strip()
        if not re.fullmatch(r"\d{1,9}(?:\.0*)?", text, re.ASCII):
            raise DataError(f"{name}: {'/'.join(tags)} is {shorten(text)}; expected an integer")
    return bool(_ELSEWHERE.match(texts.get(_PATH, "").strip()))


def _read(file: BinaryIO, name: str) -> dict[tuple[str, ...], str]:
    """Return the texts of the elements to check."""
    texts: dict[tuple[str, ...], str] = {}

    def text(tags: tuple[str, ...], data: str) -> None:
        if tags in _WANTED and len(texts.get(tags, "")) <= _MAX_TEXT:
            texts[tags] = texts.get(tags, "") + data

    parse_xml(file, name, text, lambda tags: None)
    return texts


def parse_xml(
    file: BinaryIO,
    name: str,
    text: Callable[[tuple[str, ...], str], None],
    end: Callable[[tuple[str, ...]], None],
    begin: Callable[[tuple[str, ...]], None] = lambda tags: None,
) -> None:
    """Parse an annotation as a stream: no tree, no entities, constant memory.

    Args:
        file: XML file.
        name: name in messages.
        text: called with the open tags and a piece of text in them.
        end: called with the open tags when the innermost one ends.
        begin: called with the open tags when the innermost one starts.

    Raises:
        DataError: if it is malformed, or has a document type declaration.
    """
    parser = expat.ParserCreate("utf-8")
    stack: list[str] = []

    def start(tag: str, _: object) -> None:
        stack.append(tag)
        if len(stack) > _MAX_DEPTH or stack[0] != "annotation":
            raise DataError(f"{name}: <{shorten(tag)[1:-1]}> found where VOC has <annotation>")
        begin(tuple(stack))

    def leave(_: str) -> None:
        end(tuple(stack))
        stack.pop()

    parser.StartElementHandler, parser.EndElementHandler = start, leave
    parser.CharacterDataHandler = lambda data: text(tuple(stack), data)
    feed_xml(parser, file, name)


IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets"
MAPS = {"SegmentationClass": True, "SegmentationObject": False}
"""Folders of segmentations, and whether their values are classes."""
_DEVKIT = "VOCdevkit"
_SPLITS = ("train", "val", "test")  # trainval is both
_FLAG = re.compile(r"\s+-?[01]$")


class Voc(LabelMapLayout):
    """Images in ``JPEGImages``, XML files in ``Annotations`` and lists in ``ImageSets``.

    The split of an image is the list of ``ImageSets/Main`` that names it. Segmentations
    are copied if they are proven to be label maps.
    """

    layout = "voc"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Look for both folders in SOURCE and in its first three levels of folders."""
        found = _find_years(folder)
        shown = (posixpath.join(year, ANNOTATIONS) for year in found)
        return f"{', '.join(shown)} beside {IMAGES}" if found else None

    @cached_property
    def _years(self) -> list[str]:
        return _find_years(self.folder)

    @cached_property
    def _list_problems(self) -> Problems:
        return Problems()

    @cached_property
    def _splits(self) -> NameIndex:
        """Splits of images, by path without folder and suffix."""
        names = NameIndex()
        for year in self._years:
            for split in _SPLITS:
                path = posixpath.join(year, LISTS, "Main", f"{split}.txt")
                info = self.folder.info(path)
                if info is not None and info.regular:
                    self._read_list(path, year, split, names)
        return names

    def check(self, strict: bool = False) -> Iterator[str]:
        """Read all lists and XML files.

        Raises:
            DataError: if there are none, or ``strict`` and one is malformed.
        """
        if not self._years:
            raise not_recognized(self.folder, f"{ANNOTATIONS} beside {IMAGES}", "voc")
        yield from note_contained(self.folder)
        names, foreign, problems = self._splits, 0, Problems()
        for info in self.folder.files():
            kind, stem = self.kind_of(info.path)
            if kind == IMAGES and self._is_image(info):
                names.add("image", stem)
            elif kind == ANNOTATIONS and info.regular and info.path.lower().endswith(".xml"):
                names.add("label", stem)
                with (
                    problems.collect("XML files"),
                    open_annotation(self.folder, info.path) as file,
                ):
                    foreign += load_annotation(file, info.path)
        yield from self._list_problems.report(strict)
        yield from problems.report(strict)
        if foreign:
            yield f"{foreign:,} files contain a local path in <path>; kept as it is."
        yield from names.iter_unmatched(
            ("image", "label", "images have no XML in Annotations"),
            ("label", "image", "XML files have no image in JPEGImages"),
            ("split", "image", "names in ImageSets/Main have no image in JPEGImages"),
        )

    def parse(self, path: str) -> ImageRecord:
        """Return the record of an image; its split is given by the lists, else its folders."""
        kind, stem = self.kind_of(path)
        split = self._splits.get("split", stem) if kind == IMAGES else None
        return ImageRecord(id=path, uri=path, split=split or split_of_folders(path))

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Iterate over rows, one per object: its name as ``category``, ``pose`` and others."""
        for year in self._years:
            images = posixpath.join(year, IMAGES, "")
            for info in self.folder.files():
                if info.path.startswith(images) and self._is_image(info):
                    name = PurePosixPath(info.path.removeprefix(images)).with_suffix(".xml")
                    label = posixpath.join(year, ANNOTATIONS, str(name))
                    for row in self._iter_objects(label):
                        yield info.path, row

    def _iter_objects(self, label: str) -> Iterator[Mapping[str, Any]]:
        found = self.folder.info(label)
        if found is not None and found.regular:
            with open_annotation(self.folder, label) as file:
                yield from load_objects(file, label)

    def format_of(self, path: str) -> str:
        """Return the format of XML files in ``Annotations`` and of lists in ``ImageSets``."""
        kind, name = self.kind_of(path)[0], path.lower()
        if kind == ANNOTATIONS and name.endswith(".xml"):
            return "xml"
        return "list" if kind == LISTS and name.endswith(".txt") else ""

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
        stem = self.kind_of(path)[1]
        for year in self._years:
            prefix = f"{year}/" if year else ""
            if stem.startswith(prefix):
                label = f"{prefix}{ANNOTATIONS}/{stem.removeprefix(prefix)}.xml"
                with contextlib.suppress(DataError), open_annotation(self.folder, label) as file:
                    return load_outlines(file, label)
        return None

    def kind_of(self, path: str) -> tuple[str, str]:
        """Return the VOC folder of a file, and the path shared by all files of its image."""
        for year in self._years:
            inside = path.removeprefix(f"{year}/") if year else path
            top, slash, name = inside.partition("/")
            if slash and (not year or inside != path):
                return top, posixpath.join(year, str(PurePosixPath(name).with_suffix("")))
        return "", path

    def _read_list(self, path: str, year: str, split: str, names: NameIndex) -> None:
        problems = self._list_problems
        with problems.collect(path), open_annotation(self.folder, path) as file:
            for where, line in iter_lines(file, path):
                name = _FLAG.sub("", line.strip())
                with problems.collect(path):
                    stem = resolve(year, name, where) if name else ""
                    if stem and not names.add(f"in {split}", stem):
                        problems.add(path, f"{where} names {name!a}, which is duplicated")
                    if stem:
                        names.add("split", stem, split)


def _find_years(folder: Folder) -> list[str]:
    """Return the folders with ``JPEGImages`` and ``Annotations``, among the first folders."""
    tops = _folders(folder, "")
    usual = [path for path in tops if path != _DEVKIT]
    if _DEVKIT in tops:
        usual += [f"{_DEVKIT}/{name}" for name in _folders(folder, _DEVKIT)]
    for paths in ([""], usual):  # mostly there, without listing folders of images
        if found := [path for path in paths if _is_year(folder, path)]:
            return found
    both = {f"{IMAGES}/", f"{ANNOTATIONS}/"}
    listed = sorted(path[:-1] for path, names in iter_listed_folders(folder) if both <= names)
    return [path for path in listed if _is_year(folder, path)]


def _folders(folder: Folder, parent: str) -> list[str]:
    return sorted(name[:-1] for name in folder.list_names(parent) if name[-1] == "/")


def _is_year(folder: Folder, parent: str) -> bool:
    inner = (posixpath.join(parent, name) for name in (IMAGES, ANNOTATIONS))
    return all(folder.list_names(path) for path in inner)


_OBJECT = ("annotation", "object")
_NAME, _CATEGORY = "name", "category"


def load_objects(file: BinaryIO, name: str) -> list[Mapping[str, str]]:
    """Return one row per object of an annotation.

    Its ``name`` becomes the column ``category``; other elements with only text, such as
    ``pose``, become columns of the same name. Boxes and parts are skipped.

    Args:
        file: XML file.
        name: name in messages.

    Raises:
        DataError: if it is malformed.
    """
    rows: list[Mapping[str, str]] = []
    row: dict[str, str] = {}

    def text(tags: tuple[str, ...], data: str) -> None:
        if tags[:2] == _OBJECT and len(tags) == 3 and len(row.get(tags[2], "")) < _MAX_TEXT:
            row[tags[2]] = row.get(tags[2], "") + data

    def end(tags: tuple[str, ...]) -> None:
        if tags == _OBJECT:
            plain = {key: value.strip() for key, value in row.items() if value.strip()}
            rows.append({_CATEGORY if key == _NAME else key: v for key, v in plain.items()})
            row.clear()

    parse_xml(file, name, text, end)
    return rows
