"""The ImageFolder layout: ``split/class/image``, ``class/image`` or flat, any depth."""

from __future__ import annotations

from pathlib import PurePosixPath

from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.files import SPLITS, FileLayout


class ImageFolder(FileLayout):
    """A folder of images and nothing that says more of them than their paths.

    An image's split is the first component of its path, if that is a usual name
    of a split; its category is the name of the folder that holds it, unless that
    is the split.
    """

    layout = "imagefolder"

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """Any folder can be one; the more telling layouts are asked first."""
        return "a folder of images"

    def parse(self, path: str) -> ImageRecord:
        """Read split and category from an image's path."""
        folders = PurePosixPath(path).parts[:-1]
        split = folders[0] if folders and folders[0].lower() in SPLITS else None
        classes = folders[1:] if split else folders
        return ImageRecord(
            id=path, uri=path, split=split, category=classes[-1] if classes else None
        )
