"""Editing of Pascal VOC: XML files, lists and segmentations of removed and generated images."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np

from curate.core.affine import Affine
from curate.core.errors import DataError, one_line
from curate.core.geometry import Box
from curate.core.protocols import SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.annotations import (
    open_annotation,
    shorten,
)
from curate.layouts.editing.changes import (
    DROPPED,
    EDITED,
    SAME,
    Decide,
    EditResult,
    GeneratedImage,
    NewFile,
    edit_lines,
    rename,
    rename_stem,
)
from curate.layouts.editing.geometry import find_geometry, round_pixels
from curate.layouts.editing.sidecars import StemEditor
from curate.layouts.encodings import has_document_type, iter_utf8
from curate.layouts.label_maps import VOID, encode_voc_map, load_voc_map
from curate.layouts.voc.read import IMAGE, LABEL, LISTS, MAPS, Voc
from curate.layouts.voc.segmentations import fits_outlines, load_outlines
from curate.storage.index import NameIndex

_LINE = re.compile(r"(\s*)(\S+)(.*)", re.DOTALL)


class VocEditor(StemEditor[Voc]):
    """Editor of the lists of Pascal VOC; generates XML files and segmentations."""

    @cached_property
    def _names(self) -> NameIndex:
        """Kept and removed images, by their path without suffix."""
        names = NameIndex()
        for record in self._source.records():
            kind, key = self._source.kind_of(record.id)
            if kind == IMAGE:
                kept = "kept" if self._edits.is_kept(record.id) else "removed"
                names.add(kept, key, record.id)
        return names

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Edit a list; drop files of removed images; copy other files."""
        path = str(other.path)
        kind, key = self._source.kind_of(path)
        if kind == LISTS and path.endswith(".txt"):
            with open_annotation(self._source.folder, path) as file:
                changed = edit_lines(file, path, self._decider(path), target)
            return EDITED if changed else SAME
        if kind == LABEL or kind in MAPS:
            return SAME if self._is_kept(key) else DROPPED
        return super().edit(other, target)

    def iter_new(self) -> Iterator[NewFile]:
        """Iterate over the XML files and segmentations of generated images, and other copies."""
        yield from super().iter_new()
        for record in self._source.records():
            for generated in self._edits.generated_from(record.id):
                yield from self._make_files(record, generated)

    def _is_kept(self, key: str) -> bool:
        """Return whether an image is kept, or does not exist."""
        return self._names.get("removed", key) is None or self._names.get("kept", key) is not None

    def _decider(self, path: str) -> Decide:
        def decide(line: str, where: str) -> tuple[bool, list[str]]:
            if (found := _LINE.fullmatch(line)) is None:
                return True, []
            before, name, after = found.groups()
            try:
                key = self._source.listed_key(path, name, where)
            except DataError:
                return True, []
            image = self._names.get("kept", key) or self._names.get("removed", key)
            if image is None:
                return True, []  # such as a class in a list of classes
            added = [
                before + rename_stem(name, image, generated.id) + after
                for generated in self._edits.generated_from(image)
            ]
            return self._is_kept(key), added

        return decide

    def _make_files(self, record: ImageRecord, generated: GeneratedImage) -> Iterator[NewFile]:
        kind, key = self._source.kind_of(record.id)
        path = self._source.label_of(key) if kind == IMAGE else None
        if path is None:
            return  # without it, segmentations are not proven
        moved = move_xml(self._source.folder.read(path), record.id, generated, path)
        yield NewFile(_rename_file(path, generated), moved, path, "xml")
        outlines = load_outlines(io.BytesIO(moved), path)
        for folder, is_classes in MAPS.items():
            path = self._source.map_of(key, folder)
            if path is None:
                continue
            data = self._source.folder.read(path)
            if self._source.is_label_map(path, data):
                generated_map = (
                    data if generated.is_copy else _move_map(data, generated, is_classes, path)
                )
                # Of an object that is cut off, a segment may be left without a box.
                if fits_outlines(load_voc_map(generated_map), outlines, is_classes):
                    yield NewFile(_rename_file(path, generated), generated_map, path)


def _rename_file(path: str, generated: GeneratedImage) -> str:
    """Return the path of a file of a generated image, beside that of its source."""
    stem = posixpath.splitext(posixpath.basename(generated.id))[0]
    return posixpath.join(posixpath.dirname(path), stem + posixpath.splitext(path)[1])


def _move_map(data: bytes, generated: GeneratedImage, is_classes: bool, where: str) -> bytes:
    """Transform a segmentation for a generated image; unlabeled pixels become void."""
    values = load_voc_map(data)
    affine = generated.map_for((values.shape[1], values.shape[0]), where)
    moved = affine.mask(values, fill=VOID)
    if not is_classes:  # objects are numbered without gaps, in the order of the XML file
        numbers = np.setdiff1d(np.unique(moved), [0, VOID])
        order = np.arange(256, dtype=np.uint8)
        order[numbers] = np.arange(1, len(numbers) + 1, dtype=np.uint8)
        moved = order[moved]
    return encode_voc_map(moved)


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_KNOWN = frozenset({"annotation", "bndbox", "object", "part", "point", "size", "segmented"})
_SIDES = {"Left": "Right", "Right": "Left"}
_DECLARED = re.compile(rb"\s*<\?xml[^>]*\?>[ \t]*\r?\n?")


