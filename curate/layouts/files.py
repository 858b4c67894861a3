"""What layouts have in common whose images are files of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curate.core.protocols import CarriedFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder, Leaf, is_text_path

_SPLIT = re.compile(
    r"(?:^|[_.\-])(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?)(?=$|[\d_.\-])",
    re.IGNORECASE,
)


def split_in(name: str) -> str | None:
    """The split that a name begins with or has as a word of its own, in lower case."""
    found = _SPLIT.search(name)
    return found.group(1).lower() if found else None


def split_of_folders(path: str) -> str | None:
    """The split that the outermost telling folder of a path names, or None."""
    splits = (split_in(folder) for folder in PurePosixPath(path).parts[:-1])
    return next((split for split in splits if split), None)


IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".gif"),
        *(".tif", ".tiff", ".bmp", ".dib", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".psd", ".dng", ".cr2", ".nef", ".arw"),
    }
)
"""What is treated as an image; formats that the codec does not know are withheld."""

CARRIED_SUFFIXES = frozenset({".txt", ".json", ".csv", ".xml", ".parquet"})
"""Annotations that go to the output as they are."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Usual names of splits, in lower case."""


class FileLayout:
    """A dataset whose images are files; an image's id is its path.

    A layout of this kind says what it is called, how it is recognised, which
    files besides images it carries, and what split and category an image has.

    Args:
        folder: where the dataset is.
    """

    layout: str
    carried_suffixes = CARRIED_SUFFIXES

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.place = folder.place

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """What speaks for this layout, for a person; None if nothing does."""
        raise NotImplementedError

    def check(self) -> Iterator[str]:
        """Look the annotations over; nothing to see where there are none."""
        yield from ()

    def is_image(self, path: str) -> bool:
        """Whether a file of this name is an image in which faces are looked for."""
        return is_image_name(path)

    def is_map(self, path: str, data: bytes) -> bool:
        """Whether a file is proven to be a map of labels; never, where none is expected."""
        return False

    def is_carried(self, path: str) -> bool:
        """Whether a file of this name is an annotation that may go to the output."""
        name = PurePosixPath(path)
        return name.suffix.lower() in self.carried_suffixes and not name.name.startswith(".")

    def parse(self, path: str) -> ImageRecord:
        """Read what an image's path says of it."""
        return ImageRecord(id=path, uri=path)

    def records(self) -> Iterator[ImageRecord]:
        """Every image, in the order of its path."""
        for leaf in self.folder.leaves():
            if self._is_image(leaf):
                yield self.parse(leaf.path)

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What annotations say of the images; nothing, where the layout has none."""
        yield from ()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Other names of the images; none, where they are called by their paths."""
        yield from ()

    def others(self) -> Iterator[CarriedFile]:
        """Every file that is not an image, in the order of its path."""
        for leaf in self.folder.leaves():
            if not self._is_image(leaf):
                yield self._other(leaf)

    def find(self, record_id: str) -> ImageRecord | None:
        """The record of an id, or None if there is no such image."""
        leaf = self.folder.leaf(record_id)
        return self.parse(record_id) if leaf is not None and self._is_image(leaf) else None

    def open(self, other: CarriedFile) -> BinaryIO:
        """Open a file that is not an image."""
        return self.folder.open(other.uri)

    def read(self, record: ImageRecord) -> bytes:
        """The stored bytes of one image."""
        return self.folder.read(record.uri)

    def stamp(self, record: ImageRecord) -> str:
        """A short text that changes when the file does."""
        leaf = self.folder.leaf(record.uri)
        return "gone" if leaf is None else leaf.stamp

    def size(self, record: ImageRecord) -> int | None:
        """Stored bytes of one image, or None if it is gone."""
        leaf = self.folder.leaf(record.uri)
        return None if leaf is None else leaf.size

    def containers(self) -> Iterator[str]:
        """None: every image is a file."""
        yield from ()

    def rebuild(
        self, container: str, outputs: Callable[[str], bytes | None], target: BinaryIO
    ) -> Iterator[CarriedFile]:
        """Never called, since there is no container."""
        raise NotImplementedError(f"{self.layout} has no containers")

    def inspect(self, container: str) -> Iterator[str]:
        """Never called, since there is no container."""
        raise NotImplementedError(f"{self.layout} has no containers")

    def _other(self, leaf: Leaf) -> CarriedFile:
        path = PurePosixPath(leaf.path)
        if not is_text_path(leaf.path):
            return CarriedFile(path, leaf.path, False, "its name is not valid UTF-8")
        return CarriedFile(path, leaf.path, leaf.regular and self.is_carried(leaf.path))

    def _is_image(self, leaf: Leaf) -> bool:
        return leaf.regular and self.is_image(leaf.path)


def is_image_name(path: str) -> bool:
    """Whether a file of this name is treated as an image."""
    name = PurePosixPath(path)
    return name.suffix.lower() in IMAGE_SUFFIXES and not name.name.startswith("._")
