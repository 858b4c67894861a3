"""The Hugging Face folder: images, and ``metadata.jsonl``, ``.csv`` or ``.parquet`` beside them."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import DataError
from curate.core.records import ImageRecord
from curate.formats.annotations import read_head, resolve
from curate.formats.files import CARRIED_SUFFIXES
from curate.formats.folder import Folder
from curate.formats.hf_metadata import iter_described, iter_file_names
from curate.formats.imagefolder import ImageFolder
from curate.formats.on_disk import NamesOnDisk

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


class HfFolder(ImageFolder):
    """Images that ``metadata`` files name, as the ``imagefolder`` loader of `datasets` reads them.

    Every ``metadata`` file speaks of the images in its own folder and below. Split
    and category are read from the folders, never from a column.
    """

    layout = "hf_folder"
    carried_suffixes = CARRIED_SUFFIXES | {".jsonl"}

    @classmethod
    def recognise(cls, folder: Folder) -> str | None:
        """A metadata file that speaks of file names: in SOURCE, or in a folder of it or of data."""
        for place in _usual_places(folder):
            for name in NAMES:
                path = posixpath.join(place, name)
                if folder.leaf(path) is not None and _speaks_of_files(folder, path):
                    return path
        return None

    def parse(self, path: str) -> ImageRecord:
        """Read split and category from an image's path; a leading ``data/`` says nothing."""
        inner = path.removeprefix("data/")
        said = super().parse(inner)
        return ImageRecord(id=path, uri=path, split=said.split, category=said.category)

    def check(self) -> Iterator[str]:
        """Look for every image that the metadata names.

        Raises:
            DataError: if a metadata file is malformed, or names an image that is
                absent, outside its folder or named before.
        """
        names = NamesOnDisk()
        for leaf in self.folder.leaves():
            if PurePosixPath(leaf.path).name in NAMES:
                self._check_metadata(leaf.path, names)
            elif self._is_image(leaf):
                names.add("there", leaf.path)
        count, example = names.only_in("there", "named")
        if count:
            yield f"{count:,} images stand in no metadata file, such as {example!r}."
        names.close()

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The rows of the metadata, each for every image that it names.

        Raises:
            DataError: if a metadata file is malformed.
        """
        for leaf in self.folder.leaves():
            if PurePosixPath(leaf.path).name in NAMES:
                place = posixpath.dirname(leaf.path)
                for (where, key, name), row in iter_described(self.folder, leaf.path):
                    yield resolve(place, name, f"{where}: {key}"), row

    def _check_metadata(self, path: str, names: NamesOnDisk) -> None:
        place = posixpath.dirname(path)
        for where, key, name in iter_file_names(self.folder, path):
            image = resolve(place, name, f"{where}: {key}")
            leaf = self.folder.leaf(image)
            if leaf is None or not leaf.regular:
                raise DataError(f"{where}: {key} is {name!a}, and {image!a} is not there")
            # Columns of further images may share them; a row's own image is its id.
            if not names.add("named", image) and key == "file_name":
                raise DataError(f"{where}: {key} is {name!a}, which an earlier row has")


def _usual_places(folder: Folder) -> Iterator[str]:
    yield ""
    tops = sorted(name for name in folder.names() if name.endswith("/"))
    yield from tops
    if "data/" in tops:
        yield from (f"data/{name}" for name in sorted(folder.names("data")) if name[-1:] == "/")


def _speaks_of_files(folder: Folder, path: str) -> bool:
    if path.endswith(".parquet"):
        return True  # its column names stand at its end; no other layout has a file of this name
    return b"file_name" in read_head(folder, path)
