"""Edits of a dataset, the result for each of its files, and names of generated images."""

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
from curate.core.protocols import SidecarFile, Source
from curate.core.records import ImageRecord
from curate.layouts.annotations import iter_stored_lines
from curate.layouts.containers import parse_uri


@dataclass(frozen=True)
class GeneratedImage:
    """Image generated from another image of the dataset.

    Args:
        id: id in the output, in the folder of the source image.
        affine: transform from the upright source image to the generated one;
            `curate.core.affine.identity` for a copy.
        width: width of the upright source image in pixels.
        height: height of the upright source image in pixels.
        orientation: EXIF orientation of the source image, which the generated image no
            longer has; 1 also for a copy of the file, which keeps it.
    """

    id: str
    affine: Affine
    width: int
    height: int
    orientation: int = 1

    @property
    def is_copy(self) -> bool:
        """Whether the stored pixels have the same coordinates as in the source image."""
        return self.orientation == 1 and self.affine.is_identity(self.width, self.height)

    def map_for(self, size: tuple[int, int] | None, where: str) -> Affine:
        """Return the transform of the coordinates of an annotation of the source image.

        Args:
            size: width and height stated by the annotation, or None. They tell whether its
                coordinates refer to the stored or the upright image; stored if both agree.
            where: name of the annotation in messages.

        Raises:
            DataError: if the annotation states another size.
        """
        if self.is_copy:
            return self.affine
        if size in (None, self._stored):
            return self.affine if self.orientation == 1 else self._from_stored
        if size == (self.width, self.height):
            return self.affine
        stated, found = (f"{width}×{height}" for width, height in (size or (0, 0), self._stored))
        raise DataError(
            f"{where} states an image size of {stated}, but the image has {found}; "
            "fix the annotation, since no image can be generated with it"
        )

    @property
    def _stored(self) -> tuple[int, int]:
        sizes = (self.width, self.height)
        return sizes[::-1] if self.orientation >= 5 else sizes

    @cached_property
    def _from_stored(self) -> Affine:
        return self.affine.after(from_stored(self.orientation, *self._stored))


class Edits(Protocol):
    """Edits to apply to a dataset; queried for every image, possibly several times."""

    def is_kept(self, record_id: str) -> bool:
        """Return whether an image is kept; otherwise it is removed."""
        ...

    def generated_from(self, record_id: str) -> Sequence[GeneratedImage]:
        """Return the images generated from one, in order; it may itself be removed."""
        ...


@dataclass(frozen=True, slots=True)
class Removals:
    """Edits that only remove images.

    Args:
        is_removed: returns whether an image is removed, by its id.
    """

    is_removed: Callable[[str], bool]

    def is_kept(self, record_id: str) -> bool:
        """Return whether an image is kept."""
        return not self.is_removed(record_id)

    def generated_from(self, record_id: str) -> Sequence[GeneratedImage]:
        """Return no image, since none is generated."""
        return ()


class Outcome(StrEnum):
    """Outcome of editing a sidecar file."""

    SAME = "same"  # unchanged: copy it
    EDITED = "edited"  # the target contains the edited file
    DROPPED = "dropped"  # belongs to a removed image
    REFUSED = "refused"  # names removed images, but cannot be edited; the note is the reason


@dataclass(frozen=True, slots=True)
class EditResult:
    """Result of editing a sidecar file.

    Args:
        outcome: whether to copy the file, use the target, or leave the file out. The
            content of the target is meaningful only if the file was edited.
        note: note for the user in one line without the file name, or None.
        format: format in which a file that belongs to images is written again, although it is
            not an annotation of the layout; empty for other files.
    """

    outcome: Outcome
    note: str | None = None
    format: str = ""


@dataclass(frozen=True, slots=True)
class NewFile:
    """File of a generated image.

    Args:
        path: its path.
        data: its content.
        origin: file of the source image from which it was made.
        format: format in which it is written again; empty for files that an editor encoded.
    """

    path: str
    data: bytes
    origin: str
    format: str = ""


REMOVED = "its image was removed"
"""Reason of a file that is left out together with its image."""
WITHHELD = "its image was withheld"
"""Likewise, of an image that is in no output."""

SAME = EditResult(Outcome.SAME)
EDITED = EditResult(Outcome.EDITED)
DROPPED = EditResult(Outcome.DROPPED)


def include_none(path: str) -> bool:
    """Return False: no other file is included."""
    return False


