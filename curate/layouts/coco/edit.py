"""Editing of COCO JSON files: images and annotations are removed and added.

Items of other lists of the document, such as captions, are removed with an image that they name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.layouts.access.folder import Folder
from curate.layouts.annotations import open_annotation, read_head
from curate.layouts.coco.geometry import move_annotation
from curate.layouts.coco.groups import name_of
from curate.layouts.coco.parse import Piece, is_coco, iter_pieces
from curate.layouts.coco.read import Coco, Finder, id_key, image_folders, is_json_name, map_folders
from curate.layouts.editing.changes import (
    DROPPED,
    EDITED,
    SAME,
    EditResult,
    Edits,
    GeneratedImage,
    rename,
)
from curate.layouts.editing.sidecars import StemEditor
from curate.layouts.files import is_image_name
from curate.storage.index import NameIndex

_EDITED = ("images", "annotations")


class CocoEditor(StemEditor[Coco]):
    """Editor of the JSON files of a COCO dataset.

    Unedited items are kept byte for byte; new items follow their source.
    """

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex(self._source.folder, self._edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Edit a JSON file; drop the panoptic map of a removed image; copy other files."""
        path = str(other.path)
        if self._index.is_coco(path):
            with open_annotation(self._source.folder, path) as file:
                return EDITED if _Pass(path, self._index, self._edits, target).run(file) else SAME
        if is_image_name(path):
            return DROPPED if self._index.owns_map(path) is False else SAME
        return super().edit(other, target)


@dataclass(frozen=True, slots=True)
class _Image:
    """Image to which an item refers; without a path if it is missing."""

    key: str
    path: str = ""
    size: tuple[int, int] | None = None
    kept: bool = True
    generated: Sequence[GeneratedImage] = ()


class _Pass:
    """Pass over one JSON file."""

    def __init__(self, path: str, index: CocoIndex, edits: Edits, target: BinaryIO) -> None:
        self._path = path
        self._index = index
        self._edits = edits
        self._list = _ListWriter(target)
        self._next_label = index.max_annotation_id(path) + 1
        self._last = _Image("")

    def run(self, file: BinaryIO) -> bool:
        """Write the JSON file; returns whether it changed."""
        changed = False
        for piece in iter_pieces(file, None, self._path):
            if not piece.key:
                self._list.write_between(piece.data)
                continue
            if piece.key not in _EDITED:
                kept = not self._names_removed(piece)
                self._list.write_item(piece.data, kept)
                changed |= not kept
                continue
            try:
                item, where = parse_item(piece, self._path)
                image = self._image_of(piece.key, item, where)
            except DataError:
                self._list.write_item(piece.data, kept=True)
                continue
            self._list.write_item(piece.data, image.kept)
            for number, generated in enumerate(image.generated, start=1):
                new = self._make(piece, item, image, generated, number, where)
                if new is not None:
                    self._list.write_new(new, piece.data)
            changed |= not image.kept or bool(image.generated)
        return changed

    def _image_of(self, key: str, item: Item, where: str) -> _Image:
        """Return the image of an item; of ids that occur twice, that of its own name."""
        if key != "images":
            return self._find(id_key(item.get("image_id"), f"{where}.image_id"))
        named = self._index.named(self._path, name_of(item))
        try:
            image = self._find(id_key(item.get("id"), f"{where}.id"))
        except DataError:
            if named is None:
                raise
            image = _Image("")
        if named is None or named == image.path:
            return image
        return _Image(image.key, named, kept=self._edits.is_kept(named))

    def _names_removed(self, piece: Piece) -> bool:
        """Return whether an item of another list is about a removed image."""
        if not piece.data.lstrip().startswith(b"{"):
            return False
        try:
            item, _ = parse_item(piece, self._path)
        except DataError:
            return False
        several = item.get("image_ids")
        ids = [item.get("image_id"), *(several if isinstance(several, list) else [])]
        keys = [json.dumps(each) for each in ids if isinstance(each, int | float | str)]
        if any(not self._find(key).kept for key in keys):
            return True
        image = self._index.named(self._path, item.get("file_name"))
        return image is not None and not self._edits.is_kept(image)

    def _find(self, key: str) -> _Image:
        """Return the image with an id; annotations of one image are mostly consecutive."""
        if self._last.key != key:
            path, size = self._index.image_of(self._path, key)
            if path is None:
                self._last = _Image(key)
            else:
                kept, generated = self._edits.is_kept(path), self._edits.generated_from(path)
                self._last = _Image(key, path, size, kept, generated)
        return self._last

    def _make(
        self,
        piece: Piece,
        item: Item,
        image: _Image,
        generated: GeneratedImage,
        number: int,
        where: str,
    ) -> Item | None:
        """Return the item of a generated image; None if its object left the image."""
        old = json.loads(image.key)
        new_id = self._index.new_image_id(self._path, old, generated, number)
        if piece.key == "images":
            name_key = "coco_url" if item.get("file_name") is None else "file_name"
            new = {
                **item,
                "id": new_id,
                name_key: rename(item[name_key], image.path, generated.id),
            }
            sizes = {} if generated.is_copy else _sizes(generated)
            return new | {key: value for key, value in sizes.items() if key in item}
        names = self._index.keypoints_of(self._path, item.get("category_id"))
        moved = move_annotation(item, generated, image.size, names, where)
        if moved is None:
            return None
        moved["image_id"] = new_id
        if "id" in item:
            moved["id"] = self._new_label(item["id"], number)
        return moved

    def _new_label(self, old: Any, number: int) -> Any:
        if isinstance(old, str):
            return self._index.new_text(f"label {self._path}", f"{old}_aug{number}")
        self._next_label += 1
        return self._next_label - 1


