"""Rows of tables and lists beside plain image folders, by the images that they name."""

from __future__ import annotations

import csv
import itertools
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile, Source
from curate.layouts.annotations import iter_stored_lines
from curate.layouts.editing.changes import (
    EDITED,
    SAME,
    EditResult,
    Edits,
    Outcome,
    rename,
    rename_stem,
)
from curate.layouts.files import is_image_name
from curate.layouts.groups import ID_COLUMNS, strip_suffix
from curate.layouts.sidecars.text import find_delimiter
from curate.storage.index import NameIndex

FORMATS: Mapping[str, str] = {
    ".csv": "csv", ".jsonl": "jsonl", ".token": "lines", ".tsv": "tsv", ".txt": "lines",
}  # fmt: skip
"""Formats of files of which a row, or a line, can name an image, by suffix."""

_COORDINATE = (
    r"(?:bbox|box(?:es)?|xyxy|xywh|[xy](?:_?(?:min|max)|[0-9])?|left|top|right|bottom|"
    r"landmarks?|keypoints?|polygons?|segmentation|points?)"
)
_COLUMN = re.compile(rf"(?:^|[,;\t\"' ]){_COORDINATE}(?=$|[,;\t\"'\s])", re.IGNORECASE)
_KEY = re.compile(rf'"{_COORDINATE}"\s*:', re.IGNORECASE)
_TEXTS = frozenset(suffix for suffix, name in FORMATS.items() if name == "lines")
_PAIR = re.compile(rb"\s*\d+[ \t]+\S+\s*$")
_MAX_LINE = 1 << 12  # bytes of a line by which its form is told
_NUMBER = re.compile(r"(?<![\w./-])-?\d+(?:\.\d+)?(?![\w/-])")
_MAX_LINES = 10_000  # lines of one row of a CSV file
_HEADER = 2  # lines of a text that need not name an image
_MAX_SHAPES = 1000
_MAX_WORDS = 64
_IDS = frozenset(name.replace("_", "") for name in ID_COLUMNS) | {
    *("idcode", "imagefile", "imagefilename", "imagename", "imagepath", "img", "imgfile"),
    *("imgid", "imgname", "imgpath", "photo", "photoid", "photoname"),
}
"""Names of columns of ids, in lower case and without separators."""
NOT_BY_LINE = (
    "it has records of several lines, not one line per image, so that those of removed images "
    "cannot be removed"
)
"""Reason of a text that is left out."""
_PAIRS = "other files may still name the removed images by the numbers that its lines start with"

Value = tuple[str, bool]
"""A value, and whether it is an id, which may lack the suffix of the file name."""


