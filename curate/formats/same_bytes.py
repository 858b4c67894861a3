"""A file that is not written but compared, byte for byte, with one that is there."""

from __future__ import annotations

from typing import BinaryIO


class SameBytes:
    """Takes the place of a target and remembers where it first differs from a file.

    Args:
        reference: the file to compare with.
    """

    def __init__(self, reference: BinaryIO) -> None:
        self._reference = reference
        self._place = 0
        self._differs: int | None = None

    def write(self, data: bytes) -> int:
        """Compare the next bytes."""
        self._reference.seek(self._place)
        if self._differs is None and self._reference.read(len(data)) != data:
            self._differs = self._place
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        """Where the next bytes belong."""
        return self._place

    def seek(self, place: int) -> int:
        """Go back to a place."""
        self._place = place
        return place

    def truncate(self) -> None:
        """Forget what was written after the current place; it differed or it did not."""

    def find_difference(self) -> int | None:
        """Where the two differ, or None if they are the same from end to end."""
        self._reference.seek(self._place)
        if self._differs is None and self._reference.read(1):
            return self._place
        return self._differs
