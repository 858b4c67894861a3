"""Whether a file that nobody understands still names images that were removed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

from curate.core.protocols import CarriedFile, Source
from curate.layouts.editing.changes import Edits, Fate, Outcome
from curate.layouts.files import IMAGE_SUFFIXES
from curate.storage.index import NameIndex

_BLOCK = 1 << 20
_LONGEST = 512  # bytes of a name that is looked for
_ENDINGS = b"|".join(re.escape(suffix[1:].encode()) for suffix in sorted(IMAGE_SUFFIXES))
_NAME = re.compile(
    rb"""[^\s,;:|<>"'/\\]{1,255}\.(?:""" + _ENDINGS + rb""")(?![\w.])""", re.IGNORECASE
)
_COMPRESSED = (".parquet",)


class Mentions:
    """Names of removed images, to be found in files that go through as they are.

    Args:
        source: the dataset.
        edits: what is removed of it.
    """

    def __init__(self, source: Source, edits: Edits) -> None:
        self._source = source
        self._edits = edits

    def note(self, other: CarriedFile) -> str | None:
        """What to tell of a file that is carried unchanged, or None."""
        if not self._any:
            return None
        if other.path.suffix.lower() in _COMPRESSED:
            return "it is carried as it is, and may name images that were removed"
        with self._source.open(other) as file:
            for name in _iter_names(file):
                if self._removed.get("removed", name) is not None:
                    return f"it is carried as it is, and may name removed images, such as {name!a}"
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
    """Words of a text that end as the names of images do."""
    rest = b""
    while block := file.read(_BLOCK):
        data = rest + block
        for found in _NAME.finditer(data):
            yield found[0].decode(errors="replace")
        rest = data[-_LONGEST:]  # a name on the edge is found again, whole


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
