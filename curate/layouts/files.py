"""Layouts in which each image is a file of its own, and the split named by a path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import BinaryIO

from curate import codec
from curate.core.errors import DataError, WithheldError
from curate.core.protocols import DOCUMENT, SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.address import is_address
from curate.layouts.access.folder import FileInfo, Folder
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer, is_text_path
from curate.layouts.rewriters import REWRITERS
from curate.layouts.sidecars.text import MAX_DOCUMENT
from curate.layouts.sidecars.values import Limits
from curate.storage.index import NameIndex

_SPLIT = re.compile(
    r"(?:^|[_.\-])(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?)(?=$|[\d_.\-])",
    re.IGNORECASE,
)


def split_in(name: str) -> str | None:
    """Return the split that a name contains as a word, in lower case, or None."""
    found = _SPLIT.search(name)
    return found.group(1).lower() if found else None


def split_of_folders(path: str) -> str | None:
    """Return the split named by the outermost folder of a path that names one, or None."""
    splits = (split_in(folder) for folder in PurePosixPath(path).parts[:-1])
    return next((split for split in splits if split), None)


IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".gif"),
        *(".tif", ".tiff", ".bmp", ".dib", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".psd", ".dng", ".cr2", ".nef", ".arw"),
    }
)
"""Suffixes of image files; images in formats that the codec does not support are withheld."""

ANNOTATION_SUFFIXES = frozenset({".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".parquet"})
"""Suffixes of annotation files, which `curate balance` copies or edits."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Common split names, in lower case."""


_DOCUMENT = re.compile(
    r"(?:README|LICEN[CS]ES?|CITATIONS?|COPYING|NOTICE)"
    r"(?:[. _-](?!plate)(?!.*\d{3})[\w. ()+-]{1,64})?",  # a language, a version, a suffix
    re.IGNORECASE,
)
_OTHER_SUFFIXES = (ANNOTATION_SUFFIXES - {".txt"}) | {
    *(".yaml", ".yml", ".html", ".svg", ".pdf", ".docx", ".zip", ".gz", ".tar"),
}
"""Suffixes of files that are no documents whatever their name."""


