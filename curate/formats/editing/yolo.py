"""YOLO's lists and labels: dropped with their images, and made for the images made."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

from curate.core.ports import CarriedFile
from curate.formats.annotations import iter_lines, open_annotation
from curate.formats.editing.lists import Decide, edit_lines
from curate.formats.editing.mentions import Mentions
from curate.formats.editing.naming import rename
from curate.formats.editing.values import DROPPED, EDITED, SAME, Edits, Fate, Made, Outcome
from curate.formats.editing.yolo_lines import move_line
from curate.formats.on_disk import NamesOnDisk
from curate.formats.yolo import Yolo, label_of


class YoloEditor:
    """Edits the lists of a YOLO dataset, and makes labels.

    Args:
        source: the dataset.
        edits: what is to be changed.
    """

    def __init__(self, source: Yolo, edits: Edits) -> None:
        self._source = source
        self._folder = source.folder
        self._edits = edits
        self._mentions = Mentions(source, edits)

    @cached_property
    def _labels(self) -> NamesOnDisk:
        """Labels whose images are kept, and those whose are removed."""
        names = NamesOnDisk()
        for record in self._source.records():
            kept = "kept" if self._edits.is_kept(record.id) else "removed"
            names.add(kept, label_of(record.id))
        return names

    def edit(self, other: CarriedFile, target: BinaryIO) -> Fate:
        """Edit a list; drop the label of a removed image; all else goes through."""
        path = str(other.path)
        if path in self._source.list_paths():
            with open_annotation(self._folder, path) as file:
                changed = edit_lines(file, path, self._decider(path), target)
            return EDITED if changed else SAME
        kept, removed = (self._labels.get(kind, path) for kind in ("kept", "removed"))
        if removed is not None and kept is None:
            return DROPPED
        is_label = kept is not None or other.path.suffix in (".yaml", ".yml")
        return SAME if is_label else Fate(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """A label for every image made from one that has a label."""
        for record in self._source.records():
            for made in self._edits.made_from(record.id):
                path = label_of(record.id)
                if self._folder.leaf(path) is not None:
                    yield label_of(made.id), self._make_label(path, made)

    def _decider(self, path: str) -> Decide:
        def decide(line: str, where: str) -> tuple[bool, list[str]]:
            if not line.strip():
                return True, []
            image = self._source.find_listed(line.strip(), path, where)
            if self._source.find(image) is None:
                return True, []  # absent from SOURCE, too
            made = self._edits.made_from(image)
            return self._edits.is_kept(image), [rename(line.rstrip(), image, m.id) for m in made]

        return decide

    def _make_label(self, path: str, made: Made) -> bytes:
        """The label of an image made from the one whose label this is."""
        if made.affine.is_identity(made.width, made.height):  # labels are of the upright image
            return self._folder.read(path)
        lines = []
        with open_annotation(self._folder, path) as file:
            for where, line in iter_lines(file, path):
                moved = move_line(line, made, self._source.config, where) if line.strip() else line
                if moved is not None:
                    lines.append(f"{moved}\n")
        return "".join(lines).encode()
