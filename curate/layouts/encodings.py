"""Encodings of text files: declared by a byte order mark or, in XML, by the declaration."""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast
from xml.parsers.expat import ExpatError

from curate.core.errors import DataError

_BLOCK = 1 << 16
_MAX_MEMORY = 1 << 20  # bytes of a decoded file that are not on disk
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def as_utf8(file: BinaryIO, name: str) -> BinaryIO:
    """Return a text file as UTF-8 without a byte order mark, if it starts with one.

    Other files are returned as they are, at their start.

    Args:
        file: seekable file; closed if another one is returned.
        name: name in messages.

    Raises:
        DataError: if it is not in the encoding that the mark declares.
    """
    encoding = marked_encoding(file.read(len(codecs.BOM_UTF8)))
    file.seek(0)
    if encoding is None:
        return file
    decoded = tempfile.SpooledTemporaryFile(_MAX_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        with file:
            for piece in _iter_decoded(file, encoding, name):
                decoded.write(piece)
    except BaseException:
        decoded.close()
        raise
    decoded.seek(0)
    return cast(BinaryIO, decoded)


def decode_head(head: bytes) -> bytes:
    """Return the first bytes of a file as UTF-8 without a byte order mark, if it starts so."""
    encoding = marked_encoding(head)
    return head if encoding is None else head.decode(encoding, "ignore").encode("utf-8", "ignore")


def marked_encoding(head: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start of a file declares, or None."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _iter_decoded(file: BinaryIO, encoding: str, name: str) -> Iterator[bytes]:
    """Iterate over pieces of a file, converted to UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        while data := file.read(_BLOCK):
            yield decoder.decode(data).encode()
        decoder.decode(b"", final=True)
    except UnicodeError:
        raise DataError(f"{name} is not valid {encoding.removesuffix('-sig')} text") from None


_MAX_XML = 16 << 20  # bytes
_MAX_MARKS = 400_000

_ASCII = bytes(code for code in range(32, 127) if code not in b"\\~")  # Shift JIS differs there
_ENCODING = re.compile(
    rb"""(?:\xef\xbb\xbf)?\s*<\?xml\s[^>]{0,99}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']"""
)
"""Declaration of an encoding in which ASCII letters are single bytes."""


def xml_encoding(head: bytes) -> str:
    """Return the encoding of a text: as its byte order mark or XML declaration states, or UTF-8.

    Declared encodings that are unknown or do not extend ASCII are ignored.
    """
    marked = marked_encoding(head)
    if marked is not None:
        return marked
    declared = _ENCODING.match(head)
    if declared is None:
        return "utf-8"
    encoding = declared[1].decode("ascii")
    try:
        extends_ascii = _ASCII.decode(encoding) == _ASCII.decode("ascii")
    except (LookupError, UnicodeError, ValueError):
        return "utf-8"
    return encoding if extends_ascii else "utf-8"


def has_document_type(data: bytes) -> bool:
    """Return whether an XML file declares a document type or entities, in any encoding of it.

    A few entities can expand to any size.
    """
    return any(
        mark.encode(encoding) in data
        for mark in ("<!DOCTYPE", "<!ENTITY")
        for encoding in ("ascii", "utf-16-le", "utf-16-be")
    )


def iter_utf8(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Read an XML file in the encoding that it declares, and return it as UTF-8 in pieces.

    Raises:
        DataError: if the file is not in that encoding, is larger than 16 MB, or has too many
            elements and attributes, each of which takes hundreds of bytes of memory.
    """
    encoding = xml_encoding(file.read(_BLOCK))
    file.seek(0)
    size, marks, last = 0, 0, b""
    for piece in _iter_decoded(file, encoding, name):
        size += len(piece)
        # An "=" in a text counts as well: the file is not parsed yet. An end tag does not.
        marks += piece.count(b"<") + piece.count(b"=") - (last + piece).count(b"</")
        last = piece[-1:]
        if size > _MAX_XML:
            raise DataError(f"{name} is larger than {_MAX_XML >> 20} MB")
        if marks > _MAX_MARKS:
            raise DataError(f"{name} has more than {_MAX_MARKS:,} elements and attributes")
        yield piece


def feed_xml(parser: Any, file: BinaryIO, name: str) -> None:
    """Parse a file with a parser of `xml.parsers.expat`, without entities.

    Args:
        parser: the parser, with its handlers.
        file: XML file of any declared encoding.
        name: name in messages.

    Raises:
        DataError: if it is malformed, or has a document type declaration.
    """

    def refuse(*_: object) -> None:
        # Entities can exhaust memory, or read other files.
        raise DataError(f"{name} has a document type or entities; remove them")

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        for piece in iter_utf8(file, name):
            parser.Parse(piece)
        parser.Parse(b"", True)
    except ExpatError as error:
        raise DataError(
            f"{name} is not well-formed XML; the file may be truncated ({error})"
        ) from None
