"""Sidecar files that belong to images, and the removed images that other files still name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import BinaryIO, Generic, TypeVar

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile, SidecarSource
from curate.layouts.editing.changes import (
    DROPPED,
    SAME,
    EditResult,
    Edits,
    NewFile,
    Outcome,
    include_none,
)
from curate.layouts.editing.rows import FORMATS, RowEditor
from curate.layouts.files import IMAGE_SUFFIXES, FileLayout
from curate.storage.index import NameIndex

_BLOCK = 1 << 20
_MAX_NAME = 512  # bytes
_MAX_CAPTION = 1 << 20  # bytes of a file that belongs to one image
_MAX_INCLUDED = 1 << 26  # of one that is copied unread
_ENDINGS = b"|".join(re.escape(suffix[1:].encode()) for suffix in sorted(IMAGE_SUFFIXES))
_NAME = re.compile(
    rb"""[^\s,;:|<>"'/\\]{1,255}\.(?:""" + _ENDINGS + rb""")(?![\w.])""", re.IGNORECASE
)
_COMPRESSED = (".parquet",)
_COMPANIONS: Mapping[str, str] = {
    ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".tsv": "tsv", ".txt": "caption",
    ".xml": "xml",
}  # fmt: skip


def format_of_companion(path: PurePosixPath, has_stem: bool) -> str:
    """Return the format of a file that belongs to images; empty if it has none that is known.

    Args:
        path: its path.
        has_stem: whether an image has its stem; otherwise it is a table or list that names images.
    """
    suffix = path.suffix.lower()
    if has_stem:
        return _COMPANIONS.get(suffix, "")
    return FORMATS.get(suffix, "")


class Mentions:
    """Search for names of removed images in files that are copied unchanged.

    Args:
        source: the dataset.
        edits: edits to apply.
    """

    def __init__(self, source: SidecarSource, edits: Edits) -> None:
        self._source = source
        self._edits = edits

    def note(self, other: SidecarFile) -> str | None:
        """Return a note on a file that is copied unchanged, or None."""
        if not self._any:
            return None
        if other.path.suffix.lower() in _COMPRESSED:
            return "it is copied unchanged and may name images that were removed"
        with self._source.open_sidecar(other) as file:
            name = self.find(file)
        if name is None:
            return None
        return f"it is copied unchanged and may name removed images, such as {name!a}"

    def find(self, file: BinaryIO) -> str | None:
        """Return the name of a removed image in a file, or None."""
        if not self._any:
            return None
        names = _iter_names(file)
        return next((name for name in names if self._removed.get("removed", name)), None)

    @cached_property
    def _removed(self) -> NameIndex:
        names = NameIndex()
        for record in self._source.records():
            if not self._edits.is_kept(record.id):
                names.add("removed", posixpath.basename(record.id), "removed")
        return names

    @cached_property
    def _any(self) -> bool:
        return self._removed.only_in("removed", "")[0] > 0


def _iter_names(file: BinaryIO) -> Iterator[str]:
    """Iterate over the words of a text that end in the suffix of an image."""
    rest = b""
    while block := file.read(_BLOCK):
        data = rest + block
        for found in _NAME.finditer(data):
            yield found[0].decode(errors="replace")
        rest = data[-_MAX_NAME:]  # a name at the end of a block is found again


_Source = TypeVar("_Source", bound=SidecarSource)


class CopyingEditor(Generic[_Source]):
    """Editor that copies all files unchanged and notes which may name removed images.

    Args:
        source: the dataset.
        edits: edits to apply.
        includes: returns whether the user named a file to be copied unread, by its path.
    """

    def __init__(
        self, source: _Source, edits: Edits, includes: Callable[[str], bool] = include_none
    ) -> None:
        self._source = source
        self._edits = edits
        self._includes = includes
        self._mentions = Mentions(source, edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Copy the file."""
        return EditResult(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[NewFile]:
        """Return no files: none belongs to a single image."""
        yield from ()


_Files = TypeVar("_Files", bound=FileLayout)


class StemEditor(CopyingEditor[_Files]):
    """Editor of files with the stem of an image, such as ``a.txt`` with a caption of ``a.jpg``.

    They are removed with their image and copied for images generated from it. Tables and lists
    that name images lose and get rows, see `RowEditor`; other files are copied. A file with the
    stem of several images is removed with the last of them, and not copied.

    Args:
        source: the dataset.
        edits: edits to apply.
        includes: returns whether the user named a file to be copied unread, by its path.
    """

    @cached_property
    def _images(self) -> NameIndex:
        """Images by path without suffix.

        ``several`` are stems of more than one image, ``kept`` those of an image that is kept.
        """
        names = NameIndex()
        for record in self._source.records():
            stem = posixpath.splitext(record.id)[0]
            if not names.add("image", stem, record.id):
                names.add("several", stem)
            if self._edits.is_kept(record.id):
                names.add("kept", stem)
        return names

    @cached_property
    def _rows(self) -> RowEditor:
        return RowEditor(self._source, self._edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Drop the file if it belongs to a removed image, edit its rows, or copy it."""
        if other.format:
            return super().edit(other, target)
        stem = posixpath.splitext(other.uri)[0]
        if self._images.get("image", stem) is not None:
            if self._images.get("kept", stem) is None:
                return DROPPED
            return EditResult(Outcome.SAME, None, format_of_companion(other.path, True))
        if not format_of_companion(other.path, False):
            return super().edit(other, target)
        with self._source.open_sidecar(other) as file:
            result = self._rows.edit(file, other, target)
        target.seek(0)
        if result is not None and result.outcome is Outcome.EDITED:
            name = self._mentions.find(target)
            note = None if name is None else f"it may name removed images, such as {name!a}"
            return replace(result, note=result.note or note)
        target.truncate()
        result = result or SAME
        return replace(result, note=result.note or super().edit(other, target).note)

    def iter_new(self) -> Iterator[NewFile]:
        """Iterate over copies of the files for generated images.

        Raises:
            DataError: if the geometry of an image was changed and its file may contain
                coordinates.
        """
        for file in self._source.sidecars():
            format_name = format_of_companion(file.path, True) if file.copied else ""
            if file.format or not (format_name or self._includes(file.uri)):
                continue
            image = self._image_of(file)
            for generated in self._edits.generated_from(image) if image is not None else ():
                with self._source.open_sidecar(file) as opened:
                    data = opened.read(_MAX_INCLUDED + 1)
                _check_caption(data, file, is_moved=not generated.is_copy)
                path = posixpath.splitext(generated.id)[0] + file.path.suffix
                yield NewFile(path, data, file.uri, format_name)

    def _image_of(self, file: SidecarFile) -> str | None:
        """Return the only image with the stem of a file, or None."""
        stem = posixpath.splitext(file.uri)[0]
        if self._images.get("several", stem) is not None:
            return None
        return self._images.get("image", stem)


def _check_caption(data: bytes, file: SidecarFile, is_moved: bool) -> None:
    limit = _MAX_CAPTION if file.copied else _MAX_INCLUDED
    if len(data) > limit:
        raise DataError(f"{file.uri!r} is larger than {limit >> 20} MB; remove it from SOURCE")
    if is_moved and (file.path.suffix.lower() != ".txt" or not _has_words(data)):
        raise DataError(
            f"{file.uri!r} may contain coordinates, which cannot be transformed for a generated "
            "image; remove it, or use an augmentation that keeps the geometry"
        )


def _has_words(data: bytes) -> bool:
    """Return whether each line of a text has a word of two letters, unlike lines of numbers."""
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return all(re.search(r"[^\W\d_]{2}", line) for line in lines)
