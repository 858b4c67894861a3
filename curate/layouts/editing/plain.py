"""Layouts whose files beside the images say nothing of a single image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from curate.core.protocols import CarriedFile, Source
from curate.layouts.editing.changes import Edits, Fate, Outcome
from curate.layouts.sidecars.mentions import Mentions


class PlainEditor:
    """Carries everything unchanged, and says which files may name removed images.

    Args:
        source: the dataset.
        edits: what is to be changed.
    """

    def __init__(self, source: Source, edits: Edits) -> None:
        self._mentions = Mentions(source, edits)

    def edit(self, other: CarriedFile, target: BinaryIO) -> Fate:
        """Nothing to edit."""
        return Fate(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """None: nothing belongs to a single image."""
        yield from ()
