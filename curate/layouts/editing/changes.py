"""What is to be changed about a dataset, and what became of each of its files."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol

from curate.core.affine import Affine, from_stored
from curate.core.errors import DataError
from curate.core.protocols import CarriedFile, Source
from curate.core.records import ImageRecord
from curate.layouts.annotations import iter_stored_lines
from curate.layouts.containers import parse_uri


@dataclass(frozen=True)
class Made:
    """An image that was made from another one.

    Args:
        id: of the new image in the output, in the folder of the one that it was made from.
        affine: from the upright image to the made one; `curate.core.affine.identity`
            for a repetition.
        width: of the upright image that it was made from, pixels.
        height: of the upright image that it was made from, pixels.
        orientation: EXIF orientation of the image that it was made from, which the
            made one has lost; 1 also for a copy of the file, which keeps it.
    """

    id: str
    affine: Affine
    width: int
    height: int
    orientation: int = 1

    @property
    def is_copy(self) -> bool:
        """Whether every point is where it was, in the file as stored, too."""
        return self.orientation == 1 and self.affine.is_identity(self.width, self.height)

    def map_for(self, size: tuple[int, int] | None, where: str) -> Affine:
        """Where the points of an annotation of the source image are in the made one.

        Args:
            size: width and height that the annotation states, or None. As stored or
                upright tells which of the two it speaks of; stored if that is the same.
            where: what a message calls the annotation.

        Raises:
            DataError: if it speaks of an image of another size.
        """
        if self.is_copy:
            return self.affine
        if size in (None, self._stored):
            return self.affine if self.orientation == 1 else self._from_stored
        if size == (self.width, self.height):
            return self.affine
        said, found = f"{size[0]}×{size[1]}" if size else "", f"{self._stored[0]}×{self._stored[1]}"
        raise DataError(
            f"{where} says that its image is {said}, but it is {found}; mend the annotation, "
            "since no image can be made with it"
        )

    @property
    def _stored(self) -> tuple[int, int]:
        sizes = (self.width, self.height)
        return sizes[::-1] if self.orientation >= 5 else sizes

    @cached_property
    def _from_stored(self) -> Affine:
        return self.affine.after(from_stored(self.orientation, *self._stored))


class Edits(Protocol):
    """What is to be changed; asked about every image, some of them often."""

    def is_kept(self, record_id: str) -> bool:
        """Whether an image is in the output; removed otherwise."""
        ...

    def made_from(self, record_id: str) -> Sequence[Made]:
        """The images made from one, in order; also from one that is removed."""
        ...


class Outcome(StrEnum):
    """What became of a file beside the images."""

    SAME = "same"  # nothing changes: copy it
    EDITED = "edited"  # the target holds it anew
    DROPPED = "dropped"  # it belongs to a removed image


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one file beside the images.

    Args:
        outcome: whether to copy it, to take the target, or to leave it out. Unless it
            is edited, what was written to the target means nothing.
        note: what a user should know, a line without the file's name, or None.
    """

    outcome: Outcome
    note: str | None = None


SAME = Fate(Outcome.SAME)
EDITED = Fate(Outcome.EDITED)
DROPPED = Fate(Outcome.DROPPED)


class Editor(Protocol):
    """The annotations of a dataset after its images were changed.

    The contract, tested for every layout: without edits every file is the same; of
    a removed image no mention is left, and nothing that belongs to it; what is not
    understood goes through unchanged; memory does not grow with the dataset, and
    the result does not depend on the order of the calls.
    """

    def __init__(self, source: Any, edits: Edits) -> None: ...

    def edit(self, other: CarriedFile, target: BinaryIO) -> Fate:
        """Write one of ``source.others()`` that is carried, as it must be now.

        Raises:
            DataError: if it is malformed, or holds what cannot be transformed with an
                image that was made; names the place.
        """
        ...

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """Paths and contents of files that belong to the images made, sorted by their sources."""
        ...


_JPEG = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif"})
_USUAL = (
    ".jpg",
    ".png",
    ".jpeg",
    ".JPG",
    ".PNG",
    ".JPEG",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
)
_TABLES = frozenset({"parquet", "arrow"})
_LONGEST_NAME = 255  # bytes that file systems take


