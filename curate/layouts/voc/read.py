"""Pascal VOC: ``Annotations``, ``ImageSets`` and ``JPEGImages``, of one year or several."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from xml.parsers import expat

from curate.core.errors import DataError
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import iter_lines, open_annotation, resolve, shorten
from curate.layouts.files import split_of_folders
from curate.layouts.label_maps import MapLayout, is_voc_map
from curate.storage.index import NameIndex

_DEEPEST = 64
_LONGEST_TEXT = 1 << 12
_SIZES = (("annotation", "size", "width"), ("annotation", "size", "height"))
_FILENAME = ("annotation", "filename")
_PATH = ("annotation", "path")
_WANTED = frozenset({*_SIZES, _FILENAME, _PATH})
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:")


def load_annotation(file: BinaryIO, name: str) -> bool:
    """Look an annotation over.

    Args:
        file: the XML.
        name: what a message calls it.

    Returns:
        Whether its ``path`` names a place on some computer.

    Raises:
        DataError: if it is malformed, has a document type, or lacks the image's
            name or size.
    """
    texts = _read(file, name)
    filename = texts.get(_FILENAME, "").strip()
    resolve("", filename, f"{name}: annotation/filename")
    for place in _SIZES:
        text = texts.get(place, "").strip()
        if not re.fullmatch(r"\d{1,9}(?:\.0*)?", text, re.ASCII):
            raise DataError(f"{name}: {'/'.join(place)} is {shorten(text)}; want a whole number")
    return bool(_ELSEWHERE.match(texts.get(_PATH, "").strip()))


def _read(file: BinaryIO, name: str) -> dict[tuple[str, ...], str]:
    """The texts of the few elements that are wanted."""
    texts: dict[tuple[str, ...], str] = {}

    def text(place: tuple[str, ...], data: str) -> None:
        if place in _WANTED and len(texts.get(place, "")) <= _LONGEST_TEXT:
            texts[place] = texts.get(place, "") + data

    follow(file, name, text, lambda place: None)
    return texts


def follow(
    file: BinaryIO,
    name: str,
    text: Callable[[tuple[str, ...], str], None],
    end: Callable[[tuple[str, ...]], None],
) -> None:
    """Read a whole annotation as it comes.

    Args:
        file: the XML.
        name: what a message calls it.
        text: called with the tags around a piece of text, and the piece.
        end: called with the tags down to an element that ends.

    Raises:
        DataError: if it is malformed, or has a document type.
    """
    parser = expat.ParserCreate()
    stack: list[str] = []

    def refuse(*_: object) -> None:
        # Entities can blow up memory, or read other files.
        raise DataError(f"{name} has a document type or entities; remove them")

    def start(tag: str, _: object) -> None:
        stack.append(tag)
        if len(stack) > _DEEPEST or stack[0] != "annotation":
            raise DataError(f"{name}: <{shorten(tag)[1:-1]}> stands where VOC has <annotation>")

    def leave(_: str) -> None:
        end(tuple(stack))
        stack.pop()

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, leave
    parser.CharacterDataHandler = lambda data: text(tuple(stack), data)
    try:
        parser.ParseFile(file)
    except expat.ExpatError as error:
        raise DataError(f"{name} is no whole XML; is it cut off? ({error})") from None


IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets"
MAPS = {"SegmentationClass": True, "SegmentationObject": False}
"""Folders of segmentations, and whether their values are classes."""
_SPLITS = ("train", "val", "test")  # trainval is both
_FLAG = re.compile(r"\s+-?[01]$")


class Voc(MapLayout):
    """Images in ``JPEGImages`` with an XML each in ``Annotations``, and lists in ``ImageSets``.

    An image's split is the list of ``ImageSets/Main`` that names it. Segmentations
    are carried where they are proven to be maps.
    """

    layout = "voc"

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """The two folders, in SOURCE or in one of its first two levels of folders."""
        found = _find_years(folder)
        shown = (posixpath.join(year, ANNOTATIONS) for year in found)
        return f"{', '.join(shown)} beside {IMAGES}" if found else None

    @cached_property
    def _years(self) -> list[str]:
        return _find_years(self.folder)

    @cached_property
    def _splits(self) -> NameIndex:
        """Images by the path of their name without its suffix, with their split."""
        names = NameIndex()
        for year in self._years:
            for split in _SPLITS:
                path = posixpath.join(year, LISTS, "Main", f"{split}.txt")
                leaf = self.folder.leaf(path)
                if leaf is not None and leaf.regular:
                    self._read_list(path, year, split, names)
        return names

    def check(self) -> Iterator[str]:
        """Read every list and every XML.

        Raises:
            DataError: if one is malformed.
        """
        names, foreign = self._splits, 0
        for leaf in self.folder.leaves():
            kind, stem = self.kind_of(leaf.path)
            if kind == IMAGES and self._is_image(leaf):
                names.add("image", stem)
            elif kind == ANNOTATIONS and leaf.regular and leaf.path.endswith(".xml"):
                names.add("label", stem)
                with open_annotation(self.folder, leaf.path) as file:
                    foreign += load_annotation(file, leaf.path)
        if foreign:
            yield f"{foreign:,} XML files name a place on some disk in <path>; carried as they are."
        for one, other, text in (
            ("image", "label", "images have no XML in Annotations"),
            ("label", "image", "XML files have no image in JPEGImages"),
            ("split", "image", "names in ImageSets/Main have no image in JPEGImages"),
        ):
            count, example = names.only_in(one, other)
            if count:
                yield f"{count:,} {text}, such as {example!r}."

    def parse(self, path: str) -> ImageRecord:
        """Read an image's split from the lists; from its folders where there are none."""
        kind, stem = self.kind_of(path)
        split = self._splits.get("split", stem) if kind == IMAGES else None
        return ImageRecord(id=path, uri=path, split=split or split_of_folders(path))

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A row for each object: its name as ``category``, and its ``pose`` and the like."""
        for year in self._years:
            images = posixpath.join(year, IMAGES, "")
            for leaf in self.folder.leaves():
                if leaf.path.startswith(images) and self._is_image(leaf):
                    name = PurePosixPath(leaf.path.removeprefix(images)).with_suffix(".xml")
                    label = posixpath.join(year, ANNOTATIONS, str(name))
                    for said in self._iter_objects(label):
                        yield leaf.path, said

    def _iter_objects(self, label: str) -> Iterator[Mapping[str, Any]]:
        found = self.folder.leaf(label)
        if found is not None and found.regular:
            with open_annotation(self.folder, label) as file:
                yield from load_objects(file, label)

    def may_be_map(self, path: str) -> bool:
        """Whether a file is a PNG in a folder of segmentations."""
        return self.kind_of(path)[0] in MAPS and path.lower().endswith(".png")

    def is_map(self, path: str, data: bytes) -> bool:
        """Prove a segmentation by its palette and its values."""
        return self.may_be_map(path) and is_voc_map(data, classes=MAPS[self.kind_of(path)[0]])

    def kind_of(self, path: str) -> tuple[str, str]:
        """The folder of VOC's that a file is in, and what its image is called in all of them."""
        for year in self._years:
            inside = path.removeprefix(f"{year}/") if year else path
            top, slash, name = inside.partition("/")
            if slash and (not year or inside != path):
                return top, posixpath.join(year, str(PurePosixPath(name).with_suffix("")))
        return "", path

    def _read_list(self, path: str, year: str, split: str, names: NameIndex) -> None:
        with open_annotation(self.folder, path) as file:
            for where, line in iter_lines(file, path):
                name = _FLAG.sub("", line.strip())
                if not name:
                    continue
                stem = resolve(year, name, where)
                if not names.add(f"in {split}", stem):
                    raise DataError(f"{where} names {name!a}, which an earlier line has")
                names.add("split", stem, split)


def _find_years(folder: Folder) -> list[str]:
    """Folders that hold ``JPEGImages`` and ``Annotations``; no other folder is listed."""
    if _is_year(folder, ""):
        return [""]
    found = []
    for top in _folders(folder, ""):
        if _is_year(folder, top):
            found.append(top)
        elif top == "VOCdevkit":
            years = (f"{top}/{name}" for name in _folders(folder, top))
            found += [year for year in years if _is_year(folder, year)]
    return found


def _folders(folder: Folder, place: str) -> list[str]:
    return sorted(name[:-1] for name in folder.names(place) if name.endswith("/"))


def _is_year(folder: Folder, place: str) -> bool:
    inner = (posixpath.join(place, name) for name in (IMAGES, ANNOTATIONS))
    return all(folder.names(path) for path in inner)


_OBJECT = ("annotation", "object")
_NAME, _CATEGORY = "name", "category"


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
