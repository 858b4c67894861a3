"""Which images a report is of: their number, and a sample of their digests or names.

The sample is the smallest digests, so that two samples of one dataset are the same, and the
share of a sample that is in another dataset estimates the share of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from heapq import heappush, heapreplace
from typing import Any

SIZE = 1000
"""Digests of a sample; of fewer images, it has them all."""

_LENGTH = 16  # hexadecimal digits


class ImageSample:
    """Collects a sample from a stream of images, in bounded memory."""

    def __init__(self) -> None:
        self.images = 0
        self._largest_first: list[int] = []
        self._kept: set[int] = set()

    def add_digest(self, sha256: str) -> None:
        """Add an image by the SHA-256 of its bytes, in hexadecimal."""
        self.images += 1
        value = int(sha256[:_LENGTH], 16)
        if value in self._kept:
            return
        if len(self._kept) < SIZE:
            heappush(self._largest_first, -value)
        elif value < -self._largest_first[0]:
            self._kept.remove(-heapreplace(self._largest_first, -value))
        else:
            return
        self._kept.add(value)

    def add_name(self, name: str) -> None:
        """Add an image by its name."""
        self.add_digest(digest_name(name))

    def to_dict(self) -> dict[str, Any]:
        """The number of images and the sample, for JSON."""
        return {"images": self.images, "sample": [f"{v:0{_LENGTH}x}" for v in sorted(self._kept)]}


def digest_name(name: str) -> str:
    """SHA-256 of an image's name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def find_known(sample: Container[str], digests: Iterable[str]) -> set[str]:
    """The digests of a sample that are among those of a dataset, which are streamed."""
    return {digest[:_LENGTH] for digest in digests if digest[:_LENGTH] in sample}
