"""Layouts in which images are stored inside larger files (containers)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import BinaryIO, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import DOCUMENT, SidecarFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import FileInfo, Folder
from curate.layouts.access.tree import POINTER_BYTES, TOOL_FOLDERS, describe_pointer, is_text_path
from curate.layouts.files import (
    ANNOTATION_SUFFIXES,
    FolderLayout,
    is_document,
    is_image_name,
    split_in,
    split_of_folders,
)

_MAX_DEPTH = 3  # folders below the root, when recognizing a layout
_MAX_LISTED = 64  # folders of unusual names
_DESCRIPTION = re.compile(r"(?:dataset_infos?|dataset_dict|state|sizes|.*_stats)\.json$")
_USUAL_FOLDERS = frozenset({"data", "default", "plain_text", "shards"})


class _Closeable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closeable)


class ContainerLayout(FolderLayout):
    """Dataset with images inside larger files; an image id starts with the container's path.

    A subclass defines which files are containers. The URI of a record consists of two
    numbers and the path of the container, see `format_uri`.

    Args:
        folder: files of the dataset.
    """

    layout: str
    kind: str
    """Name of the container format in messages."""

    def is_container(self, info: FileInfo) -> bool:
        """Return whether a file contains images of the dataset."""
        raise NotImplementedError

    def check(self, strict: bool = False) -> Iterator[str]:
        """Report images outside the containers, which are left out.

        Raises:
            DataError: if there are no containers.
        """
        if not self._containers:
            raise DataError(
                f"{self.folder.name} has no {self.kind} files with images; drop --format "
                f"{self.layout} to recognize the layout"
            )
        found = (info.path for info in self.folder.files() if is_image_name(info.path))
        for example in itertools.islice(found, 1):
            many = 1 + sum(1 for _ in found)
            yield (
                f"{many:,} images outside the {self.kind} files left out, such as {example!r}; to "
                "obfuscate such images instead, use --format imagefolder."
            )

    def containers(self) -> Iterator[str]:
        """Iterate over the paths of the containers, sorted."""
        yield from self._containers

    def containers_by_id(self) -> list[str]:
        """Return the containers in the order of their record ids, which append a slash."""
        return sorted(self._containers, key=lambda path: f"{path}/".encode())

    def container_of(self, record_id: str) -> str | None:
        """Return the container to which a record id belongs, or None."""
        parents = (str(parent) for parent in PurePosixPath(record_id).parents)
        return next((parent for parent in parents if parent in self._known), None)

    def open_container(self, container: str) -> BinaryIO:
        """Open a container; all its images depend on it, so an error ends the run.

        Raises:
            DataError: if it cannot be read or no longer exists.
            SetupError: if the storage does not respond.
        """
        info = self.folder.info(container)
        try:
            if info is not None and info.size <= POINTER_BYTES:
                reason = describe_pointer(self.folder.read(container))
                if reason is not None:
                    raise WithheldError("pointer", reason)
            return self.folder.open(container)
        except WithheldError as error:
            raise DataError(
                f"{container!r} in {self.folder.name} cannot be read: {error.detail}; "
                "fix this and run the same command again"
            ) from None

    def stamp(self, record: ImageRecord) -> str:
        """Return a short text that changes when the container changes."""
        info = self.folder.info(parse_uri(record.uri)[2])
        return "gone" if info is None else info.stamp

    def sidecars(self) -> Iterator[SidecarFile]:
        """Iterate over all files that are not containers, sorted by path."""
        for info in self.folder.files():
            if info.path not in self._known:
                yield self._to_sidecar(info)

    def _to_sidecar(self, info: FileInfo) -> SidecarFile:
        path = PurePosixPath(info.path)
        if not is_text_path(info.path):
            return SidecarFile(path, info.path, False, "its name is not valid UTF-8")
        if is_image_name(info.path):
            reason = f"an image outside the dataset's {self.kind} files"
            return SidecarFile(path, info.path, False, reason)
        is_annotation = path.suffix.lower() in ANNOTATION_SUFFIXES and path.name[0] != "."
        format_name = ""
        if info.regular and _DESCRIPTION.match(path.name):
            format_name = "info"
        elif info.regular and path.suffix.lower() == ".parquet" and path.name[0] != ".":
            format_name = "parquet"
        elif is_document(info):
            format_name = DOCUMENT
        return SidecarFile(
            path,
            info.path,
            bool(format_name) or (info.regular and is_annotation),
            f"not an annotation of {self.layout}",
            format_name,
        )

    @cached_property
    def _containers(self) -> tuple[str, ...]:
        found = tuple(info.path for info in self.folder.files() if self.is_container(info))
        for path in found:
            if not is_text_path(path):
                raise DataError(f"the name of {path!r} is not valid UTF-8; rename it")
        return found

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._containers)


class LastOpened(Generic[T]):
    """Cache of the container that was used last."""

    def __init__(self) -> None:
        self._kept: tuple[str, T] | None = None

    def get(self, container: str, opener: Callable[[str], T]) -> T:
        """Return the open container; closes the previous one if it differs."""
        if self._kept is None or self._kept[0] != container:
            self.close()
            self._kept = (container, opener(container))
        return self._kept[1]

    def close(self) -> None:
        """Close the cached container."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def __del__(self) -> None:
        self.close()


