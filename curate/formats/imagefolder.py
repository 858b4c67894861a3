"""The ImageFolder layout: ``split/class/image``, ``class/image`` or flat, any depth."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from curate.core.errors import DataError, WithheldError
from curate.core.ports import CarriedFile
from curate.core.records import ImageRecord
from curate.formats.reading import iter_blocks
from curate.formats.walk import is_text_path, iter_files

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".gif"),
        *(".tif", ".tiff", ".bmp", ".dib", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".psd", ".dng", ".cr2", ".nef", ".arw"),
    }
)
"""What is treated as an image; formats that the codec does not know are withheld."""

CARRIED_SUFFIXES = frozenset({".txt", ".json", ".csv", ".xml", ".parquet"})
"""Annotations that go to the output as they are."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


class ImageFolder:
    """A folder of images, opened for reading only.

    An image's id is its path relative to the folder. Its split is the first
    component, if that is a usual name of a split; its category is the name of
    the folder that holds it, unless that is the split. Files whose path is not
    valid UTF-8 are listed under a path that is (see ``iter_files``), and never read.

    Args:
        root: the dataset's folder.

    Raises:
        DataError: if it is not a readable folder.
    """

    layout = "imagefolder"

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not self.root.is_dir():
            raise DataError(f"SOURCE {str(root)!r} is not a folder")

    def records(self) -> Iterator[ImageRecord]:
        """Every image, in the order of its path."""
        for relative, status in iter_files(self.root):
            if stat.S_ISREG(status.st_mode) and is_image_name(relative):
                yield parse_record(relative)

    def others(self) -> Iterator[CarriedFile]:
        """Every file that is not an image, in the order of its path."""
        for relative, status in iter_files(self.root):
            if not (stat.S_ISREG(status.st_mode) and is_image_name(relative)):
                carried = stat.S_ISREG(status.st_mode) and is_carried_name(relative)
                yield CarriedFile(
                    PurePosixPath(relative), relative, carried and is_text_path(relative)
                )

    def locate(self, other: CarriedFile) -> Path:
        """Where a file that is not an image can be read."""
        return self.root / other.uri

    def stamp(self, record: ImageRecord) -> str:
        """Size and time of change, which tell whether the file is still the same."""
        try:
            status = (self.root / record.uri).stat()
        except OSError:
            return "gone"
        return f"{status.st_size}.{status.st_mtime_ns}"

    def read(self, record: ImageRecord) -> bytes:
        """The stored bytes of one image.

        Raises:
            WithheldError: if this file cannot be read or its name is not valid text.
            SourceChangedError: if it is no longer there.
            SetupError: if SOURCE as a whole cannot be read.
        """
        if not is_text_path(record.uri):
            raise WithheldError("name", "the file name is not valid UTF-8")
        return b"".join(iter_blocks(self.root / record.uri, record.id))


def is_image_name(path: str) -> bool:
    """Whether a file of this name is treated as an image."""
    name = PurePosixPath(path)
    return name.suffix.lower() in IMAGE_SUFFIXES and not name.name.startswith("._")


def is_carried_name(path: str) -> bool:
    """Whether a file of this name is an annotation that may go to the output."""
    name = PurePosixPath(path)
    return name.suffix.lower() in CARRIED_SUFFIXES and not name.name.startswith(".")


def parse_record(path: str) -> ImageRecord:
    """Read split and category from an image's relative path.

    Args:
        path: relative POSIX path, such as ``train/n02119022/n02119022_11154.JPEG``.
    """
    folders = PurePosixPath(path).parts[:-1]
    split = folders[0] if folders and folders[0].lower() in SPLITS else None
    classes = folders[1:] if split else folders
    return ImageRecord(id=path, uri=path, split=split, category=classes[-1] if classes else None)