class RowEditor:
    """Removes the rows that name removed images, and adds rows of generated images.

    A value names an image by its path, relative to the dataset or to the folder of the file, or
    by the end of its path if the file name is unique. Values of id columns may lack the suffix.

    Args:
        source: the dataset.
        edits: edits to apply.
    """

    def __init__(self, source: Source, edits: Edits) -> None:
        self._edits = edits
        self._names = NameIndex()
        for record in source.records():
            for kind, path in (("path", record.id), ("stem", strip_suffix(record.id))):
                self._names.add(kind, path, record.id)
                base = posixpath.basename(path)
                if not self._names.add(f"base {kind}", base, record.id):
                    self._names.add(f"several {kind}", base)
                self._names.add(f"{'kept' if edits.is_kept(record.id) else 'lost'} {kind}", base)

    def edit(self, file: BinaryIO, other: SidecarFile, target: BinaryIO) -> EditResult | None:
        """Write the edited file; None if it is not a table or a list.

        The result has a format if a row names an image. A text with lines that name images and
        lines of another form, such as boxes below a name, is not edited: it is refused if it
        names removed images, and is otherwise unchanged. A row that names several images, such as
        by a stem that is in several folders, is removed with the last of them; the result's note
        counts those of which only some were removed.

        Raises:
            DataError: if a row of a generated image may contain coordinates, which changed.
        """
        folder, changed, header = posixpath.dirname(other.uri), False, ""
        format_name, doubtful, first, is_lost, pairs = "", 0, "", False, 0
        lines = _LineShapes()
        try:
            for number, (stored, values) in enumerate(_iter_rows(file, other), start=1):
                header = header or stored.decode("utf-8-sig")
                named = self._find_all(values, folder)
                format_name = FORMATS[other.path.suffix.lower()] if named else format_name
                kept = all(map(self._edits.is_kept, named.values()))
                ambiguous = list(self._iter_ambiguous(values, named)) if kept else []
                if any(map(self._is_gone, ambiguous)):
                    kept = False
                elif ambiguous:
                    doubtful += 1
                    first = first or f"{ambiguous[0][0]!a} in row {number:,}"
                is_lost |= not kept
                if format_name == "lines" or other.path.suffix.lower() in _TEXTS:
                    lines.add(number, stored, is_naming=bool(named))
                    pairs += not kept and _PAIR.match(stored) is not None
                if kept:
                    target.write(stored)
                changed |= not kept
                for row in self._rows_of_generated(stored, named, other, header):
                    target.write(row)
                    changed = True
        except (UnicodeDecodeError, csv.Error):
            return None
        if lines.are_mixed:
            return EditResult(Outcome.REFUSED, NOT_BY_LINE) if is_lost else SAME
        note = _PAIRS if pairs else None
        if doubtful:
            note = f"{doubtful:,} rows name several images, some of them removed, such as {first}"
        return replace(EDITED if changed else SAME, format=format_name, note=note)

    def _iter_ambiguous(
        self, values: Iterable[Value], named: Mapping[str, str]
    ) -> Iterator[tuple[str, str]]:
        """Iterate over values that name several images, one of them removed, and their kinds."""
        for value, is_id in values:
            base = _base_of(value)
            for kind in ("path", "stem")[: 1 + is_id] if base and value not in named else ():
                found = (self._names.get(f"{what} {kind}", base) for what in ("several", "lost"))
                if all(each is not None for each in found):
                    yield value, kind

    def _is_gone(self, ambiguous: tuple[str, str]) -> bool:
        """Return whether no image of a bare name or stem is kept."""
        value, kind = ambiguous
        base = _base_of(value)
        return base == value.strip() and self._names.get(f"kept {kind}", base) is None

    def _rows_of_generated(
        self, stored: bytes, named: Mapping[str, str], other: SidecarFile, header: str
    ) -> Iterator[bytes]:
        """Iterate over the rows of images generated from the only one that a row names."""
        if len(set(named.values())) != 1:
            return
        row, ((value, image), *_) = stored.decode("utf-8-sig"), named.items()
        start = b"" if stored.endswith(b"\n") else b"\n"
        for generated in self._edits.generated_from(image):
            if not generated.is_copy and _has_coordinates(other, header, row):
                raise DataError(
                    f"{other.uri!r} may contain coordinates, which cannot be transformed for a "
                    "generated image; remove it, or use an augmentation that keeps the geometry"
                )
            has_suffix = posixpath.basename(image) in value
            new = (rename if has_suffix else rename_stem)(value, image, generated.id)
            yield start + row.replace(value, new).encode()

    def _find_all(self, values: Iterable[Value], folder: str) -> dict[str, str]:
        """Return the images that values name, by value."""
        found: dict[str, str] = {}
        for value, is_id in values:
            for kind in ("path", "stem")[: 1 + is_id]:
                image = self._find(value, folder, kind)
                if image is not None:
                    found.setdefault(value, image)
        return found

    def _find(self, value: str, folder: str, kind: str) -> str | None:
        if not value.strip():
            return None
        path = posixpath.normpath(value.strip().replace("\\", "/")).lstrip("/")
        for name in (path, posixpath.join(folder, path)):
            if (found := self._names.get(kind, name)) is not None:
                return found
        base = posixpath.basename(path)
        found = self._names.get(f"base {kind}", base)
        if found is None or self._names.get(f"several {kind}", base) is not None:
            return None
        known = found if kind == "path" else strip_suffix(found)
        return found if f"/{known}".endswith(f"/{path}") or path.endswith(f"/{known}") else None


