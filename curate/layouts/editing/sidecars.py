"""Sidecar files that are copied unchanged, and the removed images that they still name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

from curate.core.protocols import SidecarFile, SidecarSource
from curate.layouts.editing.changes import EditResult, Edits, Outcome
from curate.layouts.files import IMAGE_SUFFIXES
from curate.storage.index import NameIndex

_BLOCK = 1 << 20
_MAX_NAME = 512  # bytes
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
            for name in _iter_names(file):
                if self._removed.get("removed", name) is not None:
                    return f"it is copied unchanged and may name removed images, such as {name!a}"
        return None

    @cached_property
    def _removed(self) -> NameIndex:
        names = NameIndex()
        for record in self._source.records():
            if not self._edits.is_kept(record.id):
                names.add("removed", posixpath.basename(record.id))
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


class CopyingEditor:
    """Editor that copies all files unchanged and notes which may name removed images.

    Args:
        source: the dataset.
        edits: edits to apply.
    """

    def __init__(self, source: SidecarSource, edits: Edits) -> None:
        self._mentions = Mentions(source, edits)

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Copy the file."""
        return EditResult(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """Return no files: none belongs to a single image."""
        yield from ()