class Editor(Protocol):
    """Edits the annotations of a dataset to match its changed images.

    The contract, tested for every layout: without edits every file is unchanged; no
    mention of a removed image remains, and nothing that belongs to it; unknown content, and
    items and lines that name no image since they are malformed, are kept unchanged; memory does
    not grow with the dataset; the result does not depend on the order of the calls.

    Args:
        source: dataset whose annotations have been checked.
        edits: edits to apply.
        includes: returns whether the user named a file to be copied unread, by its path.
    """

    def __init__(
        self, source: Any, edits: Edits, includes: Callable[[str], bool] = include_none
    ) -> None: ...

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Write the edited version of a sidecar file.

        Raises:
            DataError: if it is malformed, or contains coordinates that cannot be
                transformed for a generated image.
        """
        ...

    def iter_new(self) -> Iterator[NewFile]:
        """Iterate over the new files of the generated images, by source image."""
        ...


_JPEG = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif"})
_COMMON_SUFFIXES = (
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
_MAX_NAME = 255  # bytes that file systems take


def name_copy(source: Source, record: ImageRecord, number: int, suffix: str) -> str:
    """Return the id of an image generated from another, in the same layout.

    ``train/dog/a.jpg`` gives ``train/dog/a_aug1.jpg``. If SOURCE contains that name, an
    underscore is appended. Rows of tables have no names, so their ids only state which
    row they were generated from.

    Args:
        source: the dataset.
        record: the source image.
        number: number of the image among those generated from the same source, from 1.
        suffix: suffix of the encoded format, ``.jpg`` or ``.png``.

    Raises:
        DataError: if the name would be too long.
    """
    if source.layout in _TABLES:
        return _name_row(record, number)
    folder, name = posixpath.split(record.id)
    stem, ending = _split(name, is_sample=source.layout == "webdataset")
    cut = max(ending.rfind("."), 0)
    inner, own = ending[:cut], ending[cut:]
    generated = f"{stem}_aug{number}"
    if source.layout != "webdataset" and _has_sibling(source, posixpath.join(folder, stem), own):
        generated = f"{stem}_{own[1:]}_aug{number}"
    ending = inner + spell_suffix(own, suffix)
    while _is_taken(source, posixpath.join(folder, generated), ending):
        generated += "_"
    if len(f"{generated}{ending}".encode()) > _MAX_NAME:
        raise DataError(f"the name of {record.id!r} is too long to name a copy after it")
    return posixpath.join(folder, generated + ending)


def rename(written: str, record_id: str, generated_id: str) -> str:
    """Return the name in an annotation adapted to a generated image.

    Args:
        written: name of the source image in the annotation.
        record_id: id of the source image.
        generated_id: id of the generated image.

    Raises:
        ValueError: if the two images are not in the same folder.
    """
    if posixpath.dirname(record_id) != posixpath.dirname(generated_id):
        raise ValueError(f"{generated_id!r} is not in the folder of {record_id!r}")
    cut = max(written.rfind("/"), written.rfind("\\")) + 1
    return written[:cut] + posixpath.basename(generated_id)


def rename_stem(written: str, record_id: str, generated_id: str) -> str:
    """Like `rename`, for a name without a suffix."""
    return str(PurePosixPath(rename(written, record_id, generated_id)).with_suffix(""))


def _name_row(record: ImageRecord, number: int) -> str:
    container = parse_uri(record.uri)[2]
    row, slash, column = record.id[len(container) + 1 :].partition("/")
    return f"{container}/{row}_aug{number}{slash}{column}"


def _split(name: str, is_sample: bool) -> tuple[str, str]:
    """Split a name into stem and suffix; the stem (key) of a sample ends at the first dot."""
    cut = name.find(".", 1) if is_sample else name.rfind(".")
    cut = len(name) if cut < 0 else cut  # ids of a table need not be file names
    return name[:cut], name[cut:]


def spell_suffix(own: str, suffix: str) -> str:
    """Return a suffix as the source image spells it, if the format is the same."""
    same = own.lower() in _JPEG if suffix == ".jpg" else own.lower() == suffix
    return own if same else suffix


def _is_taken(source: Source, stem: str, ending: str) -> bool:
    """Return whether SOURCE contains an image of this name; labels share its stem."""
    endings = {ending, ".jpg", ".png"}
    return any(source.find(f"{stem}{each}") is not None for each in endings)


def _has_sibling(source: Source, stem: str, own: str) -> bool:
    """Return whether another image differs in its suffix only, so that copies would clash."""
    return any(
        each != own and source.find(f"{stem}{each}") is not None for each in _COMMON_SUFFIXES
    )


Decide = Callable[[str, str], tuple[bool, Iterable[str]]]
"""Decides from a line without its end, and its name in messages, whether it is kept and which
lines to insert after it."""


def edit_lines(file: BinaryIO, name: str, decide: Decide, target: BinaryIO) -> bool:
    """Write a text file with each kept line as stored; returns whether it changed.

    Args:
        file: file to edit.
        name: name of the file in messages.
        decide: decision for each line.
        target: file to write to.

    Raises:
        DataError: if a line is not text.
    """
    changed, last, end = False, b"\n", b"\n"
    for where, line, stored in iter_stored_lines(file, name):
        text = line.rstrip("\r\n")
        kept, added = decide(text, where)
        if stored.endswith(
            b"\n"
        ):  # otherwise the last line, which gets the line end of the previous ones
            end = b"\r\n" if stored.endswith(b"\r\n") else b"\n"
        new = [each.encode() + end for each in added]
        changed |= not kept or bool(new)
        for each in [stored, *new] if kept else new:
            if not last.endswith(b"\n"):
                target.write(end)
            target.write(each)
            last = each
    return changed