class _LineShapes:
    """Forms of the lines of a text: the number of words, and what the first one is."""

    def __init__(self) -> None:
        self._naming: set[tuple[int, str]] = set()
        self._others: set[tuple[int, str]] = set()

    def add(self, number: int, stored: bytes, is_naming: bool) -> None:
        """Add a line, by its number from 1."""
        words = stored[:_MAX_LINE].decode("utf-8", "replace").split()
        if not words or len(self._naming) + len(self._others) >= _MAX_SHAPES:
            return
        kind = "number" if _NUMBER.fullmatch(words[0]) else "path" if "/" in words[0] else "word"
        shape = (min(len(words), _MAX_WORDS), kind)
        if is_naming:
            self._naming.add(shape)
            return
        is_missing = any(is_image_name(word.partition("#")[0]) for word in words)  # an image
        if number > _HEADER and not words[0].startswith("#") and not is_missing:
            self._others.add(shape)

    @property
    def are_mixed(self) -> bool:
        """Whether some lines name images, and others differ from all of these in their form."""
        return bool(self._naming) and bool(self._others - self._naming)


def _is_id(name: str) -> bool:
    return re.sub(r"[ _-]", "", name).lower() in _IDS


def _base_of(value: str) -> str:
    return posixpath.basename(value.strip().replace("\\", "/"))


def _has_coordinates(other: SidecarFile, header: str, row: str) -> bool:
    suffix = other.path.suffix.lower()
    if suffix == ".jsonl":
        return _KEY.search(row) is not None
    if suffix in _TEXTS:
        return len(_NUMBER.findall(row)) >= 4
    return _COLUMN.search(header) is not None


def _iter_rows(file: BinaryIO, other: SidecarFile) -> Iterator[tuple[bytes, list[Value]]]:
    """Iterate over rows as stored, with the values that may name an image."""
    suffix = other.path.suffix.lower()
    lines = _iter_lines(file, other)
    if suffix in (".csv", ".tsv"):
        yield from _iter_separated(lines, "\t" if suffix == ".tsv" else "")
        return
    for text, stored in lines:
        if suffix == ".jsonl":
            yield stored, list(_strings(text))
        else:
            words = text.split()
            words += [word.partition("#")[0] for word in words if "#" in word]  # a.jpg#0: a caption
            # A path without a suffix, as in lists of classes and stems; a number is none.
            yield stored, [(word, "/" in word) for word in (text.strip(), *words)]


def _iter_lines(file: BinaryIO, other: SidecarFile) -> Iterator[tuple[str, bytes]]:
    """Iterate over the lines of a file with the stored bytes; `csv.Error` if it is not text."""
    try:
        for _, text, stored in iter_stored_lines(file, other.uri):
            yield text, stored
    except DataError as error:
        raise csv.Error(str(error)) from None


def _iter_separated(
    lines: Iterator[tuple[str, bytes]], separator: str
) -> Iterator[tuple[bytes, list[Value]]]:
    """Iterate over the records of a CSV file, which may span lines."""
    held: list[bytes] = []

    def feed() -> Iterator[str]:
        for text, stored in lines:
            held.append(stored)
            if len(held) > _MAX_LINES:
                raise csv.Error("a record spans too many lines")
            yield text

    texts = feed()
    first = next(texts, "")
    separator = separator or find_delimiter(first)
    ids: frozenset[int] | None = None
    for values in csv.reader(itertools.chain([first], texts), delimiter=separator):
        if ids is None:  # the header
            ids = frozenset(n for n, name in enumerate(values) if _is_id(name))
        yield b"".join(held), [(value, number in ids) for number, value in enumerate(values)]
        held.clear()


def _strings(text: str) -> Iterator[Value]:
    """Iterate over the strings in a line of JSON."""
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(text))] if text.strip() else []
    except (ValueError, RecursionError):
        return
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield value, _is_id(key)
        elif isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += ((key, each) for each in value)
