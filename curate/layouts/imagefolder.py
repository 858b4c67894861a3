"""ImageFolder layout: ``split/class/image``, ``class/image`` or flat, at any depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.contents import note_contained
from curate.layouts.files import SPLITS, FileLayout


class ImageFolder(FileLayout):
    """Folder of images described by their paths only.

    The split of an image is the outermost folder with a common split name; its category is
    the name of its parent folder, if that is below the split.
    """

    layout = "imagefolder"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Accept any folder; the other layouts are tried first."""
        return "a folder of images"

    def parse(self, path: str) -> ImageRecord:
        """Parse split and category from the path of an image."""
        folders = PurePosixPath(path).parts[:-1]
        depth = next((n for n in range(len(folders)) if self._is_split(folders, n)), None)
        split = None if depth is None else folders[depth]
        classes = folders if depth is None else folders[depth + 1 :]
        return ImageRecord(
            id=path, uri=path, split=split, category=classes[-1] if classes else None
        )

    def check(self, strict: bool = False) -> Iterator[str]:
        """Report archives with images, which are not read in this layout."""
        yield from note_contained(self.folder)

    def _is_split(self, folders: Sequence[str], depth: int) -> bool:
        """Return whether a folder is a split: by its name and, below the root, its siblings.

        Classes may have names of splits, so a folder below the root is a split only if there
        is another split next to it, or nothing else.
        """
        if folders[depth].lower() not in SPLITS:
            return False
        if depth == 0:
            return True
        parent = "/".join(folders[:depth])
        if parent not in self._parents:
            names = [
                name[:-1].lower() for name in self.folder.list_names(parent) if name[-1] == "/"
            ]
            splits = sum(name in SPLITS for name in names)
            self._parents[parent] = splits > 1 or splits == len(names) == 1
        return self._parents[parent]

    @cached_property
    def _parents(self) -> dict[str, bool]:
        return {}
