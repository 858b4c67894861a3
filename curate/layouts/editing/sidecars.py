"""Sidecar files that belong to images, and the removed images that other files still name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import PurePosixPath
from typing import BinaryIO, Generic, TypeVar

from curate.core.errors import DataError
from curate.core.protocols import LABEL_MAP, SidecarFile, SidecarSource
from curate.layouts.editing.changes import (
    DROPPED,
    SAME,
    Editor,
    EditResult,
    Edits,
    NewFile,
    Outcome,
    include_none,
)
from curate.layouts.editing.rows import FORMATS, RowEditor
from curate.layouts.files import FileLayout
from curate.storage.index import NameIndex

_BLOCK = 1 << 20
_MAX_NAME = 512  # bytes
_MAX_CAPTION = 1 << 20  # bytes of a file that belongs to one image
_MAX_INCLUDED = 1 << 26  # of one that is copied unread
_MIN_STEM = 4
# Words, and cells and quoted texts, which may have spaces.
_TOKENS = (
    re.compile(rb"""[^\s,;:|<>"'/\\()\[\]{}]{1,255}"""),
    re.compile(rb"""[^\r\n\t,;|<>"/\\]{1,255}"""),
)
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
_STEM_NUMBER = re.compile(rb"0\d{3,}|\d{6,}")
_PUNCTUATION = b" .!?:'`*_"
_COMPRESSED = (".parquet",)
_COMPANIONS: Mapping[str, str] = {
    ".csv": "image_csv", ".json": "json", ".jsonl": "image_jsonl", ".tsv": "image_csv",
    ".txt": "caption", ".xml": "xml",
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
    """Search for names of removed images in the files of an output.

    A name is that of the file, with its suffix or, if no kept image has it too, without; without
    a suffix it has at least four characters, and a letter, a zero in front or six digits.

    Args:
        source: the dataset.
        edits: edits to apply.
    """

    def __init__(self, source: SidecarSource, edits: Edits) -> None:
        self._source = source
        self._edits = edits

    def note(self, other: SidecarFile, edited: BinaryIO | None) -> str | None:
        """Return a note on a file that still names removed images, or None.

        Args:
            other: the file.
            edited: its edited content, or None if it is copied unchanged.
        """
        if not self._any or other.format == LABEL_MAP:
            return None
        how = "it is copied unchanged and" if edited is None else "it"
        if other.path.suffix.lower() in _COMPRESSED:
            return f"{how} may name images that were removed"
        if edited is not None:
            edited.seek(0)
            return self._describe(edited, how)
        with self._source.open_sidecar(other) as file:
            return self._describe(file, how)

    def _describe(self, file: BinaryIO, how: str) -> str | None:
        names = filter(self._is_removed, _iter_names(file))
        first = next(names, "")
        if not first:
            return None
        found, count = NameIndex(), 0
        for name in chain((first,), names):
            count += found.add("found", posixpath.splitext(name)[0])
        found.close()
        return f"{how} may name {count:,} removed image{'s' * (count > 1)}, such as {first!a}"

    @cached_property
    def _is_removed(self) -> Callable[[str], bool]:
        return lru_cache(1 << 16)(lambda name: self._removed.get("removed", name) is not None)

    @cached_property
    def _removed(self) -> NameIndex:
        names = NameIndex()
        for is_kept in (True, False):
            for record in self._source.records():
                if self._edits.is_kept(record.id) != is_kept:
                    continue
                name = posixpath.basename(record.id)
                stem = posixpath.splitext(name)[0]
                if is_kept:
                    names.add("kept", stem)
                else:
                    names.add("removed", name)
                if not is_kept and len(stem) >= _MIN_STEM and names.get("kept", stem) is None:
                    names.add("removed", stem)
        return names

    @cached_property
    def _any(self) -> bool:
        return self._removed.only_in("removed", "")[0] > 0


def _iter_names(file: BinaryIO) -> Iterator[str]:
    """Iterate over the words, cells and quoted texts with a letter of a text."""
    rest = b""
    while block := file.read(_BLOCK):
        data = rest + block
        for tokens in _TOKENS:
            for found in dict.fromkeys(tokens.findall(data)):  # keys repeat in every record
                word = found.strip()
                if _LETTER.search(word) or _STEM_NUMBER.fullmatch(word):
                    yield word.decode(errors="replace")
                    if b"#" in word:  # a.jpg#0: a caption
                        yield word.partition(b"#")[0].decode(errors="replace")
                    if (bare := word.strip(_PUNCTUATION)) != word:
                        yield bare.decode(errors="replace")
        rest = data[-_MAX_NAME:]  # a name at the end of a block is found again


_Source = TypeVar("_Source", bound=SidecarSource)


class NotingEditor:
    """Editor that notes which files still name removed images after another editor's edits.

    Args:
        editor: the editor of the layout.
        mentions: the search for names.
    """

    def __init__(self, editor: Editor, mentions: Mentions) -> None:
        self._editor = editor
        self._mentions = mentions

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Edit the file, and search what is written of it."""
        result = self._editor.edit(other, target)
        is_out = result.outcome in (Outcome.DROPPED, Outcome.REFUSED)
        if is_out or result.note is not None:
            return result
        edited = target if result.outcome is Outcome.EDITED else None
        return replace(result, note=self._mentions.note(other, edited))

    def iter_new(self) -> Iterator[NewFile]:
        """Iterate over the files of generated images."""
        return self._editor.iter_new()


class CopyingEditor(Generic[_Source]):
    """Editor that copies all files unchanged.

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

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Copy the file."""
        return SAME

    def iter_new(self) -> Iterator[NewFile]:
        """Return no files: none belongs to a single image."""
        yield from ()


_Files = TypeVar("_Files", bound=FileLayout)


class StemEditor(CopyingEditor[_Files]):
    """Editor of files with the stem of an image, such as ``a.txt`` with a caption of ``a.jpg``.

    They are removed with their image and copied for images generated from it. Tables and lists
    that name images lose and get rows, see `RowEditor`; other files are copied. A file with the
    stem of several images is removed with the last of them, and not copied. A file in a folder
    without images belongs to the only image whose path differs by one folder in place of one or
    two, such as ``labels/a.txt`` and ``annotations/xmls/a.xml`` to ``images/a.jpg``.

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
            names.add("folder", posixpath.dirname(record.id))
            for mirrored in _mirror(stem, 1):
                if not names.add("mirrored", mirrored, stem):
                    names.add("several mirrored", mirrored)
        return names

    def _stem_of(self, path: str) -> str | None:
        """Return the path without suffix of the image to which a file belongs, or None."""
        stem = posixpath.splitext(path)[0]
        if self._images.get("image", stem) is not None:
            return stem
        if self._images.get("folder", posixpath.dirname(path)) is not None:
            return None
        mirrored = chain(_mirror(stem, 1), _mirror(stem, 2))
        found = {self._images.get("mirrored", each): each for each in mirrored}
        found.pop(None, None)
        [(image, key), *more] = [*found.items()] or [(None, "")]
        is_unique = not more and self._images.get("several mirrored", key) is None
        return image if is_unique else None

    @cached_property
    def _rows(self) -> RowEditor:
        return RowEditor(self._source, self._edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Drop the file if it belongs to a removed image, edit its rows, or copy it."""
        if other.format:
            return super().edit(other, target)
        stem = self._stem_of(other.uri)
        if stem is not None:
            if self._images.get("kept", stem) is None:
                return DROPPED
            is_beside = stem == posixpath.splitext(other.uri)[0]
            known = format_of_companion(other.path, True) if is_beside else ""
            return EditResult(Outcome.SAME, None, known)
        if not format_of_companion(other.path, False):
            return super().edit(other, target)
        with self._source.open_sidecar(other) as file:
            result = self._rows.edit(file, other, target)
        if result is None or result.outcome is not Outcome.EDITED:
            target.seek(0)
            target.truncate()
        return result or SAME

    def iter_new(self) -> Iterator[NewFile]:
        """Iterate over copies of the files for generated images.

        Raises:
            DataError: if the geometry of an image was changed and its file may contain
                coordinates.
        """
        for file in self._source.sidecars():
            is_beside = self._images.get("image", posixpath.splitext(file.uri)[0]) is not None
            known = file.copied and is_beside
            format_name = format_of_companion(file.path, True) if known else ""
            if file.format or not (format_name or self._includes(file.uri)):
                continue
            image = self._image_of(file)
            for generated in self._edits.generated_from(image) if image is not None else ():
                with self._source.open_sidecar(file) as opened:
                    data = opened.read(_MAX_INCLUDED + 1)
                _check_caption(data, file, is_moved=not generated.is_copy)
                name = posixpath.splitext(posixpath.basename(generated.id))[0] + file.path.suffix
                path = posixpath.join(posixpath.dirname(file.uri), name)
                yield NewFile(path, data, file.uri, format_name)

    def _image_of(self, file: SidecarFile) -> str | None:
        """Return the only image with the stem of a file, or None."""
        stem = self._stem_of(file.uri)
        if stem is None or self._images.get("several", stem) is not None:
            return None
        return self._images.get("image", stem)


def _mirror(stem: str, size: int) -> Iterator[str]:
    """Iterate over a path with adjacent folders, one or more, replaced by an asterisk."""
    *folders, name = stem.split("/")
    for start in range(len(folders) - size + 1):
        yield "/".join([*folders[:start], "*", *folders[start + size :], name])


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
