"""Pascal VOC's XML, lists and segmentations: dropped with their images, made for those made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np

from curate.core.affine import Affine
from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.core.protocols import CarriedFile
from curate.core.records import ImageRecord
from curate.layouts.annotations import open_annotation, resolve, shorten
from curate.layouts.editing.changes import (
    DROPPED,
    EDITED,
    SAME,
    Decide,
    Edits,
    Fate,
    Made,
    Outcome,
    edit_lines,
    rename,
    rename_stem,
)
from curate.layouts.editing.geometry import find_geometry, round_pixels
from curate.layouts.editing.sidecars import Mentions
from curate.layouts.label_maps import VOID, encode_voc_map, load_voc_map
from curate.layouts.voc.read import ANNOTATIONS, IMAGES, LISTS, MAPS, Voc
from curate.storage.index import NameIndex

_LINE = re.compile(r"(\s*)(\S+)(.*)", re.DOTALL)


class VocEditor:
    """Edits the lists of Pascal VOC, and makes XML and segmentations.

    Args:
        source: the dataset.
        edits: what is to be changed.
    """

    def __init__(self, source: Voc, edits: Edits) -> None:
        self._source = source
        self._folder = source.folder
        self._edits = edits
        self._mentions = Mentions(source, edits)

    @cached_property
    def _names(self) -> NameIndex:
        """Images by what they are called in all folders: those kept, and those removed."""
        names = NameIndex()
        for record in self._source.records():
            kind, stem = self._source.kind_of(record.id)
            if kind == IMAGES:
                kept = "kept" if self._edits.is_kept(record.id) else "removed"
                names.add(kept, stem, record.id)
        return names

    def edit(self, other: CarriedFile, target: BinaryIO) -> Fate:
        """Edit a list; drop what belongs to a removed image; all else goes through."""
        path = str(other.path)
        kind, stem = self._source.kind_of(path)
        if kind == LISTS and path.endswith(".txt"):
            with open_annotation(self._folder, path) as file:
                changed = edit_lines(file, path, self._decider(path), target)
            return EDITED if changed else SAME
        if kind == ANNOTATIONS or kind in MAPS:
            return SAME if self._is_kept(stem) else DROPPED
        return Fate(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """An XML and segmentations for every image made from one that has them."""
        for record in self._source.records():
            for made in self._edits.made_from(record.id):
                yield from self._make_files(record, made)

    def _is_kept(self, stem: str) -> bool:
        """Whether an image is kept, or none of this name was there."""
        return self._names.get("removed", stem) is None or self._names.get("kept", stem) is not None

    def _decider(self, path: str) -> Decide:
        year = path.rpartition(f"{LISTS}/")[0].rstrip("/")

        def decide(line: str, where: str) -> tuple[bool, list[str]]:
            if (found := _LINE.fullmatch(line)) is None:
                return True, []
            before, name, after = found.groups()
            stem = resolve(year, name, where)
            image = self._names.get("kept", stem) or self._names.get("removed", stem)
            if image is None:
                return True, []  # such as a class in a list of classes
            added = [
                before + rename_stem(name, image, made.id) + after
                for made in self._edits.made_from(image)
            ]
            return self._is_kept(stem), added

        return decide

    def _make_files(self, record: ImageRecord, made: Made) -> Iterator[tuple[str, bytes]]:
        kind, stem = self._source.kind_of(record.id)
        year = record.id.rpartition(f"{IMAGES}/")[0]
        if kind != IMAGES:
            return
        name = stem[len(year) :]
        new = posixpath.relpath(self._source.kind_of(made.id)[1], year or ".")
        path = f"{year}{ANNOTATIONS}/{name}.xml"
        if self._folder.leaf(path) is not None:
            data = move_xml(self._folder.read(path), record.id, made, path)
            yield f"{year}{ANNOTATIONS}/{new}.xml", data
        for folder, is_classes in MAPS.items():
            path = f"{year}{folder}/{name}.png"
            if self._folder.leaf(path) is None:
                continue
            data = self._folder.read(path)
            if self._source.is_map(path, data):
                made_map = data if made.is_copy else _move_map(data, made, is_classes, path)
                yield f"{year}{folder}/{new}.png", made_map


def _move_map(data: bytes, made: Made, is_classes: bool, where: str) -> bytes:
    """A segmentation for an image that was made; what nobody has labelled is void."""
    values = load_voc_map(data)
    affine = made.map_for((values.shape[1], values.shape[0]), where)
    moved = affine.mask(values, fill=VOID)
    if not is_classes:  # objects are numbered without a gap, in the order of the XML
        numbers = np.setdiff1d(np.unique(moved), [0, VOID])
        order = np.arange(256, dtype=np.uint8)
        order[numbers] = np.arange(1, len(numbers) + 1, dtype=np.uint8)
        moved = order[moved]
    return encode_voc_map(moved)


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_KNOWN = frozenset({"annotation", "bndbox", "object", "part", "point", "size", "segmented"})
_SIDES = {"Left": "Right", "Right": "Left"}
_DECLARED = re.compile(rb"\s*<\?xml[^>]*\?>[ \t]*\r?\n?")


def move_xml(data: bytes, record_id: str, made: Made, where: str) -> bytes:
    """An XML with the made image's name, size and boxes; all else stays.

    VOC counts pixels from 1 and includes the last one. An object that left the image
    goes, and so does a part of one. In a mirror the poses Left and Right change places.

    Args:
        data: the XML of the source image.
        record_id: the source image.
        made: the image made.
        where: what a message calls the XML.

    Raises:
        DataError: if it is malformed, or holds shapes that cannot be transformed.
    """
    root = _parse(data, where)
    for tag in ("filename", "path"):
        for item in root.findall(tag):
            text = (item.text or "").strip()
            if tag == "filename" or text.endswith(record_id.rpartition("/")[2]):
                item.text = rename(text, record_id, made.id)
    if not made.is_copy:
        affine = made.map_for(_stated_size(root), where)
        for tag, pixels in (("width", affine.width), ("height", affine.height)):
            for item in root.findall(f"size/{tag}"):
                item.text = str(pixels)
        _refuse_shapes(root, where)
        _move_objects(root, "object", affine, f"{where}: object")
    head = _DECLARED.match(data)
    body: bytes = ElementTree.tostring(root, encoding="utf-8")
    tail = data[len(data.rstrip()) :]
    return (head[0] if head and _is_utf8(head[0]) else b"") + body + tail


def _parse(data: bytes, where: str) -> ElementTree.Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(f"{where} has a document type or entities; remove them")
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    try:
        parser = ElementTree.XMLParser(target=builder)  # noqa: S314 - no entities, see above
        parser.feed(data)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, UnicodeError, LookupError) as error:
        line = " ".join(str(error).split())[:160]
        raise DataError(f"{where} is no whole XML; is it cut off? ({line})") from None
    return root


def _is_utf8(declaration: bytes) -> bool:
    return b"encoding" not in declaration or b"utf-8" in declaration.lower()


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height, if the XML states both; tools that do not know them write 0."""
    texts = [(root.findtext(f"size/{tag}") or "").strip() for tag in ("width", "height")]
    if not all(re.fullmatch(r"\d{1,9}(?:\.0*)?", text, re.ASCII) for text in texts):
        return None
    width, height = (int(float(text)) for text in texts)
    return (width, height) if width and height else None