def format_uri(first: int, second: int, container: str) -> str:
    """Format the URI of an image: two numbers defined by the layout, and the container."""
    return f"{first}:{second}:{container}"


def parse_uri(uri: str) -> tuple[int, int, str]:
    """Parse a URI written by `format_uri`."""
    first, second, container = uri.split(":", 2)
    return int(first), int(second), container


def split_of(path: str) -> str | None:
    """Return the split named by the folders or the name of a container, or None."""
    return split_of_folders(path) or split_in(PurePosixPath(path).name)


def iter_listed_folders(folder: Folder) -> Iterator[tuple[str, frozenset[str]]]:
    """Iterate over the folders in which containers are looked for, with the names in them.

    These are the root, folders named after splits and a few others, and then up to 64 folders
    of other names, such as the configurations of a repository of the Hub; three levels deep.
    There may be thousands of others, full of images. Short listings are cached, since every
    layout looks at them.
    """
    known = _LISTINGS.get(folder)
    if known is None:
        found = []
        for each in _iter_listings(folder):
            yield each
            found.append(each)
        if sum(len(names) for _, names in found) <= _MAX_CACHED:
            _LISTINGS[folder] = found
        return
    yield from known


_LISTINGS: WeakKeyDictionary[Folder, list[tuple[str, frozenset[str]]]] = WeakKeyDictionary()
_MAX_CACHED = 100_000  # names


def _iter_listings(folder: Folder) -> Iterator[tuple[str, frozenset[str]]]:
    usual, listed = [""], 0
    others: list[str] = []
    while usual or (others and listed < _MAX_LISTED):
        listed += not usual
        path = usual.pop(0) if usual else others.pop(0)
        names = folder.list_names(path)
        yield path, names
        for name in sorted(names) if path.count("/") < _MAX_DEPTH else ():
            if is_usual_folder(name):
                usual.append(f"{path}{name}")
            elif name[-1] == "/" and name[0] != "." and name[:-1] not in TOOL_FOLDERS:
                others.append(f"{path}{name}")


def find_loose_image(folder: Folder) -> str | None:
    """Return the path of an image that is a file of its own, in the folders that are listed."""
    for path, names in iter_listed_folders(folder):
        found = min(filter(is_image_name, names), default=None)
        if found is not None:
            return f"{path}{found}"
    return None


def is_usual_folder(name: str) -> bool:
    """Return whether a name with a trailing slash is a usual folder of containers."""
    plain = name.removesuffix("/")
    return plain != name and (plain.lower() in _USUAL_FOLDERS or split_in(plain) is not None)
