"""Streaming members of uncompressed tar files, and headers without owner and time."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError, one_line
from curate.layouts.access.tree import is_text_path, spell_name
from curate.layouts.archives import BoundedInfo
from curate.layouts.files import is_image_name

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""End-of-archive marker."""

_KEY = re.compile(r"((?:.*/|)[^.]+)[.][^/]*")
_MALFORMED = (tarfile.TarError, ValueError, OverflowError, IndexError, RecursionError)


class Kind(Enum):
    """Kind of a member."""

    FILE = "file"
    FOLDER = "folder"
    SPARSE = "a file with holes"
    LINK = "a link"
    SPECIAL = "neither a file nor a folder"


@dataclass(frozen=True, slots=True)
class Member:
    """Member of a tar file.

    Args:
        name: name in its header, without dots and slashes that change nothing.
        path: normalized path relative to the tar file; names that are not valid UTF-8 are
            written as by `curate.layouts.access.folder.spell_name`.
        kind: kind of the member.
        mode: permissions.
        offset: offset of its content.
        size: size of its content in bytes.
    """

    name: str
    path: str
    kind: Kind
    mode: int
    offset: int
    size: int

    @property
    def key(self) -> str:
        """Key shared by the members of a sample: the path up to the first dot of the name."""
        found = _KEY.fullmatch(self.name)
        return found.group(1) if found else self.name


def iter_members(file: BinaryIO, tar: str) -> Iterator[Member]:
    """Iterate over the members of a tar file, in its order and in constant memory.

    The file may be read and its position changed between two members.

    Args:
        file: open tar file.
        tar: its path, for messages.

    Raises:
        DataError: if it is not a valid tar file, is truncated, or a name points outside it.
    """
    try:
        yield from _iter_members(file, tar)
    except _MALFORMED as error:
        line = one_line(error)
        raise DataError(
            f"{tar!r} is not a valid tar file ({line}); recreate it or remove it from SOURCE"
        ) from None


def _iter_members(file: BinaryIO, tar: str) -> Iterator[Member]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with tarfile.open(
        fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape", tarinfo=BoundedInfo
    ) as found:
        last = -1
        while (info := found.next()) is not None:
            end = found.offset
            if end <= last or info.size < 0:
                raise tarfile.ReadError(f"the header at byte {info.offset} points backwards")
            if end > size:
                raise tarfile.ReadError(
                    f"unexpected end of data: the member at byte {info.offset} ends at byte {end}"
                )
            last = end
            cast(Any, found).members.clear()
            path = _path_of(info.name, tar)
            yield Member(
                name=_name_of(info.name, path),
                path=path,
                kind=_kind_of(info),
                mode=info.mode & 0o777,
                offset=info.offset_data,
                size=info.size,
            )
        file.seek(found.offset)
        # tarfile takes an invalid header for the end.
        if file.read(BLOCK).strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {found.offset}")


def _kind_of(info: tarfile.TarInfo) -> Kind:
    if info.sparse is not None:
        return Kind.SPARSE
    if info.isreg():
        return Kind.FILE
    if info.isdir():
        return Kind.FOLDER
    return Kind.LINK if info.issym() or info.islnk() else Kind.SPECIAL


def _path_of(name: str, tar: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise DataError(
            f"{tar!r} has a member {name!r}, which points outside it; recreate the tar file"
        )
    return "/".join(spell_name(part.encode(errors="surrogateescape")) for part in parts)


def _name_of(name: str, path: str) -> str:
    """Return the name with which a member is written: its path, after ``./`` if it starts so.

    Other dots and slashes in a name change nothing, and could hold anything.
    """
    if not is_text_path(path):
        return name
    return f"./{path}" if name.startswith("./") else path


def format_header(member: Member) -> bytes:
    """Format the header of a file with name, size and permissions, without owner and time."""
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = member.size, member.mode
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of a member."""
    return bytes(-size % BLOCK)


_MAX_NAME = 255  # bytes, the limit of file systems
_MAX_PATH = 1024  # bytes below the work folder; the limit of the whole path is 4096


def is_image(member: Member) -> bool:
    """Return whether a member is an image of the dataset."""
    return member.kind in (Kind.FILE, Kind.SPARSE) and is_image_name(member.path)


def is_plain(path: str) -> bool:
    """Return whether an output can have a path."""
    return (
        is_text_path(path)
        and len(path.encode()) <= _MAX_PATH
        and all(len(name.encode()) <= _MAX_NAME for name in path.split("/"))
    )
