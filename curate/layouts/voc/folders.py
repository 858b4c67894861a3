"""Folders of images and of their VOC annotations: those of VOC itself, and of other datasets."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curate.layouts.access.folder import Folder
from curate.layouts.annotations import read_head
from curate.layouts.containers import iter_listed_folders
from curate.layouts.files import is_image_name, split_in
from curate.layouts.imagefolder import GENERIC, ImageFolder

IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"
SUFFIX = ".xml"
_DEVKIT = "VOCdevkit"
_INNER = ("xml/", "xmls/")
"""Folders of annotations inside the one of all annotations."""
_MAX_EXAMINED = 8
_MAX_SIBLINGS = 16
_ROOT = re.compile(rb"(?>\s*(?:<\?.*?\?>|<!--.*?-->))*+\s*<annotation[\s>]", re.DOTALL)
_FILENAME = re.compile(rb"<filename>([^<]{1,1024})</filename>")
_OWN = re.compile(rb"<(?:size|bndbox)[\s>]")


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders of images and of their annotations, below the same parent.

    Args:
        parent: path of the parent; empty for the root of the dataset.
        images: path below it; empty if the images are in the parent itself.
        annotations: likewise.
    """

    parent: str
    images: str
    annotations: str


@dataclass(slots=True)
class Found:
    """The folders by which a dataset is recognized as VOC.

    Args:
        folders: the folders, those with the longest path of annotations first.
        why: what was found, in one line; empty if nothing was.
        is_standard: whether they are ``JPEGImages`` and ``Annotations``.
        has_classes: whether the folders of the images would be several classes.
        is_partial: whether they would, and fewer than half of the images have annotations.
    """

    folders: list[Folders] = field(default_factory=list)
    why: str = ""
    is_standard: bool = False
    has_classes: bool = False
    is_partial: bool = False


def find_folders(folder: Folder) -> Found:
    """Find the folders of images and annotations among the first folders of a dataset.

    These are ``JPEGImages`` beside ``Annotations``. Elsewhere an annotation has the name of its
    image, and is beside it, or in a folder whose path differs by one folder in place of one or
    two (``annotations/xmls/a.xml`` and ``images/a.jpg``), or two in place of two.
    """
    if years := _find_years(folder):
        shown = (posixpath.join(year, ANNOTATIONS) for year in years)
        folders = [Folders(year, IMAGES, ANNOTATIONS) for year in years]
        return Found(folders, f"{', '.join(shown)} beside {IMAGES}", is_standard=True)
    search = _Search(folder)
    for path, names in _iter_listed(folder):
        search.add(path, names)
    return search.finish()


