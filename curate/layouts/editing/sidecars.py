"""Sidecar files that are copied unchanged, and the removed images that they still name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO, Generic, TypeVar

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile, SidecarSource
from curate.layouts.editing.changes import DROPPED, SAME, EditResult, Edits, Outcome
from curate.layouts.editing.rows import SUFFIXES, RowEditor
from curate.layouts.files import IMAGE_SUFFIXES, FileLayout
from curate.storage.index import NameIndex

_BLOCK = 1 << 20
_MAX_NAME = 512  # bytes
_MAX_CAPTION = 1 << 20  # bytes of a file that belongs to one image
_ENDINGS = b"|".join(re.escape(suffix[1:].encode()) for suffix in sorted(IMAGE_SUFFIXES))
_NAME = re.compile(
    rb"""[^\s,;:|<>"'/\\]{1,255}\.(?:""" + _ENDINGS + rb""")(?![\w.])""", re.IGNORECASE
)
_COMPRESSED = (".parquet",)


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
    """

    def __init__(self, source: _Source, edits: Edits) -> None:
        self._source = source
        self._edits = edits
        self._mentions = Mentions(source, edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Copy the file."""
        return EditResult(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """Return no files: none belongs to a single image."""
        yield from ()


class StemEditor(CopyingEditor[FileLayout]):
    """Editor of files with the stem of an image, such as ``a.txt`` with a caption of ``a.jpg``.

    They are removed with their image and copied for images generated from it. Tables and lists
    that name images lose and get rows, see `RowEditor`; other files are copied. A stem of
    several images belongs to none of them.

    Args:
        source: the dataset.
        edits: edits to apply.
    """

    @cached_property
    def _images(self) -> NameIndex:
        """Images by path without suffix; ``several`` are stems of more than one image."""
        names = NameIndex()
        for record in self._source.records():
            stem = posixpath.splitext(record.id)[0]
            if not names.add("image", stem, record.id):
                names.add("several", stem)
        return names

    @cached_property
    def _rows(self) -> RowEditor:
        return RowEditor(self._source, self._edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Drop the file if it belongs to a removed image; otherwise copy it."""
        image = self._image_of(other)
        if image is None:
            if other.path.suffix.lower() in SUFFIXES:
                with self._source.open_sidecar(other) as file:
                    result = self._rows.edit(file, other, target)
                target.seek(0)
                if result is not None and result.outcome is Outcome.EDITED:
                    name = self._mentions.find(target)
                    note = None if name is None else f"it may name removed images, such as {name!a}"
                    return EditResult(Outcome.EDITED, note)
                target.truncate()
            return super().edit(other, target)
        return SAME if self._edits.is_kept(image) else DROPPED

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over copies of the files for generated images.

        Raises:
            DataError: if the geometry of an image was changed and its file may contain
                coordinates.
        """
        for file in self._source.sidecars():
            image = self._image_of(file) if file.copied else None
            for generated in self._edits.generated_from(image) if image is not None else ():
                with self._source.open_sidecar(file) as opened:
                    data = opened.read(_MAX_CAPTION + 1)
                _check_caption(data, file, is_moved=not generated.is_copy)
                yield posixpath.splitext(generated.id)[0] + file.path.suffix, data

    def _image_of(self, file: SidecarFile) -> str | None:
        stem = posixpath.splitext(file.uri)[0]
        if self._images.get("several", stem) is not None:
            return None
        return self._images.get("image", stem)


def _check_caption(data: bytes, file: SidecarFile, is_moved: bool) -> None:
    if len(data) > _MAX_CAPTION:
        raise DataError(
            f"{file.uri!r} is larger than {_MAX_CAPTION >> 20} MB; remove it from SOURCE"
        )
    if is_moved and (file.path.suffix.lower() != ".txt" or not _has_words(data)):
        raise DataError(
            f"{file.uri!r} may contain coordinates, which cannot be transformed for a generated "
            "image; remove it, or use an augmentation that keeps the geometry"
        )


def _has_words(data: bytes) -> bool:
    """Return whether each line of a text has a word of two letters, unlike lines of numbers."""
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    return all(re.search(r"[^\W\d_]{2}", line) for line in lines)
