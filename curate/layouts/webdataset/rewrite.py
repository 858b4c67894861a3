"""Rewriting of tar files: annotations of samples written again from their content."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import BinaryIO

from curate.core.errors import DataError
from curate.layouts.contents import find_unread
from curate.layouts.files import is_document_name
from curate.layouts.rewriters import REWRITERS, Rewriter, rewrite_caption
from curate.layouts.sidecars.prose import MAX_PROSE
from curate.layouts.sidecars.text import rewrite_document, rewrite_json, rewrite_text
from curate.layouts.sidecars.values import Limits
from curate.layouts.webdataset.tar import Kind, Member, format_header, is_image, is_plain, padding

NOT_TEXT = "it is neither JSON nor a short text"
"""Reason of members that are left out for what they are."""

_MAX_OTHER = 4 * MAX_PROSE
"""Bytes of a member of another ending that may be a text."""

MAX_TEXT = 16 << 20
"""Bytes of a text member."""

Outputs = Callable[[str], bytes | None]
"""Returns the output of an image by its id, or None if it is withheld."""


def write_sample(
    members: list[Member], tar: str, outputs: Outputs, writer: MemberWriter
) -> Iterator[tuple[Member, str]]:
    """Write the members of a sample; yields those that are left out, with the reason.

    Members that are folders are not written: readers make folders from the names of files.
    """

    def output_of(image: Member) -> bytes | None:
        return outputs(f"{tar}/{image.path}") if is_plain(image.path) else None

    images = [member for member in members if is_image(member)]
    is_withheld = bool(images) and all(output_of(image) is None for image in images)
    for member in members:
        if is_image(member):
            if (data := output_of(member)) is not None:
                write_member(replace(member, kind=Kind.FILE, size=len(data)), [data], writer.target)
        elif is_withheld:
            yield member, "the images of its sample are withheld"
        elif member.kind is not Kind.FOLDER and (reason := writer.copy(member)):
            yield member, reason


@dataclass(frozen=True, slots=True)
class MemberWriter:
    """Writer of the annotations of samples.

    Args:
        file: open tar file.
        target: file to write to.
        tar: path of the tar file.
        limits: limits on the values.
    """

    file: BinaryIO
    target: BinaryIO
    tar: str
    limits: Limits

    def copy(self, member: Member, own: Member | None = None) -> str | None:
        """Write a JSON or text member again from its content; otherwise return the reason.

        Args:
            member: member to read.
            own: member to write, if its name differs.
        """
        path = f"{self.tar}/{member.path}"
        if member.kind is not Kind.FILE:
            return f"it is {member.kind.value}"
        if not is_plain(member.path):
            return "its name is not valid UTF-8 or too long"
        is_included = self.limits.includes(path)
        is_large = _is_other(member) and member.size > _MAX_OTHER
        if not is_included and (is_large or _ending_of(member) in _DRAWINGS):
            return NOT_TEXT
        if member.size > MAX_TEXT:
            return f"it is longer than {MAX_TEXT >> 20} MB"
        self.file.seek(member.offset)
        data = self.file.read(member.size)
        if len(data) < member.size:
            raise DataError("a tar file was truncated while it was read; restore it")
        return self.put(own or member, member, data)

    def put(self, own: Member, member: Member, data: bytes) -> str | None:
        """Write content that was read from a member again; otherwise return the reason.

        Args:
            own: member to write.
            member: member from which the content is.
            data: its content.
        """
        path = f"{self.tar}/{member.path}"
        is_included = self.limits.includes(path)
        if is_included and (reason := find_unread(path, io.BytesIO(data))):
            return reason
        self.limits.open(f"{self.tar}/*{PurePosixPath(path).suffix}")
        if is_included:
            self.limits.note("unread", "(file)")
            self._write(own, data)
            return None
        out = io.BytesIO()
        try:
            _rewriter_of(member)(io.BytesIO(data), out, path, self.limits)
        except DataError as error:
            return NOT_TEXT if _is_other(member) else str(error).replace(path, "it", 1)
        self._write(own, out.getvalue())
        return None

    def _write(self, member: Member, data: bytes) -> None:
        write_member(replace(member, size=len(data)), [data], self.target)


_REWRITERS: Mapping[str, Rewriter] = {
    **dict.fromkeys(("json", "jsn"), rewrite_json),
    **dict.fromkeys(("txt", "text"), rewrite_caption),
    "xml": REWRITERS["xml"],
}
_WORDS = frozenset({"caption", "class", "cls", "cls2", "index", "label", "target", "transcript"})
"""Endings of members that are a short text or prose."""

_DRAWINGS = frozenset({"eps", "htm", "html", "ps", "svg", "xbm", "xpm"})
"""Endings of members that are a text, and that programs show as a picture."""


def _ending_of(member: Member) -> str:
    return PurePosixPath(member.path).suffix[1:].lower()


def _is_other(member: Member) -> bool:
    """Return whether the ending of a member does not say that it is an annotation."""
    ending = _ending_of(member)
    return ending not in _REWRITERS and ending not in _WORDS and not is_document_name(member.path)


def _rewriter_of(member: Member) -> Rewriter:
    if is_document_name(member.path):
        return rewrite_document
    return _REWRITERS.get(_ending_of(member), rewrite_text)


def write_member(member: Member, blocks: Iterable[bytes], target: BinaryIO) -> None:
    """Write a member with its content, whose length must match its size."""
    target.write(format_header(member))
    for block in blocks:
        target.write(block)
    target.write(padding(member.size))


class ComparingTarget:
    """Target that compares what is written with a file and records the first difference.

    Args:
        reference: file to compare with.
    """

    def __init__(self, reference: BinaryIO) -> None:
        self._reference = reference
        self._offset = 0
        self._differs: int | None = None

    def write(self, data: bytes) -> int:
        """Compare bytes with the reference."""
        self._reference.seek(self._offset)
        if self._differs is None and self._reference.read(len(data)) != data:
            self._differs = self._offset
        self._offset += len(data)
        return len(data)

    def tell(self) -> int:
        """Return the offset."""
        return self._offset

    def seek(self, offset: int) -> int:
        """Change the offset."""
        self._offset = offset
        return offset

    def truncate(self) -> None:
        """Discard what was written after the offset; it was compared already."""

    def find_difference(self) -> int | None:
        """Return the offset of the first difference, or None if there is none."""
        self._reference.seek(self._offset)
        if self._differs is None and self._reference.read(1):
            return self._offset
        return self._differs