def is_annotation_head(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an annotation of VOC.

    Its root is ``annotation``, as in LabelMe, but with a size or a box of VOC in it.
    """
    return _ROOT.match(head) is not None and _OWN.search(head) is not None


def divide(path: str, inner: str) -> Iterator[tuple[str, str]]:
    """Iterate over what is before and after a folder in a path, the outermost one first.

    An empty folder is between any two parts of the path.
    """
    parts, wanted = path.split("/"), inner.split("/") if inner else []
    for start in range(len(parts) - len(wanted)):
        end = start + len(wanted)
        if parts[start:end] == wanted:
            yield "/".join(parts[:start]), "/".join(parts[end:])


class _Search:
    """Search for annotations with the names of images, folder by folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._found: dict[Folders, None] = {}
        self._images: dict[str, int] = {}
        self._annotated = 0
        self._why = ""

    def add(self, path: str, names: frozenset[str]) -> None:
        """Add a folder with its names."""
        images = _images_by_stem(names)
        if images:
            self._images[path] = len(images)
        labels = {name[: -len(SUFFIX)]: name for name in names if name.lower().endswith(SUFFIX)}
        beside = labels.keys() & images.keys()
        for stem in sorted(beside or labels)[:_MAX_EXAMINED]:
            label = join(path, labels[stem])
            head = read_head(self._folder, label)
            if not is_annotation_head(head):
                continue
            if beside:
                self._take(Folders("", "", ""), len(beside), label, join(path, images[stem]))
            else:
                self._find_images(path, labels, _find_name(head))
            return

    def finish(self) -> Found:
        """Return what was found."""
        folders = sorted(self._found, key=lambda each: (-len(each.annotations), each.parent))
        tops = tuple(
            join(each.parent, each.annotations.partition("/")[0]) + "/"
            for each in folders
            if each.annotations
        )
        images = {
            path: count for path, count in self._images.items() if not f"{path}/".startswith(tops)
        }
        reader = ImageFolder(self._folder)
        classes = {tuple(reader.classes_of(join(path, "a"))) for path in images}
        has_classes = len(classes - {()}) > 1
        is_partial = has_classes and 2 * self._annotated < sum(images.values())
        return Found(folders, self._why, has_classes=has_classes, is_partial=is_partial)

    def _take(self, found: Folders, count: int, label: str, image: str) -> None:
        """Take a folder with ``count`` annotations of images, and one of them."""
        self._found[found] = None
        self._annotated += count
        self._why = self._why or f"{label} for {image}"

    def _find_images(self, path: str, labels: Mapping[str, str], name: str) -> None:
        """Find the folder of the images of annotations, of which one names ``name``.

        A folder of a usual name is preferred, then one with that image, then one below more of the
        same folders, then one with more of the names.
        """
        found = self._choose(labels, name, self._iter_known(path))
        found = found or self._choose(labels, name, self._iter_candidates(path))
        if found is not None:
            folders, both, image = found
            self._take(folders, len(both), join(path, labels[both[0]]), image)

    def _choose(
        self, labels: Mapping[str, str], name: str, candidates: Iterator[tuple[Folders, str]]
    ) -> tuple[Folders, list[str], str] | None:
        """Return the best candidate, the names that are also of images, and the first image."""
        best, chosen = (False, False, 0, 0), None
        for found, inner in candidates:
            path = join(found.parent, found.images, inner)
            images = _images_by_stem(self._folder.list_names(path))
            if images:
                self._images.setdefault(path, len(images))
            both = sorted(labels.keys() & images.keys())
            is_named = name in images.values()
            rank = (_is_usual(found.images), is_named, inner.count("/"), len(both))
            if both and (chosen is None or rank > best):
                best, chosen = rank, (found, both, join(path, images[both[0]]))
        return chosen

    def _iter_known(self, path: str) -> Iterator[tuple[Folders, str]]:
        """Iterate over candidates as `_iter_candidates` does, by the names of known ones."""
        for known in [each for each in self._found if each.annotations]:
            for before, inner in divide(f"{path}/", known.annotations):
                yield Folders(before, known.images, known.annotations), inner

    def _iter_candidates(self, path: str) -> Iterator[tuple[Folders, str]]:
        """Iterate over folders that may have the images of a folder of annotations.

        Yields:
            The folders, and the path below both.
        """
        parts = path.split("/") if path else []
        for size in (1, 2):
            for start in range(len(parts) - size + 1):
                parent, own = "/".join(parts[:start]), parts[start : start + size]
                inner = "".join(f"{part}/" for part in parts[start + size :])
                for images in self._iter_siblings(parent, own):
                    yield Folders(parent, images, "/".join(own)), inner

    def _iter_siblings(self, parent: str, own: Sequence[str]) -> Iterator[str]:
        """Iterate over folders beside one of annotations, and the parent itself, as ''."""
        names = _folders(self._folder, parent)
        siblings = [name for name in names if name != own[0] and _may_share_split(name, own[0])]
        siblings = sorted(siblings, key=lambda name: not _is_usual(name))[:_MAX_SIBLINGS]
        yield from siblings
        yield ""
        for name in filter(_is_usual, siblings if len(own) > 1 else ()):
            inner = _folders(self._folder, join(parent, name))
            yield from (f"{name}/{each}" for each in inner[:_MAX_SIBLINGS])


def join(*parts: str) -> str:
    """Join parts of a path, some of which may be empty or end with a slash."""
    return "/".join(part.rstrip("/") for part in parts if part)


def _iter_listed(folder: Folder) -> Iterator[tuple[str, frozenset[str]]]:
    """Iterate over the folders that are listed to recognize layouts, and ``xmls`` in them."""
    seen = set()
    for parent, names in iter_listed_folders(folder):
        inner = [f"{parent}{name}" for name in _INNER if name in names]
        for path in (parent, *inner):
            if path not in seen:
                seen.add(path)
                yield path[:-1], names if path == parent else folder.list_names(path[:-1])


def _find_years(folder: Folder) -> list[str]:
    """Return the folders with ``JPEGImages`` and ``Annotations``, among the first folders."""
    tops = _folders(folder, "")
    usual = [path for path in tops if path != _DEVKIT]
    if _DEVKIT in tops:
        usual += [f"{_DEVKIT}/{name}" for name in _folders(folder, _DEVKIT)]
    for paths in ([""], usual):  # mostly there, without listing folders of images
        if found := [path for path in paths if _is_year(folder, path)]:
            return found
    both = {f"{IMAGES}/", f"{ANNOTATIONS}/"}
    listed = sorted(path[:-1] for path, names in iter_listed_folders(folder) if both <= names)
    return [path for path in listed if _is_year(folder, path)]


def _is_year(folder: Folder, parent: str) -> bool:
    inner = (posixpath.join(parent, name) for name in (IMAGES, ANNOTATIONS))
    return all(folder.list_names(path) for path in inner)


def _folders(folder: Folder, parent: str) -> list[str]:
    return sorted(name[:-1] for name in folder.list_names(parent) if name[-1] == "/")


def _find_name(head: bytes) -> str:
    """Return the name of the image that an annotation states near its start."""
    found = _FILENAME.search(head)
    return posixpath.basename(found[1].decode(errors="replace").strip()) if found else ""


def _is_usual(images: str) -> bool:
    return posixpath.basename(images).lower() in GENERIC


def _may_share_split(name: str, other: str) -> bool:
    splits = split_in(name), split_in(other)
    return None in splits or splits[0] == splits[1]


def _images_by_stem(names: frozenset[str]) -> dict[str, str]:
    found = sorted(name for name in names if name[-1] != "/" and is_image_name(name))
    return {posixpath.splitext(name)[0]: name for name in found}