def move_xml(data: bytes, record_id: str, generated: GeneratedImage, where: str) -> bytes:
    """Return an XML file with the name, size and boxes of a generated image.

    VOC counts pixels from 1 and includes the last one. Objects and parts that left the image
    are removed. Mirroring swaps the poses Left and Right.

    Args:
        data: XML file of the source image.
        record_id: id of the source image.
        generated: the generated image.
        where: name of the XML file in messages.

    Raises:
        DataError: if it is malformed, or contains coordinates that cannot be transformed.
    """
    root = _parse(data, where)
    for tag in ("filename", "path"):
        for item in root.findall(tag):
            text = (item.text or "").strip()
            if tag == "filename" or text.endswith(record_id.rpartition("/")[2]):
                item.text = rename(text, record_id, generated.id)
    if not generated.is_copy:
        affine = generated.map_for(_stated_size(root), where)
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
    if has_document_type(data):
        raise DataError(f"{where} has a document type or entities; remove them")
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    try:
        parser = ElementTree.XMLParser(target=builder)  # noqa: S314 - no entities, see above
        for piece in iter_utf8(io.BytesIO(data), where):
            parser.feed(piece.decode())
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, UnicodeError, LookupError) as error:
        line = one_line(error)
        raise DataError(
            f"{where} is not well-formed XML; the file may be truncated ({line})"
        ) from None
    return root


def _is_utf8(declaration: bytes) -> bool:
    return b"encoding" not in declaration or b"utf-8" in declaration.lower()


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return width and height, if the XML file states both; some tools write 0."""
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
                    f"{where}: <{shorten(inner.tag)[1:-1]}> seems to contain coordinates, "
                    "which cannot be transformed; remove it, or use an augmentation that "
                    "keeps the geometry"
                )


def _iter_inside(item: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Iterate over the elements of an object except those of boxes and points."""
    for inner in item:
        if isinstance(inner.tag, str):
            yield inner
            if inner.tag not in ("bndbox", "point"):
                yield from _iter_inside(inner)


def _move_objects(parent: ElementTree.Element, tag: str, affine: Affine, where: str) -> None:
    for number, item in enumerate(parent.findall(tag)):
        item_where = f"{where}[{number}]"
        if not _move_boxes(item, affine, item_where):
            _remove(parent, item)
            continue
        _move_objects(item, "part", affine, f"{item_where}/part")
        for point in item.findall("point"):
            _move_point(item, point, affine, f"{item_where}/point")
        for pose in item.findall("pose") if affine.flips else ():
            text = (pose.text or "").strip()
            pose.text = _SIDES.get(text, pose.text)


def _move_boxes(item: ElementTree.Element, affine: Affine, where: str) -> bool:
    """Transform the box of an object; returns whether any of it is left."""
    for bndbox in item.findall("bndbox"):
        texts = [(bndbox.findtext(tag) or "").strip() for tag in _CORNERS]
        try:
            x0, y0, x1, y1 = map(float, texts)
        except ValueError:
            raise DataError(f"{where}/bndbox is not a box with {', '.join(_CORNERS)}") from None
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
    """Format corners as in VOC; None if no pixel is left."""
    if not is_whole:
        return [str(round_pixels(value)) for value in (box.x0 + 1, box.y0 + 1, box.x1, box.y1)]
    x0, y0, x1, y1 = (round(value) for value in box.xyxy)
    return [str(x0 + 1), str(y0 + 1), str(x1), str(y1)] if x0 < x1 and y0 < y1 else None


def _move_point(
    parent: ElementTree.Element, point: ElementTree.Element, affine: Affine, where: str
) -> None:
    """Transform a point, the center of a pixel counted from 1; removed if it left the image."""
    texts = [(point.findtext(tag) or "").strip() for tag in ("x", "y")]
    try:
        x, y = (float(text) - 0.5 for text in texts)
    except ValueError:
        raise DataError(f"{where} is not a point with x and y") from None
    x, y = affine.points([[x, y]])[0].tolist()
    if not (0 <= x < affine.width and 0 <= y < affine.height):
        _remove(parent, point)
        return
    is_whole = all("." not in text for text in texts)
    for tag, value in (("x", x + 0.5), ("y", y + 0.5)):
        for item in point.findall(tag):
            item.text = str(max(1, round(value)) if is_whole else round_pixels(value))


def _remove(parent: ElementTree.Element, item: ElementTree.Element) -> None:
    """Remove an element with the white space before it."""
    index = list(parent).index(item)
    if item is parent[-1] and index:
        parent[index - 1].tail = item.tail
    parent.remove(item)