class FolderLayout:
    """What all layouts share: the folder of the dataset, and its sidecar files.

    Args:
        folder: files of the dataset.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.uri = folder.uri
        self.follow_links = folder.follow_links

    def open_sidecar(self, file: SidecarFile) -> BinaryIO:
        """Open a sidecar file for reading."""
        return self.folder.open(file.uri)

    def rewrite_sidecar(
        self, file: SidecarFile, opened: BinaryIO, target: BinaryIO, limits: Limits
    ) -> None:
        """Write a sidecar file again from its parsed values; see `SidecarSource`."""
        REWRITERS[file.format](opened, target, file.uri, limits)


class FileLayout(FolderLayout):
    """Dataset in which each image is a file; the id of an image is its path.

    A subclass defines the name of the layout, how it is recognized, the suffixes of its
    annotation files, and the split and category of an image.

    Args:
        folder: files of the dataset.
    """

    layout: str
    annotation_suffixes = ANNOTATION_SUFFIXES

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Return the file or folder by which the layout is recognized; None if it is not."""
        raise NotImplementedError

    def check(self, strict: bool = False) -> Iterator[str]:
        """Check the annotations; the default has none."""
        yield from ()

    def is_image(self, path: str) -> bool:
        """Return whether a file name is that of an image to detect faces in."""
        return is_image_name(path)

    def is_annotation(self, path: str) -> bool:
        """Return whether a file name is that of an annotation file to copy."""
        name = PurePosixPath(path)
        return name.suffix.lower() in self.annotation_suffixes and not name.name.startswith(".")

    def parse(self, path: str) -> ImageRecord:
        """Return the record of an image, with the split and category given by its path."""
        return ImageRecord(id=path, uri=path)

    def records(self) -> Iterator[ImageRecord]:
        """Iterate over all images, sorted by path."""
        for info in self.folder.files():
            if self._is_image(info):
                yield self.parse(info.path)

    def sidecars(self) -> Iterator[SidecarFile]:
        """Iterate over all files that are not images, sorted by path."""
        for info in self.folder.files():
            if not self._is_image(info):
                yield self._to_sidecar(info)

    def find(self, record_id: str) -> ImageRecord | None:
        """Return the record with an id, or None."""
        info = self.folder.info(record_id)
        return self.parse(record_id) if info is not None and self._is_image(info) else None

    def format_of(self, path: str) -> str:
        """Return the format of an annotation file of the layout; empty for other files."""
        return ""

    def read(self, record: ImageRecord) -> bytes:
        """Return the stored bytes of an image."""
        data = self.folder.read(record.uri)
        if reason := describe_pointer(data[:POINTER_BYTES]):
            raise WithheldError("pointer", reason)
        return data

    def stamp(self, record: ImageRecord) -> str:
        """Return a short text that changes when the file changes."""
        info = self.folder.info(record.uri)
        return "gone" if info is None else info.stamp

    def size(self, record: ImageRecord) -> int | None:
        """Return the size of an image in bytes, or None if it no longer exists."""
        info = self.folder.info(record.uri)
        return None if info is None else info.size

    def _to_sidecar(self, info: FileInfo) -> SidecarFile:
        path = PurePosixPath(info.path)
        if not is_text_path(info.path):
            return SidecarFile(path, info.path, False, "its name is not valid UTF-8")
        format_name = self.format_of(info.path) if info.regular else ""
        if not format_name and is_document(info):
            format_name = DOCUMENT
        return SidecarFile(
            path,
            info.path,
            bool(format_name) or (info.regular and self.is_annotation(info.path)),
            f"not an annotation of {self.layout}",
            format_name,
        )

    def _is_image(self, info: FileInfo) -> bool:
        return info.regular and (self.is_image(info.path) or self._has_signature(info))

    def _has_signature(self, info: FileInfo) -> bool:
        """Return whether a file without the suffix of an image starts as one does; cached.

        Annotations of the layout are parsed instead, and one that is an image is an error there.
        Of remote datasets, files with the suffix of an annotation are not opened.
        """
        suffix = PurePosixPath(info.path).suffix.lower()
        if (
            is_image_name(info.path)
            or not is_text_path(info.path)
            or (suffix in ANNOTATION_SUFFIXES and is_address(self.uri))
            or self.format_of(info.path)
        ):
            return False
        known = self._signatures.get(info.stamp, info.path)
        if known is None:
            known = "image" if _starts_as_image(self.folder, info.path) else ""
            self._signatures.add(info.stamp, info.path, known)
        return bool(known)

    @cached_property
    def _signatures(self) -> NameIndex:
        return NameIndex()


def not_recognized(folder: Folder, lacking: str, layout: str) -> DataError:
    """Return the error for a folder that lacks what its layout consists of."""
    return DataError(
        f"{folder.name} has no {lacking}; drop --format {layout} to recognize the layout"
    )


def _starts_as_image(folder: Folder, path: str) -> bool:
    try:
        with folder.open(path) as file:
            head = file.read(codec.SIGNATURE_BYTES)
    except WithheldError:
        return False
    return is_image_head(head)


def is_image_head(head: bytes) -> bool:
    """Return whether the first `codec.SIGNATURE_BYTES` of a file are those of an image."""
    kind = codec.sniff(head)
    # The two letters of BMP start texts as well; four of its bytes are reserved.
    return kind is not None and (kind != "BMP" or head[6:10] == bytes(4))


def is_document(info: FileInfo) -> bool:
    """Return whether a file documents the dataset: README, LICENSE or CITATION, up to 1 MB."""
    return info.regular and info.size <= MAX_DOCUMENT and is_document_name(info.path)


def is_document_name(path: str) -> bool:
    """Return whether a file name is that of a README, LICENSE or CITATION file.

    It may have a language, a version and any suffix of a text, such as ``README.zh-CN.md``.
    """
    name = PurePosixPath(path)
    return name.suffix.lower() not in _OTHER_SUFFIXES and bool(_DOCUMENT.fullmatch(name.name))


def is_image_name(path: str) -> bool:
    """Return whether a file name has the suffix of an image."""
    name = PurePosixPath(path)
    return name.suffix.lower() in IMAGE_SUFFIXES and not name.name.startswith("._")


def find_image(path: str, data: bytes) -> str | None:
    """Return why a file that is to be copied unread is not: it is an image by name or content."""
    is_binary = re.search(rb"[\x00-\x08]", data[:4096]) is not None  # BMP starts with two letters
    if is_image_name(path) or (is_binary and codec.sniff(data) is not None):
        return "it is an image, and images are not copied unread"
    return None
