"""The boxes of COCO, VOC and YOLO as rows for the column ``objects``, image by image."""

from __future__ import annotations

import json
import posixpath
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

from curate.core.errors import DataError
from curate.layouts import open_folder
from curate.layouts.annotations import iter_items
from curate.layouts.coco.parse import is_coco
from curate.layouts.coco.read import Finder, image_folders
from curate.layouts.encodings import has_document_type
from curate.layouts.yolo.read import label_of
from curate.publishing.dataset import Dataset, Item

_LARGEST = 16 << 20


class Objects(Protocol):
    """The objects of a dataset's images.

    Args of an implementation: the dataset.
    """

    classes: tuple[str, ...]
    """Names by number."""

    box: str
    """What the four numbers of a box are, for the card."""

    extra: Mapping[str, str]
    """Further columns, with their types as ``datasets`` names them."""

    def find(self, item: Item) -> list[dict[str, Any]]:
        """The objects of one image: ``bbox``, ``category`` by number, and the extra columns."""
        ...


def open_objects(dataset: Dataset) -> Objects | None:
    """The objects of a layout that has them, or None.

    Raises:
        DataError: if its annotations cannot be read.
    """
    kinds: Mapping[str, Any] = {"coco": CocoObjects, "voc": VocObjects, "yolo": YoloObjects}
    kind = kinds.get(dataset.layout)
    return None if kind is None else kind(dataset)


class CocoObjects:
    """Objects of all COCO JSON files that have categories; kept in a private database on disk."""

    box = "x, y, width, height in pixels, as in COCO"
    extra: Mapping[str, str] = {"id": "int64", "area": "float64", "iscrowd": "int64"}

    def __init__(self, dataset: Dataset) -> None:
        self._folder = open_folder(str(dataset.data), "OUT")
        self._rows = sqlite3.connect("")
        self._rows.execute("CREATE TABLE objects (path TEXT, id TEXT, row TEXT)")
        self._rows.execute("CREATE INDEX by_path ON objects (path)")
        paths = [
            carried.path
            for carried in dataset.carried()
            if carried.path.endswith(".json") and self._is_coco(carried.path)
        ]
        names = dict[str, None]()
        for path in paths:
            names |= dict.fromkeys(self._categories(path).values())
        self.classes = tuple(names)
        numbers = {name: number for number, name in enumerate(self.classes)}
        for path in paths:
            self._read(path, numbers)

    def _is_coco(self, path: str) -> bool:
        with self._folder.open(path) as file:
            return is_coco(file.read(1 << 16))

    def _items(self, path: str, key: str) -> Iterator[Mapping[str, Any]]:
        with self._folder.open(path) as file:
            for item in iter_items(file, f"{key}.item", path):
                if isinstance(item, dict):
                    yield item

    def _categories(self, path: str) -> dict[str, str]:
        found = sorted(
            self._items(path, "categories"),
            key=lambda item: (str(type(item.get("id"))), item.get("id") or 0),
        )
        return {repr(item.get("id")): str(item.get("name")) for item in found}

    def _read(self, path: str, numbers: Mapping[str, int]) -> None:
        finder = Finder(self._folder, image_folders(self._folder, path), path)
        categories = self._categories(path)
        with closing(sqlite3.connect("")) as images:
            images.execute("CREATE TABLE images (id TEXT PRIMARY KEY, path TEXT)")
            for image in self._items(path, "images"):
                found = finder.find(image.get("file_name"), f"{path}: file_name")
                if found is not None:
                    row = (repr(image.get("id")), found)
                    images.execute("INSERT OR REPLACE INTO images VALUES (?, ?)", row)
            for item in self._items(path, "annotations"):
                key = (repr(item.get("image_id")),)
                image_path = images.execute("SELECT path FROM images WHERE id = ?", key).fetchone()
                name = categories.get(repr(item.get("category_id")))
                box = _numbers(item.get("bbox"))
                if image_path is None or name is None or box is None:
                    continue
                self._add(image_path[0], item, box, numbers[name])

    def _add(self, path: str, item: Mapping[str, Any], box: list[float], number: int) -> None:
        identity = repr(item.get("id"))
        known = self._rows.execute(
            "SELECT 1 FROM objects WHERE path = ? AND id = ?", (path, identity)
        ).fetchone()
        if known and item.get("id") is not None:
            return  # the same annotation in another file, as of keypoints
        area, crowd, own = item.get("area"), item.get("iscrowd"), item.get("id")
        row = {
            "bbox": box,
            "category": number,
            "id": own if type(own) is int else -1,
            "area": float(area) if isinstance(area, int | float) else box[2] * box[3],
            "iscrowd": int(bool(crowd)),
        }
        self._rows.execute(
            "INSERT INTO objects VALUES (?, ?, ?)", (path, identity, json.dumps(row))
        )

    def find(self, item: Item) -> list[dict[str, Any]]:
        """The objects of one image, in the order of the files."""
        found = self._rows.execute(
            "SELECT row FROM objects WHERE path = ? ORDER BY rowid", (item.path,)
        )
        return [json.loads(row) for (row,) in found]


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        return None
    return [float(one) for one in value]


