"""Pascal VOC's XML, lists and segmentations: dropped with their images, made for those made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

import numpy as np

from curate.core.ports import CarriedFile
from curate.core.records import ImageRecord
from curate.formats.annotations import open_annotation, resolve
from curate.formats.editing.lists import Decide, edit_lines
from curate.formats.editing.mentions import Mentions
from curate.formats.editing.naming import rename_stem
from curate.formats.editing.values import DROPPED, EDITED, SAME, Edits, Fate, Made, Outcome
from curate.formats.editing.voc_xml import move_xml
from curate.formats.maps import VOID, encode_voc_map, load_voc_map
from curate.formats.on_disk import NamesOnDisk
from curate.formats.voc import ANNOTATIONS, IMAGES, LISTS, MAPS, Voc

_LINE = re.compile(r"(\s*)(\S+)(.*)", re.DOTALL)


class VocEditor:
    """Edits the lists of Pascal VOC, and makes XML and segmentations.

    Args:
        source: the dataset.
        edits: what is to be changed.
    """

    def __init__(self, source: Voc, edits: Edits) -> None:
        self._source = source
        self._folder = source.folder
        self._edits = edits
        self._mentions = Mentions(source, edits)

    @cached_property
    def _names(self) -> NamesOnDisk:
        """Images by what they are called in all folders: those kept, and those removed."""
        names = NamesOnDisk()
        for record in self._source.records():
            kind, stem = self._source.kind_of(record.id)
            if kind == IMAGES:
                kept = "kept" if self._edits.is_kept(record.id) else "removed"
                names.add(kept, stem, record.id)
        return names

    def edit(self, other: CarriedFile, target: BinaryIO) -> Fate:
        """Edit a list; drop what belongs to a removed image; all else goes through."""
        path = str(other.path)
        kind, stem = self._source.kind_of(path)
        if kind == LISTS and path.endswith(".txt"):
            with open_annotation(self._folder, path) as file:
                changed = edit_lines(file, path, self._decider(path), target)
            return EDITED if changed else SAME
        if kind == ANNOTATIONS or kind in MAPS:
            return SAME if self._is_kept(stem) else DROPPED
        return Fate(Outcome.SAME, self._mentions.note(other))

    def iter_new(self) -> Iterator[tuple[str, bytes]]:
        """An XML and segmentations for every image made from one that has them."""
        for record in self._source.records():
            for made in self._edits.made_from(record.id):
                yield from self._make_files(record, made)

    def _is_kept(self, stem: str) -> bool:
        """Whether an image is kept, or none of this name was there."""
        return self._names.get("removed", stem) is None or self._names.get("kept", stem) is not None

    def _decider(self, path: str) -> Decide:
        year = path.rpartition(f"{LISTS}/")[0].rstrip("/")

        def decide(line: str, where: str) -> tuple[bool, list[str]]:
            if (found := _LINE.fullmatch(line)) is None:
                return True, []
            before, name, after = found.groups()
            stem = resolve(year, name, where)
            image = self._names.get("kept", stem) or self._names.get("removed", stem)
            if image is None:
                return True, []  # such as a class in a list of classes
            added = [
                before + rename_stem(name, image, made.id) + after
                for made in self._edits.made_from(image)
            ]
            return self._is_kept(stem), added

        return decide

    def _make_files(self, record: ImageRecord, made: Made) -> Iterator[tuple[str, bytes]]:
        kind, stem = self._source.kind_of(record.id)
        year = record.id.rpartition(f"{IMAGES}/")[0]
        if kind != IMAGES:
            return
        name = stem[len(year) :]
        new = posixpath.relpath(self._source.kind_of(made.id)[1], year or ".")
        path = f"{year}{ANNOTATIONS}/{name}.xml"
        if self._folder.leaf(path) is not None:
            data = move_xml(self._folder.read(path), record.id, made, path)
            yield f"{year}{ANNOTATIONS}/{new}.xml", data
        for folder, is_classes in MAPS.items():
            path = f"{year}{folder}/{name}.png"
            if self._folder.leaf(path) is None:
                continue
            data = self._folder.read(path)
            if self._source.is_map(path, data):
                made_map = data if made.is_copy else _move_map(data, made, is_classes, path)
                yield f"{year}{folder}/{new}.png", made_map


def _move_map(data: bytes, made: Made, is_classes: bool, where: str) -> bytes:
    """A segmentation for an image that was made; what nobody has labelled is void."""
    values = load_voc_map(data)
    affine = made.map_for((values.shape[1], values.shape[0]), where)
    moved = affine.mask(values, fill=VOID)
    if not is_classes:  # objects are numbered without a gap, in the order of the XML
        numbers = np.setdiff1d(np.unique(moved), [0, VOID])
        order = np.arange(256, dtype=np.uint8)
        order[numbers] = np.arange(1, len(numbers) + 1, dtype=np.uint8)
        moved = order[moved]
    return encode_voc_map(moved)
