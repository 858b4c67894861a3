"""Pascal VOC's XML, read as a stream: no tree, no entities, memory does not grow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO
from xml.parsers import expat

from curate.core.errors import DataError
from curate.layouts.annotations import resolve, shorten

_DEEPEST = 64
_LONGEST_TEXT = 1 << 12
_SIZES = (("annotation", "size", "width"), ("annotation", "size", "height"))
_NAME = ("annotation", "filename")
_PATH = ("annotation", "path")
_WANTED = frozenset({*_SIZES, _NAME, _PATH})
_ELSEWHERE = re.compile(r"[/\\~]|[A-Za-z]:")


def load_annotation(file: BinaryIO, name: str) -> bool:
    """Look an annotation over.

    Args:
        file: the XML.
        name: what a message calls it.

    Returns:
        Whether its ``path`` names a place on some computer.

    Raises:
        DataError: if it is malformed, has a document type, or lacks the image's
            name or size.
    """
    texts = _read(file, name)
    filename = texts.get(_NAME, "").strip()
    resolve("", filename, f"{name}: annotation/filename")
    for place in _SIZES:
        text = texts.get(place, "").strip()
        if not re.fullmatch(r"\d{1,9}(?:\.0*)?", text, re.ASCII):
            raise DataError(f"{name}: {'/'.join(place)} is {shorten(text)}; want a whole number")
    return bool(_ELSEWHERE.match(texts.get(_PATH, "").strip()))


def _read(file: BinaryIO, name: str) -> dict[tuple[str, ...], str]:
    """The texts of the few elements that are wanted."""
    texts: dict[tuple[str, ...], str] = {}

    def text(place: tuple[str, ...], data: str) -> None:
        if place in _WANTED and len(texts.get(place, "")) <= _LONGEST_TEXT:
            texts[place] = texts.get(place, "") + data

    follow(file, name, text, lambda place: None)
    return texts


def follow(
    file: BinaryIO,
    name: str,
    text: Callable[[tuple[str, ...], str], None],
    end: Callable[[tuple[str, ...]], None],
) -> None:
    """Read a whole annotation as it comes.

    Args:
        file: the XML.
        name: what a message calls it.
        text: called with the tags around a piece of text, and the piece.
        end: called with the tags down to an element that ends.

    Raises:
        DataError: if it is malformed, or has a document type.
    """
    parser = expat.ParserCreate()
    stack: list[str] = []

    def refuse(*_: object) -> None:
        # Entities can blow up memory, or read other files.
        raise DataError(f"{name} has a document type or entities; remove them")

    def start(tag: str, _: object) -> None:
        stack.append(tag)
        if len(stack) > _DEEPEST or stack[0] != "annotation":
            raise DataError(f"{name}: <{shorten(tag)[1:-1]}> stands where VOC has <annotation>")

    def leave(_: str) -> None:
        end(tuple(stack))
        stack.pop()

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, leave
    parser.CharacterDataHandler = lambda data: text(tuple(stack), data)
    try:
        parser.ParseFile(file)
    except expat.ExpatError as error:
        raise DataError(f"{name} is no whole XML; is it cut off? ({error})") from None
