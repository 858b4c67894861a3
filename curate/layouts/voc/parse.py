"""Parsing of VOC annotations: what they state about their image, and their objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from xml.parsers import expat

from curate.core.errors import DataError
from curate.layouts.annotations import resolve, shorten
from curate.layouts.encodings import feed_xml

_MAX_DEPTH = 64
_MAX_TEXT = 1 << 12
_SIZES = (("annotation", "size", "width"), ("annotation", "size", "height"))
_FILENAME = ("annotation", "filename")
_PATH = ("annotation", "path")
_WANTED = frozenset({*_SIZES, _FILENAME, _PATH})
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Stated:
    """What an annotation states about its file.

    Args:
        filename: name of the image.
        has_local_path: whether its ``path`` is an absolute path of some computer.
    """

    filename: str
    has_local_path: bool


def load_annotation(file: BinaryIO, name: str) -> Stated:
    """Check an annotation.

    Args:
        file: XML file.
        name: name in messages.

    Raises:
        DataError: if it is malformed, has a document type declaration, or lacks the name
            or size of the image.
    """
    texts = _read(file, name)
    filename = texts.get(_FILENAME, "").strip()
    resolve("", filename, f"{name}: annotation/filename")
    for tags in _SIZES:
        text = texts.get(tags, "").strip()
        if not re.fullmatch(r"\d{1,9}(?:\.0*)?", text, re.ASCII):
            raise DataError(f"{name}: {'/'.join(tags)} is {shorten(text)}; expected an integer")
    return Stated(filename, bool(_ELSEWHERE.match(texts.get(_PATH, "").strip())))


def _read(file: BinaryIO, name: str) -> dict[tuple[str, ...], str]:
    """Return the texts of the elements to check."""
    texts: dict[tuple[str, ...], str] = {}

    def text(tags: tuple[str, ...], data: str) -> None:
        if tags in _WANTED and len(texts.get(tags, "")) <= _MAX_TEXT:
            texts[tags] = texts.get(tags, "") + data

    parse_xml(file, name, text, lambda tags: None)
    return texts


def parse_xml(
    file: BinaryIO,
    name: str,
    text: Callable[[tuple[str, ...], str], None],
    end: Callable[[tuple[str, ...]], None],
    begin: Callable[[tuple[str, ...]], None] = lambda tags: None,
) -> None:
    """Parse an annotation as a stream: no tree, no entities, constant memory.

    Args:
        file: XML file.
        name: name in messages.
        text: called with the open tags and a piece of text in them.
        end: called with the open tags when the innermost one ends.
        begin: called with the open tags when the innermost one starts.

    Raises:
        DataError: if it is malformed, or has a document type declaration.
    """
    parser = expat.ParserCreate("utf-8")
    stack: list[str] = []

    def start(tag: str, _: object) -> None:
        stack.append(tag)
        if len(stack) > _MAX_DEPTH or stack[0] != "annotation":
            raise DataError(f"{name}: <{shorten(tag)[1:-1]}> found where VOC has <annotation>")
        begin(tuple(stack))

    def leave(_: str) -> None:
        end(tuple(stack))
        stack.pop()

    parser.StartElementHandler, parser.EndElementHandler = start, leave
    parser.CharacterDataHandler = lambda data: text(tuple(stack), data)
    feed_xml(parser, file, name)


_OBJECT = ("annotation", "object")
_NAME, _CATEGORY = "name", "category"


def load_objects(file: BinaryIO, name: str) -> list[Mapping[str, str]]:
    """Return one row per object of an annotation.

    Its ``name`` becomes the column ``category``; other elements with only text, such as
    ``pose``, become columns of the same name. Boxes and parts are skipped.

    Args:
        file: XML file.
        name: name in messages.

    Raises:
        DataError: if it is malformed.
    """
    rows: list[Mapping[str, str]] = []
    row: dict[str, str] = {}

    def text(tags: tuple[str, ...], data: str) -> None:
        if tags[:2] == _OBJECT and len(tags) == 3 and len(row.get(tags[2], "")) < _MAX_TEXT:
            row[tags[2]] = row.get(tags[2], "") + data

    def end(tags: tuple[str, ...]) -> None:
        if tags == _OBJECT:
            plain = {key: value.strip() for key, value in row.items() if value.strip()}
            rows.append({_CATEGORY if key == _NAME else key: v for key, v in plain.items()})
            row.clear()

    parse_xml(file, name, text, end)
    return rows
