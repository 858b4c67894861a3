"""Names of the images of a dataset, by which texts in annotations are recognized as such."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from pathlib import PurePosixPath
from urllib.parse import unquote

from curate.core.protocols import Source
from curate.storage.index import NameIndex

_MAX_PATH = 4096
_SEPARATORS = re.compile(r"[/\\]")


class ImageNames:
    """Names of the images of a dataset, indexed on first use.

    Args:
        source: the dataset.
        added: ids of images that its output has in addition.
    """

    def __init__(self, source: Source, added: Iterable[str] = ()) -> None:
        self._source = source
        self._added = added

    @cached_property
    def _names(self) -> NameIndex:
        names = NameIndex()
        ids = (record.id for record in self._source.records())
        last = PurePosixPath()
        for path in map(PurePosixPath, chain(ids, self._added)):
            names.add("name", path.name)
            names.add("name", path.stem)
            names.add("stem", str(path.with_suffix("")))
            for folder in path.parent.parts if path.parent != last else ():
                names.add("folder", folder)
            last = path.parent
        return names

    def has_name(self, name: str) -> bool:
        """Return whether an image has a file name, with or without its suffix."""
        return self._names.get("name", name) is not None

    def match_path(self, text: str) -> int:
        """Return how many characters at the end of a text are the path or name of an image.

        The name may lack its suffix, or be quoted as in a URL.
        """
        *folders, name = _SEPARATORS.split(text[-_MAX_PATH:])
        if not name or not (self.has_name(name) or self.has_name(unquote(name))):
            return 0
        size = len(name)
        for folder in reversed(folders):
            if folder not in ("", ".") and self._names.get("folder", folder) is None:
                break
            size += 1 + len(folder)
        return size

    def has_stem(self, path: PurePosixPath) -> bool:
        """Return whether an image has the path of a file up to the suffix."""
        return self._names.get("stem", str(path.with_suffix(""))) is not None
