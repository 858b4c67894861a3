"""What is to be changed about a dataset, and what became of each of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, BinaryIO, Protocol

from curate.core.affine import Affine, from_stored
from curate.core.errors import DataError
from curate.core.ports import CarriedFile


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
