"""Rewriting of VOC annotations from their parsed elements, and of lists of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from xml.parsers import expat

from curate.core.errors import DataError
from curate.layouts.annotations import shorten
from curate.layouts.encodings import feed_xml
from curate.layouts.sidecars.keys import KEYS
from curate.layouts.sidecars.values import Limits

_MAX_DEPTH = 64
_OBJECT = "object"
_OWN = frozenset({"name", "bndbox", "filename", "size", "folder"})
_SPACE = re.compile(r"\n{0,2}(?: {0,64}|\t{0,64})")
_NUMBER = re.compile(r"[-+]?\d{1,18}(?:\.\d{0,18})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_EMPTY = [""]  # what an empty element counts as: their order could hold anything
_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?(<\?xml[^>]{1,99}\?>\s{0,9})")
_UTF8 = re.compile(rb"""encoding\s*=\s*["'](?:utf-?8|us-ascii)["']""", re.IGNORECASE)


@dataclass(slots=True)
class _Element:
    """An element: its attributes, and its texts and elements in order."""

    tag: str
    attributes: dict[str, str]
    content: list[_Element | str] = field(default_factory=list)

    def elements(self) -> list[_Element]:
        return [item for item in self.content if isinstance(item, _Element)]

    def text(self) -> str:
        return "".join(item for item in self.content if isinstance(item, str))


def rewrite_xml(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write an annotation again from its elements, as UTF-8.

    Comments, processing instructions, text between elements and white space around values are not
    written. The elements of an object share the limits of a record, and so do those of the image.

    Raises:
        DataError: if it is not well-formed, larger than 16 MB, or has a document type.
    """
    head = file.read(256)
    file.seek(0)
    root = parse_tree(file, name)
    declaration = _DECLARATION.match(head)
    if declaration is not None:
        is_utf8 = b"encoding" not in declaration[1] or _UTF8.search(declaration[1])
        target.write(declaration[1] if is_utf8 else b'<?xml version="1.0" encoding="UTF-8"?>\n')
    limits.begin()
    kept = [item for item in root.content if not _is_object(item)]
    dropped = {id(item) for item in _iter_dropped(kept, limits)}
    _limit_attributes(root, limits)
    for item in root.content:
        if isinstance(item, _Element) and _is_object(item):
            limits.begin()
            _limit_attributes(item, limits)
            inner = {id(each) for each in _iter_dropped(item.content, limits)}
            item.content = _without(item.content, inner)
    root.content = _without(root.content, dropped)
    target.write(_format(root).encode())
    file.seek(-1, 2)
    target.write(b"\n" if file.read() == b"\n" else b"")


def parse_tree(file: BinaryIO, name: str) -> _Element:
    """Parse an annotation of bounded size to a tree, without entities."""
    stack = [_Element("", {})]
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > _MAX_DEPTH or (len(stack) == 1 and tag != "annotation"):
            raise DataError(f"{name}: <{shorten(tag)[1:-1]}> found where VOC has <annotation>")
        element = _Element(tag, attributes)
        stack[-1].content.append(element)
        stack.append(element)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    parser.CharacterDataHandler = lambda text: stack[-1].content.append(text)
    feed_xml(parser, file, name)
    return stack[0].elements()[0]


def _is_object(item: _Element | str) -> bool:
    return (
        isinstance(item, _Element)
        and item.tag == _OBJECT
        and any(each.tag in ("name", "bndbox") for each in item.elements())
    )


def _iter_dropped(content: list[_Element | str], limits: Limits) -> Iterator[_Element]:
    """Iterate over the elements that are over the limits, which VOC's own use up first."""
    elements = [item for item in content if isinstance(item, _Element)]
    for item in sorted(elements, key=lambda each: each.tag not in _OWN):
        value = _to_value(item)
        key = "bbox" if item.tag == "bndbox" else item.tag
        if not _accepts_tags(item, limits):
            limits.drop(KEYS)
            yield item
        elif limits.value(key, value or _EMPTY) != (value or _EMPTY):
            yield item


def _accepts_tags(element: _Element, limits: Limits) -> bool:
    """Return whether the tags of an element are within the limits of keys."""
    inner = element.elements()
    return limits.accepts_key(element.tag) and all(_accepts_tags(each, limits) for each in inner)


def _to_value(element: _Element) -> Any:
    """Return an element as a plain value: a number, a text, a list of numbers, or of objects."""
    inner = element.elements()
    if not inner and not element.attributes:
        return _parse(element.text())
    values = [(each.tag, _to_value(each)) for each in inner]
    if inner and not element.attributes and all(type(value) is float for _, value in values):
        return [value for _, value in values]
    values += [(key, _parse(text)) for key, text in element.attributes.items()]
    listed = [{tag: value} for tag, value in values]
    return listed if inner else [*listed, {element.tag: _parse(element.text())}]


def _parse(text: str) -> float | str:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else text


def _limit_attributes(element: _Element, limits: Limits) -> None:
    """Remove the attributes of an element that are over the limits, with their keys."""
    for key, value in list(element.attributes.items()):
        if not limits.accepts_key(key):
            limits.drop(KEYS)
        elif limits.value(key, value) == value:
            continue
        del element.attributes[key]


def _without(content: list[_Element | str], dropped: set[int]) -> list[_Element | str]:
    """Return content without some elements and the white space before them."""
    kept: list[_Element | str] = []
    for item in content:
        if id(item) not in dropped:
            kept.append(item)
        elif kept and isinstance(kept[-1], str):
            kept.pop()
    return kept


def _format(element: _Element) -> str:
    from xml.sax.saxutils import escape, quoteattr  # imports an HTTP client

    attributes = "".join(f" {key}={quoteattr(value)}" for key, value in element.attributes.items())
    inner = element.elements()
    parts = []
    for item in element.content:
        if isinstance(item, _Element):
            parts.append(_format(item))
        elif not inner or _SPACE.fullmatch(item):
            parts.append(item)
    text = "".join(parts) if inner else escape("".join(parts).strip())
    return f"<{element.tag}{attributes}>{text}</{element.tag}>"
