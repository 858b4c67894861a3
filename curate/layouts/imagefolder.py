"""ImageFolder layout: ``split/class/image``, ``class/image`` or flat, at any depth."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from curate.core.records import ImageRecord
from curate.layouts.access.folder import Folder
from curate.layouts.contents import note_contained
from curate.layouts.files import SPLITS, FileLayout, split_in
from curate.storage.index import NameIndex

GENERIC = frozenset({"image", "images", "img", "imgs", "jpegimages"})
"""Names of folders that are no classes, in lower case."""
_KINDS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_SPLIT_WORD = re.compile(
    r"(?:^|(?<=[_.\-]))(?:train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?)(?=$|[\d_.\-])",
    re.IGNORECASE,
)
_FILLING = re.compile(r"images?|imgs?|jpegimages|[\W\d_]+", re.IGNORECASE)


class ImageFolder(FileLayout):
    """Folder of images described by their paths only.

    The split of an image is given by the outermost folder with the name of a split, or with such
    a word in its name; its category is the name of the innermost folder below the split, other
    than ``images`` and the like.
    """

    layout = "imagefolder"

    @classmethod
    def recognize(cls, folder: Folder) -> str | None:
        """Accept any folder; the other layouts are tried first."""
        return "a folder of images"

    def parse(self, path: str) -> ImageRecord:
        """Parse split and category from the path of an image."""
        split, classes = self._divide(path)
        category = classes[-1] if classes else None
        if len(classes) > 1 and self._shared.get("shared", classes[-1]) is not None:
            category = "/".join(classes)
        return ImageRecord(id=path, uri=path, split=split, category=category)

    def check(self, strict: bool = False) -> Iterator[str]:
        """Report files that contain images, which are not read, and classes of the same name."""
        yield from note_contained(self.folder)
        yield from self._note_shared()

    def classes_of(self, path: str) -> list[str]:
        """Return the folders of an image, below the one of its split, that may be classes."""
        return self._divide(path)[1]

    def _divide(self, path: str) -> tuple[str | None, list[str]]:
        """Return the split of an image, and the folders below it that may be classes."""
        folders = PurePosixPath(path).parts[:-1]
        for depth in range(len(folders)):
            if (split := self._split_of(folders, depth)) is not None:
                return split, _drop_generic(folders[depth + 1 :])
        return None, _drop_generic(folders)

    def _split_of(self, folders: Sequence[str], depth: int) -> str | None:
        """Return the split that a folder is, by its name and its siblings; None if it is none.

        Classes may have names of splits, so a folder below the root is a split only if there
        is another split next to it, or nothing else. A folder with the word of a split in its name
        is one if another split with an otherwise equal name is next to it, or nothing else.
        """
        name = folders[depth]
        if depth == 0 and name.lower() in SPLITS:
            return name
        if (word := split_in(name)) is None:
            return None
        split = name if name.lower() in SPLITS else word
        siblings = self._siblings("/".join(folders[:depth]))
        others = sum(each.lower() in SPLITS for each in siblings if each != name)
        if siblings == {name} or (split == name and others):
            return split
        own = _template(name)
        kinds = {_kind(found) for each in siblings
                 if (found := split_in(each)) and _template(each) == own}  # fmt: skip
        return split if len(kinds) > 1 else None

    def _siblings(self, parent: str) -> frozenset[str]:
        if parent not in self._parents:
            names = self.folder.list_names(parent)
            folders = [name[:-1] for name in names if name[-1] == "/"]
            is_many = len(folders) > _MAX_SIBLINGS  # only those that matter are held
            self._parents[parent] = frozenset(
                name for name in folders if not is_many or split_in(name)
            ) | ({""} if is_many else set())
        return self._parents[parent]

    @cached_property
    def _shared(self) -> NameIndex:
        """Paths of classes by their last folder; ``shared`` are those that several paths have."""
        names, last = NameIndex(), ""
        for info in self.folder.files():
            path = posixpath.dirname(info.path)
            if path == last or not self._is_image(info):
                continue
            last, classes = path, self.classes_of(info.path)
            folders = "/".join(classes)
            if not classes or names.add("class", classes[-1], folders):
                continue
            if names.get("class", classes[-1]) != folders:
                names.add("shared", classes[-1], folders)
        return names

    def _note_shared(self) -> Iterator[str]:
        count, name = self._shared.only_in("shared", "")
        if count:
            found = [self._shared.get(kind, name) for kind in ("class", "shared")]
            yield (
                f"Names of classes that are folders in several paths: {count:,}, such as "
                f"{found[0]!r} and {found[1]!r}; these classes are named by their paths."
            )

    @cached_property
    def _parents(self) -> dict[str, frozenset[str]]:
        return {}


_MAX_SIBLINGS = 1000


def _drop_generic(folders: Sequence[str]) -> list[str]:
    return [name for name in folders if name.lower() not in GENERIC]


def _kind(split: str) -> str:
    return _KINDS.get(split, split)


def _template(name: str) -> str:
    """Return a name without words of splits, and without separators and words such as images."""
    return _FILLING.sub("", _SPLIT_WORD.sub("", name)).lower()