def _sizes(generated: GeneratedImage) -> dict[str, int]:
    return {"width": generated.affine.width, "height": generated.affine.height}


class _ListWriter:
    """Writer of the pieces of a document, with commas between the remaining items."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._is_first = True
        self._tail = b""  # white space after the last item

    def write_between(self, data: bytes) -> None:
        """Write the text between two lists."""
        self._target.write(self._tail + data)
        self._is_first, self._tail = True, b""

    def write_item(self, data: bytes, kept: bool) -> None:
        """Write an item as stored, unless it is dropped."""
        body = data.rstrip()
        if kept:
            self._put(body, self._tail)
        self._tail = data[len(body) :]

    def write_new(self, item: Item, like: bytes) -> None:
        """Write a new item in the formatting of another one."""
        lead = like[: len(like) - len(like.lstrip())]
        separators = (", ", ": ") if b'": ' in like else (",", ":")
        text = json.dumps(item, ensure_ascii=like.isascii(), separators=separators)
        self._put(lead + text.encode(), b"")

    def _put(self, body: bytes, before: bytes) -> None:
        self._target.write(body if self._is_first else before + b"," + body)
        self._is_first = False


Item = dict[str, Any]

LISTS = ("images", "annotations", "categories")


class CocoIndex:
    """Index of the images of all JSON files by id, and of free ids.

    A generated image has the same id in all JSON files, like instances and captions of one
    image.

    Args:
        folder: files of the dataset.
        edits: edits to apply.
    """

    def __init__(self, folder: Folder, edits: Edits) -> None:
        self._folder = folder
        self._edits = edits
        self._names = NameIndex()
        self._greatest = self._made = 0
        for info in folder.files():
            is_json = info.regular and is_json_name(info.path)
            if is_json and is_coco(read_head(folder, info.path)):
                self._read(info.path)

    def is_coco(self, path: str) -> bool:
        """Return whether a file is a COCO JSON file."""
        return self._names.get("file", path) is not None

    def image_of(self, path: str, key: str) -> tuple[str | None, tuple[int, int] | None]:
        """Return the path of an image id in a JSON file, or None, and its stated size."""
        found = self._names.get(f"image {path}", key)
        if found is None:
            return None, None
        image, size = json.loads(found)
        return image, tuple(size) if size else None

    def named(self, path: str, written: Any) -> str | None:
        """Return the path of the image that a JSON file lists with a file name, or None."""
        return self._names.get(f"name {path}", written) if isinstance(written, str) else None

    def keypoints_of(self, path: str, category: Any) -> list[str] | None:
        """Return the keypoint names of a category, or None."""
        found = self._names.get(f"keypoints {path}", json.dumps(category))
        return None if found is None else list(json.loads(found))

    def max_annotation_id(self, path: str) -> int:
        """Return the greatest numeric annotation id in a JSON file; 0 if there is none."""
        return int(self._names.get("labels", path) or 0)

    def owns_map(self, path: str) -> bool | None:
        """Return whether the image of a label map is kept; None if it belongs to no image."""
        kept, removed = (self._names.get(kind, path) for kind in ("map kept", "map removed"))
        return None if kept is removed is None else kept is not None

    def new_image_id(self, path: str, old: Any, generated: GeneratedImage, number: int) -> Any:
        """Return the id of the generated image ``number``, from 1, of the image id ``old``."""
        if isinstance(old, str):
            return self.new_text(f"image {path}", f"{old}_aug{number}")
        numbered = f"{json.dumps(old)} {generated.id}"
        own = self._names.get(f"generated in {path}", numbered) or self._names.get(
            "generated", generated.id
        )
        return self._greatest + int(own or 0)

    def new_text(self, kind: str, wanted: str) -> str:
        """Return a string that is not yet an id of this kind."""
        while self._names.get(kind, json.dumps(wanted)) is not None:
            wanted += "_"
        return wanted

    def _read(self, path: str) -> None:
        images = Finder(self._folder, image_folders(self._folder, path), path)
        greatest, has_maps = 0, False
        with open_annotation(self._folder, path) as file:
            for piece in iter_pieces(file, LISTS, path):
                if not piece.key:
                    continue
                with suppress(DataError):  # of malformed items
                    item, where = parse_item(piece, path)
                    if piece.key == "images":
                        self._take_image(item, path, images, where)
                    elif piece.key == "annotations":
                        greatest = max(greatest, self._take_label(item, path))
                        has_maps |= "file_name" in item
                    elif isinstance(names := item.get("keypoints"), list):
                        key = json.dumps(item.get("id"))
                        names = json.dumps(list(map(str, names)))
                        self._names.add(f"keypoints {path}", key, names)
        if has_maps:  # their images may come after them
            self._read_maps(path)
        self._names.add("labels", path, str(greatest))
        self._names.add("file", path)

    def _take_image(self, item: Item, path: str, images: Finder, where: str) -> None:
        name = name_of(item)
        image = images.find(name, f"{where}.file_name")
        if image:
            self._names.add(f"name {path}", name, image)
            self._names.add(f"name {path}", image, image)
        size = [item.get("width"), item.get("height")]
        stated = size if all(type(side) is int for side in size) else None
        key = id_key(item.get("id"), f"{where}.id")
        self._names.add(f"image {path}", key, json.dumps([image, stated]))
        self._greatest = max(self._greatest, _to_number(item["id"]))
        for generated in self._edits.generated_from(image) if image else ():
            number = str(self._made + 1)
            if not self._names.add(
                f"seen in {path}", generated.id
            ):  # an image that is listed twice
                self._names.add(f"generated in {path}", f"{key} {generated.id}", number)
            elif not self._names.add("generated", generated.id, number):
                continue
            self._made += 1

    def _take_label(self, item: Item, path: str) -> int:
        """Index the id of an annotation; returns it if it is a number."""
        number = item.get("id")
        if isinstance(number, str):
            self._names.add(f"label {path}", json.dumps(number))
        return _to_number(number)

    def _read_maps(self, path: str) -> None:
        """Index the images of the label maps of a panoptic JSON file."""
        maps = Finder(self._folder, map_folders(path))
        with open_annotation(self._folder, path) as file:
            for piece in iter_pieces(file, ("annotations",), path):
                with suppress(DataError):
                    item, where = parse_item(piece, path) if piece.key else ({}, "")
                    if "file_name" in item:
                        found = maps.find(item["file_name"], f"{where}.file_name")
                        key = id_key(item.get("image_id"), f"{where}.image_id")
                        image, _ = self.image_of(path, key)
                        if found and image:
                            kept = "kept" if self._edits.is_kept(image) else "removed"
                            self._names.add(f"map {kept}", found)


def _to_number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def parse_item(piece: Piece, path: str) -> tuple[Item, str]:
    """Parse an item of a list; returns it with its name in messages.

    Raises:
        DataError: if it is not an object.
    """
    where = f"{path}: {piece.key}[{piece.number}]"
    try:
        item = json.loads(piece.data)
    except (ValueError, RecursionError):
        raise DataError(f"{where} is not valid JSON") from None
    if not isinstance(item, Mapping):
        raise DataError(f"{where} is not an object")
    return dict(item), where
