"""Scores of all images and classes on disk, in blocks of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from curate.impact.arrays import Scores

_BLOCK = 2**26  # bytes of a block: what memory holds at once
_ITEM = 4


@dataclass(slots=True)
class ScoreBlocks:
    """A matrix that is written by rows and read by columns, which memory need not hold.

    Args:
        file: empty, open for reading and writing.
        images: rows.
        classes: columns.
    """

    file: BinaryIO
    images: int
    classes: int
    _written: int = 0

    def write(self, scores: Scores) -> None:
        """Write the next rows: n×C."""
        for first in range(0, self.classes, self._width):
            part = np.ascontiguousarray(scores[:, first : first + self._width])
            rows_before = self._written * part.shape[1]
            self.file.seek(_ITEM * (first * self.images + rows_before))
            self.file.write(part.tobytes())
        self._written += len(scores)

    def iter_blocks(self) -> Iterator[tuple[int, Scores]]:
        """A class's place, and the N×K scores of it and the next K - 1 classes."""
        for first in range(0, self.classes, self._width):
            width = min(self._width, self.classes - first)
            self.file.seek(_ITEM * first * self.images)
            data = self.file.read(_ITEM * width * self.images)
            yield first, np.frombuffer(data, dtype=np.float32).reshape(self.images, width)

    @property
    def _width(self) -> int:
        return max(1, min(self.classes, _BLOCK // (_ITEM * max(1, self.images))))