class VocObjects:
    """Objects of the XML file of each image."""

    box = "xmin, ymin, xmax, ymax in pixels counted from 1, as in Pascal VOC"
    extra: Mapping[str, str] = {"difficult": "int64", "truncated": "int64"}

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset.data
        source: Any = dataset.open()
        self._source = source
        names = set[str]()
        for carried in dataset.carried():
            if source.format_of(carried.path) == "xml":
                names |= {name for name, *_ in _iter_voc(self._data / carried.path)}
        self.classes = tuple(sorted(names))
        self._number = {name: number for number, name in enumerate(self.classes)}

    def find(self, item: Item) -> list[dict[str, Any]]:
        """The objects of one image, in the order of its XML."""
        label = self._source.label_of(posixpath.splitext(str(item.path))[0])
        return [
            {"bbox": box, "category": self._number[name], "difficult": hard, "truncated": cut}
            for name, box, hard, cut in (_iter_voc(self._data / label) if label else ())
        ]


def _iter_voc(path: Path) -> Iterator[tuple[str, list[float], int, int]]:
    if not path.is_file():
        return
    data = path.read_bytes()[: _LARGEST + 1]
    if len(data) > _LARGEST or has_document_type(data):
        raise DataError(f"{path} is too large or has a document type; it is not published")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - entities were refused above
        for thing in root.iter("object"):
            keys = ("xmin", "ymin", "xmax", "ymax")
            box = [float(thing.findtext(f"bndbox/{key}") or "nan") for key in keys]
            flags = [int(thing.findtext(key) or 0) for key in ("difficult", "truncated")]
            if all(value == value for value in box):
                yield thing.findtext("name") or "", box, flags[0], flags[1]
    except (ElementTree.ParseError, ValueError, LookupError):
        raise DataError(f"{path} cannot be read as Pascal VOC") from None


class YoloObjects:
    """Objects of the label file of each image; of a polygon, the box around it."""

    box = "center x, center y, width, height as shares of the image, as in YOLO"
    extra: Mapping[str, str] = {}

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset.data
        source: Any = dataset.open()
        config = source.config
        highest = max(config.names, default=-1)
        count = max(config.classes or 0, highest + 1)
        if not count:
            count = 1 + max(
                (number for carried in dataset.carried() if carried.path.endswith(".txt")
                 for number, _ in _iter_yolo(self._data / carried.path)), default=0
            )  # fmt: skip
        self.classes = tuple(config.names.get(number, str(number)) for number in range(count))
        self._poses = config.keypoints is not None

    def find(self, item: Item) -> list[dict[str, Any]]:
        """The objects of one image, in the order of its labels."""
        labels = self._data / label_of(str(item.path))
        return [
            {"bbox": box, "category": number} for number, box in _iter_yolo(labels, self._poses)
        ]


def _iter_yolo(path: Path, poses: bool = False) -> Iterator[tuple[int, list[float]]]:
    if not path.is_file() or "labels" not in path.parts:
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                first, *rest = line.split()
                values = [float(text) for text in rest]
                if len(values) == 4 or poses:
                    yield int(float(first)), values[:4]
                elif len(values) >= 6:
                    yield int(float(first)), _around(values)
            except ValueError:
                if line.strip():
                    raise DataError(f"{path}, line {number}, is not a label of YOLO") from None


def _around(values: list[float]) -> list[float]:
    xs, ys = values[0::2], values[1::2]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    return [min(xs) + width / 2, min(ys) + height / 2, width, height]


@dataclass(frozen=True, slots=True)
class Classes:
    """Names of a dataset's classes, by number: of whole images, and of boxes."""

    images: tuple[str, ...]
    objects: tuple[str, ...]


def load_classes(dataset: Dataset, objects: Objects | None) -> Classes:
    """The classes of whole images, in alphabetic order, and of boxes."""
    names = {item.category for item in dataset.items() if item.is_written and item.category}
    return Classes(tuple(sorted(names)), objects.classes if objects else ())