def name_copy(source: Source, record: ImageRecord, number: int, suffix: str) -> str:
    """The id of an image that is made from another, in the same layout.

    ``train/dog/a.jpg`` gives ``train/dog/a_aug1.jpg``. A name that SOURCE has is left
    to it: an underscore follows. Rows of tables have no names of their own, so theirs
    says only what they were made from.

    Args:
        source: the dataset.
        record: the image that it is made from.
        number: which of the images made from it, from 1.
        suffix: of the format that it is encoded in, ``.jpg`` or ``.png``.

    Raises:
        DataError: if the name would be too long.
    """
    if source.layout in _TABLES:
        return _name_row(record, number)
    folder, name = posixpath.split(record.id)
    stem, ending = _split(name, is_sample=source.layout == "webdataset")
    cut = max(ending.rfind("."), 0)
    inner, own = ending[:cut], ending[cut:]
    made = f"{stem}_aug{number}"
    if source.layout != "webdataset" and _has_twin(source, posixpath.join(folder, stem), own):
        made = f"{stem}_{own[1:]}_aug{number}"
    ending = inner + spell_suffix(own, suffix)
    while _is_taken(source, posixpath.join(folder, made), ending):
        made += "_"
    if len(f"{made}{ending}".encode()) > _LONGEST_NAME:
        raise DataError(f"the name of {record.id!r} is too long to name a copy after it")
    return posixpath.join(folder, made + ending)


def rename(written: str, record_id: str, made_id: str) -> str:
    """The name of an image as an annotation wrote it, for the image that was made.

    Raises:
        ValueError: if they are not in one folder.
    """
    if posixpath.dirname(record_id) != posixpath.dirname(made_id):
        raise ValueError(f"{made_id!r} is not in the folder of {record_id!r}")
    cut = max(written.rfind("/"), written.rfind("\\")) + 1
    return written[:cut] + posixpath.basename(made_id)


def rename_stem(written: str, record_id: str, made_id: str) -> str:
    """As ``rename``, for a name that was written without its suffix."""
    return str(PurePosixPath(rename(written, record_id, made_id)).with_suffix(""))


def _name_row(record: ImageRecord, number: int) -> str:
    container = parse_uri(record.uri)[2]
    row, slash, column = record.id[len(container) + 1 :].partition("/")
    return f"{container}/{row}_aug{number}{slash}{column}"


def _split(name: str, is_sample: bool) -> tuple[str, str]:
    """A name's stem and ending; a sample's stem, its key, ends at the first dot."""
    cut = name.find(".", 1) if is_sample else name.rfind(".")
    cut = len(name) if cut < 0 else cut  # ids of a table need not be file names
    return name[:cut], name[cut:]


def spell_suffix(own: str, suffix: str) -> str:
    """A suffix, spelt as the source spells it where it is of the same format."""
    same = own.lower() in _JPEG if suffix == ".jpg" else own.lower() == suffix
    return own if same else suffix


def _is_taken(source: Source, stem: str, ending: str) -> bool:
    """Whether SOURCE has an image of this name; labels go by the name without its suffix."""
    endings = {ending, ".jpg", ".png"}
    return any(source.find(f"{stem}{each}") is not None for each in endings)


def _has_twin(source: Source, stem: str, own: str) -> bool:
    """Whether another image differs in its suffix only, after which copies could be called."""
    return any(each != own and source.find(f"{stem}{each}") is not None for each in _USUAL)


Decide = Callable[[str, str], tuple[bool, Iterable[str]]]
"""Says of a line without its end, and of what a message calls it, whether it is kept, and
which lines follow."""


def edit_lines(file: BinaryIO, name: str, decide: Decide, target: BinaryIO) -> bool:
    """Write a list with each kept line as it is stored; returns whether it changed.

    Args:
        file: the list.
        name: what messages call it.
        decide: what becomes of each line.
        target: where to write.

    Raises:
        DataError: if a line is no text.
    """
    changed, last, end = False, b"\n", b"\n"
    for where, line, stored in iter_stored_lines(file, name):
        text = line.rstrip("\r\n")
        kept, added = decide(text, where)
        if stored.endswith(b"\n"):  # else it is the last line, to be ended as those before
            end = b"\r\n" if stored.endswith(b"\r\n") else b"\n"
        new = [each.encode() + end for each in added]
        changed |= not kept or bool(new)
        for each in [stored, *new] if kept else new:
            if not last.endswith(b"\n"):
                target.write(end)
            target.write(each)
            last = each
    return changed
