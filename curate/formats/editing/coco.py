"""COCO's JSON files: images and annotations dropped, and added for the images made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from curate.core.ports import CarriedFile
from curate.formats.annotations import open_annotation
from curate.formats.coco import Coco
from curate.formats.coco_names import id_key
from curate.formats.editing.coco_index import CocoIndex, Item, parse_item
from curate.formats.editing.coco_shapes import move_annotation
from curate.formats.editing.json_pieces import Piece, iter_pieces
from curate.formats.editing.mentions import Mentions
from curate.formats.editing.naming import rename
from curate.formats.editing.values import DROPPED, EDITED, SAME, Edits, Fate, Made, Outcome
from curate.formats.files import is_image_name

_EDITED = ("images", "annotations")


class CocoEditor:
    """Edits the JSON files of a COCO dataset.

    What is not edited stays byte for byte; new items follow the one that they were
    made from.

    Args:
        source: the dataset.
        edits: what is to be changed.
    """

    def __init__(self, source: Coco, edits: Edits) -> None:
        self._folder = source.folder
        self._edits = edits
        self._mentions = Mentions(source, edits)

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex(self._folder, self._edits)

    def edit(self, other: CarriedFile, target: BinaryIO) -> Fate:
        """Edit a JSON; drop the panoptic map of a removed image; all else goes through."""
        path = str(other.path)
        if self._index.is_coco(path):
            with open_annotation(self._folder, path) as file:
                return EDITED if _Pass(path, self._index, self._edits, target).run(file) else SAME
        if is_image_name(path):
            return DROPPED if self._index.owns_map(path) is False else SAME
        return Fate(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """None: what is said of a made image stands in the JSON of its source."""
        yield from ()


@dataclass(frozen=True, slots=True)
class _Image:
    """What is known of the image that an item speaks of; it has no path if it is absent."""

    key: str
    path: str = ""
    size: tuple[int, int] | None = None
    kept: bool = True
    made: Sequence[Made] = ()


class _Pass:
    """One pass over one JSON."""

    def __init__(self, path: str, index: CocoIndex, edits: Edits, target: BinaryIO) -> None:
        self._path = path
        self._index = index
        self._edits = edits
        self._list = _ListWriter(target)
        self._next_label = index.greatest_label(path) + 1
        self._last = _Image("")

    def run(self, file: BinaryIO) -> bool:
        """Write the JSON; returns whether anything changed."""
        changed = False
        for piece in iter_pieces(file, _EDITED, self._path):
            if not piece.key:
                self._list.write_between(piece.data)
                continue
            item, where = parse_item(piece, self._path)
            field = "id" if piece.key == "images" else "image_id"
            image = self._find(id_key(item.get(field), f"{where}.{field}"))
            self._list.write_item(piece.data, image.kept)
            for number, made in enumerate(image.made, start=1):
                new = self._make(piece, item, image, made, number, where)
                if new is not None:
                    self._list.write_new(new, piece.data)
            changed |= not image.kept or bool(image.made)
        return changed

    def _find(self, key: str) -> _Image:
        """The image of an id; annotations of one image mostly follow each other."""
        if self._last.key != key:
            path, size = self._index.image_of(self._path, key)
            if path is None:
                self._last = _Image(key)
            else:
                kept, made = self._edits.is_kept(path), self._edits.made_from(path)
                self._last = _Image(key, path, size, kept, made)
        return self._last

    def _make(
        self, piece: Piece, item: Item, image: _Image, made: Made, number: int, where: str
    ) -> Item | None:
        """The item for an image made from the item's own; None if its object left the image."""
        old = json.loads(image.key)
        new_id = self._index.new_image_id(self._path, old, made, number)
        if piece.key == "images":
            new = {
                **item,
                "id": new_id,
                "file_name": rename(item["file_name"], image.path, made.id),
            }
            sizes = {} if made.is_copy else _sizes(made)
            return new | {key: value for key, value in sizes.items() if key in item}
        names = self._index.keypoints_of(self._path, item.get("category_id"))
        moved = move_annotation(item, made, image.size, names, where)
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


def _sizes(made: Made) -> dict[str, int]:
    return {"width": made.affine.width, "height": made.affine.height}


class _ListWriter:
    """Writes the pieces of a document, with a comma between any two items that are left."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._is_first = True
        self._tail = b""  # white space after the last item

    def write_between(self, data: bytes) -> None:
        """What stands between two lists."""
        self._target.write(self._tail + data)
        self._is_first, self._tail = True, b""

    def write_item(self, data: bytes, kept: bool) -> None:
        """An item as it stands, unless it is dropped."""
        body = data.rstrip()
        if kept:
            self._put(body, self._tail)
        self._tail = data[len(body) :]

    def write_new(self, item: Item, like: bytes) -> None:
        """An item spelt as another one is."""
        lead = like[: len(like) - len(like.lstrip())]
        separators = (", ", ": ") if b'": ' in like else (",", ":")
        text = json.dumps(item, ensure_ascii=like.isascii(), separators=separators)
        self._put(lead + text.encode(), b"")

    def _put(self, body: bytes, before: bytes) -> None:
        self._target.write(body if self._is_first else before + b"," + body)
        self._is_first = False
