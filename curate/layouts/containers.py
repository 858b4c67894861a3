"""What layouts have in common whose images stand inside larger files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from curate.core.errors import DataError, WithheldError
from curate.core.protocols import CarriedFile
from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder, Leaf, is_text_path
from curate.layouts.files import CARRIED_SUFFIXES, is_image_name, split_in, split_of_folders

_DEPTH = 2
_USUAL_FOLDERS = frozenset({"data", "default", "plain_text", "shards"})


class _Closeable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closeable)


class ContainerLayout:
    """A dataset whose images stand inside larger files; an image's id begins with its file's path.

    A layout of this kind says which files those are. Its records' uris are two
    numbers and the container's path, as ``format_uri`` writes them.

    Args:
        folder: where the dataset is.
    """

    layout: str
    kind: str
    """What a container is called in messages."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.place = folder.place

    def is_container(self, leaf: Leaf) -> bool:
        """Whether a file holds images of the dataset."""
        raise NotImplementedError

    def check(self) -> Iterator[str]:
        """Look the annotations over; nothing to see where there are none."""
        yield from ()

    def containers(self) -> Iterator[str]:
        """Paths of the files that hold images, sorted."""
        yield from self._containers

    def containers_by_id(self) -> list[str]:
        """The containers in the order of their records' ids, in which a slash follows each."""
        return sorted(self._containers, key=lambda path: f"{path}/".encode())

    def container_of(self, record_id: str) -> str | None:
        """The container in which an image of this id would stand, or None."""
        parents = (str(parent) for parent in PurePosixPath(record_id).parents)
        return next((parent for parent in parents if parent in self._known), None)

    def open_container(self, container: str) -> BinaryIO:
        """Open one container; all its images depend on it, so none is withheld for it.

        Raises:
            DataError: if it cannot be read or has gone.
            SetupError: if its storage does not answer.
        """
        try:
            return self.folder.open(container)
        except WithheldError as error:
            raise DataError(
                f"{container!r} in {self.folder.name} cannot be read: {error.detail}; "
                "mend that and run the same command again"
            ) from None

    def stamp(self, record: ImageRecord) -> str:
        """A short text that changes when the container does."""
        leaf = self.folder.leaf(parse_uri(record.uri)[2])
        return "gone" if leaf is None else leaf.stamp

    def annotations(self, columns: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What annotations say of the images; nothing, where the layout has none."""
        yield from ()

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Other names of the images; none, where they are called by their paths."""
        yield from ()

    def others(self) -> Iterator[CarriedFile]:
        """Every file beside the containers, in the order of its path."""
        for leaf in self.folder.leaves():
            if leaf.path not in self._known:
                yield _other(leaf, self.kind)

    def is_map(self, path: str, data: bytes) -> bool:
        """Whether a file is proven to be a map of labels; none is carried here."""
        return False

    def open(self, other: CarriedFile) -> BinaryIO:
        """Open a file that holds no image."""
        return self.folder.open(other.uri)

    @cached_property
    def _containers(self) -> tuple[str, ...]:
        found = tuple(leaf.path for leaf in self.folder.leaves() if self.is_container(leaf))
        for path in found:
            if not is_text_path(path):
                raise DataError(f"the name of {path!r} is not valid UTF-8; rename it")
        return found

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self._containers)


class LastOpened(Generic[T]):
    """Keeps the container that was used last open for the next image, until itself goes."""

    def __init__(self) -> None:
        self._kept: tuple[str, T] | None = None

    def get(self, container: str, opener: Callable[[str], T]) -> T:
        """The open container; another one is closed."""
        if self._kept is None or self._kept[0] != container:
            self.close()
            self._kept = (container, opener(container))
        return self._kept[1]

    def close(self) -> None:
        """Close what is open."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def __del__(self) -> None:
        self.close()


def format_uri(first: int, second: int, container: str) -> str:
    """Write where an image stands: two numbers, which the layout understands, and the file."""
    return f"{first}:{second}:{container}"


def parse_uri(uri: str) -> tuple[int, int, str]:
    """Read what ``format_uri`` has written."""
    first, second, container = uri.split(":", 2)
    return int(first), int(second), container


def split_of(path: str) -> str | None:
    """The split that a container's folders or name tell, such as ``train-00000.tar``."""
    return split_of_folders(path) or split_in(PurePosixPath(path).name)


def iter_usual_places(folder: Folder) -> Iterator[tuple[str, frozenset[str]]]:
    """Folders in which containers usually stand, with their names: to recognise a layout by.

    Those are the top, the folders of splits, and a few more, one in another. No
    other folder is listed: there may be thousands of them, full of images.
    """
    waiting = [""]
    while waiting:
        place = waiting.pop(0)
        names = folder.names(place)
        yield place, names
        if place.count("/") < _DEPTH:
            waiting += [f"{place}{name}" for name in sorted(names) if is_usual_folder(name)]


def is_usual_folder(name: str) -> bool:
    """Whether a name, with its trailing slash, is that of a folder of containers."""
    plain = name.removesuffix("/")
    return plain != name and (plain.lower() in _USUAL_FOLDERS or split_in(plain) is not None)


def _other(leaf: Leaf, kind: str) -> CarriedFile:
    path = PurePosixPath(leaf.path)
    if not is_text_path(leaf.path):
        return CarriedFile(path, leaf.path, False, "its name is not valid UTF-8")
    if is_image_name(leaf.path):
        return CarriedFile(path, leaf.path, False, f"an image outside the dataset's {kind} files")
    is_annotation = path.suffix.lower() in CARRIED_SUFFIXES and not path.name.startswith(".")
    return CarriedFile(path, leaf.path, leaf.regular and is_annotation)
