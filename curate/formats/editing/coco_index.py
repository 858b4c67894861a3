"""What must be known of all COCO JSON files before one of them can be edited, kept on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curate.core.errors import DataError
from curate.formats.annotations import open_annotation, read_head
from curate.formats.coco_json import looks_like_coco
from curate.formats.coco_names import Finder, id_key, image_places, map_places
from curate.formats.editing.json_pieces import Piece, iter_pieces
from curate.formats.editing.values import Edits, Made
from curate.formats.folder import Folder
from curate.formats.on_disk import NamesOnDisk

Item = dict[str, Any]

LISTS = ("images", "annotations", "categories")


class CocoIndex:
    """Images by their ids in each JSON, and the ids that are free.

    An image has one new id in all JSON files, as instances and captions of one
    image share theirs.

    Args:
        folder: the dataset.
        edits: what is to be changed.
    """

    def __init__(self, folder: Folder, edits: Edits) -> None:
        self._folder = folder
        self._edits = edits
        self._names = NamesOnDisk()
        self._greatest = self._made = 0
        for leaf in folder.leaves():
            is_json = leaf.regular and leaf.path.endswith(".json")
            if is_json and looks_like_coco(read_head(folder, leaf.path)):
                self._read(leaf.path)

    def is_coco(self, path: str) -> bool:
        """Whether a file is a COCO JSON."""
        return self._names.get("file", path) is not None

    def image_of(self, path: str, key: str) -> tuple[str | None, tuple[int, int] | None]:
        """The image of an id in a JSON, None if it is absent, and the size stated for it."""
        found = self._names.get(f"image {path}", key)
        if found is None:
            return None, None
        image, size = json.loads(found)
        return image, tuple(size) if size else None

    def keypoints_of(self, path: str, category: Any) -> list[str] | None:
        """The names of a category's keypoints, or None."""
        found = self._names.get(f"keypoints {path}", json.dumps(category))
        return None if found is None else list(json.loads(found))

    def greatest_label(self, path: str) -> int:
        """The greatest number that is an annotation's id in a JSON; 0 if there is none."""
        return int(self._names.get("labels", path) or 0)

    def owns_map(self, path: str) -> bool | None:
        """Whether an image of a map is kept; None if the map belongs to none."""
        kept, removed = (self._names.get(kind, path) for kind in ("map kept", "map removed"))
        return None if kept is removed is None else kept is not None

    def new_image_id(self, path: str, old: Any, made: Made, number: int) -> Any:
        """The id of an image made from one with the id ``old``; ``number`` counts from 1."""
        if isinstance(old, str):
            return self.new_text(f"image {path}", f"{old}_aug{number}")
        twin = f"{json.dumps(old)} {made.id}"
        own = self._names.get(f"made in {path}", twin) or self._names.get("made", made.id)
        return self._greatest + int(own or 0)

    def new_text(self, kind: str, wanted: str) -> str:
        """A text that is no id of this kind."""
        while self._names.get(kind, json.dumps(wanted)) is not None:
            wanted += "_"
        return wanted

    def _read(self, path: str) -> None:
        images = Finder(self._folder, image_places(path))
        greatest, has_maps = 0, False
        with open_annotation(self._folder, path) as file:
            for piece in iter_pieces(file, LISTS, path):
                if not piece.key:
                    continue
                item, where = parse_item(piece, path)
                if piece.key == "images":
                    self._take_image(item, path, images, where)
                elif piece.key == "annotations":
                    greatest = max(greatest, self._take_label(item, path))
                    has_maps |= "file_name" in item
                elif names := item.get("keypoints"):
                    key = json.dumps(item.get("id"))
                    self._names.add(f"keypoints {path}", key, json.dumps(list(map(str, names))))
        if has_maps:  # their images may have stood after them
            self._read_maps(path)
        self._names.add("labels", path, str(greatest))
        self._names.add("file", path)

    def _take_image(self, item: Item, path: str, images: Finder, where: str) -> None:
        image = images.find(item.get("file_name"), f"{where}.file_name")
        size = [item.get("width"), item.get("height")]
        stated = size if all(type(side) is int for side in size) else None
        key = id_key(item.get("id"), f"{where}.id")
        self._names.add(f"image {path}", key, json.dumps([image, stated]))
        if isinstance(item["id"], int | float):
            self._greatest = max(self._greatest, int(item["id"]))
        for made in self._edits.made_from(image) if image else ():
            number = str(self._made + 1)
            if not self._names.add(f"seen in {path}", made.id):  # one image, listed twice
                self._names.add(f"made in {path}", f"{key} {made.id}", number)
            elif not self._names.add("made", made.id, number):
                continue
            self._made += 1

    def _take_label(self, item: Item, path: str) -> int:
        """Note an annotation's id; returns it, if it is a number."""
        number = item.get("id")
        if isinstance(number, str):
            self._names.add(f"label {path}", json.dumps(number))
        return int(number) if isinstance(number, int | float) else 0

    def _read_maps(self, path: str) -> None:
        """Note whose the maps of a panoptic JSON are."""
        maps = Finder(self._folder, map_places(path))
        with open_annotation(self._folder, path) as file:
            for piece in iter_pieces(file, ("annotations",), path):
                item, where = parse_item(piece, path) if piece.key else ({}, "")
                if "file_name" not in item:
                    continue
                found = maps.find(item["file_name"], f"{where}.file_name")
                image, _ = self.image_of(path, id_key(item.get("image_id"), f"{where}.image_id"))
                if found and image:
                    kept = "kept" if self._edits.is_kept(image) else "removed"
                    self._names.add(f"map {kept}", found)


def parse_item(piece: Piece, path: str) -> tuple[Item, str]:
    """An item of a list, and what a message calls it.

    Raises:
        DataError: if it is no object.
    """
    where = f"{path}: {piece.key}[{piece.number}]"
    try:
        item = json.loads(piece.data)
    except (ValueError, RecursionError):
        raise DataError(f"{where} is no JSON") from None
    if not isinstance(item, Mapping):
        raise DataError(f"{where} is no object")
    return dict(item), where