def _refuse_shapes(root: ElementTree.Element, where: str) -> None:
    for item in root.iter("object"):
        for inner in _iter_inside(item):
            text = "1" if len(inner) else (inner.text or "").strip()
            if inner.tag not in _KNOWN and find_geometry(str(inner.tag), text):
                raise DataError(
                    f"{where}: <{shorten(inner.tag)[1:-1]}> seems to say where something is in the "
                    "image, which cannot be transformed; remove it, or use an augmentation that "
                    "moves nothing"
                )


def _iter_inside(item: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Elements of an object, but not those of its boxes and points."""
    for inner in item:
        if isinstance(inner.tag, str):
            yield inner
            if inner.tag not in ("bndbox", "point"):
                yield from _iter_inside(inner)


def _move_objects(parent: ElementTree.Element, tag: str, affine: Affine, where: str) -> None:
    for number, item in enumerate(parent.findall(tag)):
        place = f"{where}[{number}]"
        if not _move_boxes(item, affine, place):
            _remove(parent, item)
            continue
        _move_objects(item, "part", affine, f"{place}/part")
        for point in item.findall("point"):
            _move_point(item, point, affine, f"{place}/point")
        for pose in item.findall("pose") if affine.flips else ():
            text = (pose.text or "").strip()
            pose.text = _SIDES.get(text, pose.text)


def _move_boxes(item: ElementTree.Element, affine: Affine, where: str) -> bool:
    """Move the box of an object; returns whether something of it is left."""
    for bndbox in item.findall("bndbox"):
        texts = [(bndbox.findtext(tag) or "").strip() for tag in _CORNERS]
        try:
            x0, y0, x1, y1 = map(float, texts)
        except ValueError:
            raise DataError(f"{where}/bndbox is no box of {', '.join(_CORNERS)}") from None
        try:
            box = affine.box(Box(x0 - 1, y0 - 1, x1, y1))
        except DataError as error:
            raise DataError(f"{where}/bndbox: {error}") from None
        values = _format_box(box, is_whole=all("." not in text for text in texts)) if box else None
        if values is None:
            return False
        for tag, value in zip(_CORNERS, values, strict=True):
            for corner in bndbox.findall(tag):
                corner.text = value
    return True


def _format_box(box: Box, is_whole: bool) -> list[str] | None:
    """Corners as VOC counts them; None where no pixel is left."""
    if not is_whole:
        return [str(round_pixels(value)) for value in (box.x0 + 1, box.y0 + 1, box.x1, box.y1)]
    x0, y0, x1, y1 = (round(value) for value in box.xyxy)
    return [str(x0 + 1), str(y0 + 1), str(x1), str(y1)] if x0 < x1 and y0 < y1 else None


def _move_point(
    parent: ElementTree.Element, point: ElementTree.Element, affine: Affine, where: str
) -> None:
    """Move a point, the centre of a pixel that is counted from 1; it goes if it left."""
    texts = [(point.findtext(tag) or "").strip() for tag in ("x", "y")]
    try:
        x, y = (float(text) - 0.5 for text in texts)
    except ValueError:
        raise DataError(f"{where} is no point of x and y") from None
    x, y = affine.points([[x, y]])[0].tolist()
    if not (0 <= x < affine.width and 0 <= y < affine.height):
        _remove(parent, point)
        return
    is_whole = all("." not in text for text in texts)
    for tag, value in (("x", x + 0.5), ("y", y + 0.5)):
        for item in point.findall(tag):
            item.text = str(max(1, round(value)) if is_whole else round_pixels(value))


def _remove(parent: ElementTree.Element, item: ElementTree.Element) -> None:
    """Remove an element with the white space that leads to it."""
    place = list(parent).index(item)
    if item is parent[-1] and place:
        parent[place - 1].tail = item.tail
    parent.remove(item)
