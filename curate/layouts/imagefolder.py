"""ImageFolder layout: ``split/class/image``, ``class/image`` or flat, at any depth."""

from __future__ import annotations

from pathlib import PurePosixPath

from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.files import SPLITS, FileLayout


class ImageFolder(FileLayout):
    """Folder of images described by their paths only.

    The split of an image is the first component of its path, if that is a common split
    name; its category is the name of its parent folder, unless that is the split.
    """

    layout = "imagefolder"

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """Accept any folder; the other layouts are tried first."""
        return "a folder of images"

    def parse(self, path: str) -> ImageRecord:
        """Parse split and category from the path of an image."""
        folders = PurePosixPath(path).parts[:-1]
        split = folders[0] if folders and folders[0].lower() in SPLITS else None
        classes = folders[1:] if split else folders
        return ImageRecord(
            id=path, uri=path, split=split, category=classes[-1] if classes else None
        )
