"""The members of an uncompressed tar file, one after the other, and headers that name nobody."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError
from curate.layouts.access.folder import spell_name

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""What ends a tar file."""

_KEY = re.compile(r"((?:.*/|)[^.]+)[.][^/]*")
_MALFORMED = (tarfile.TarError, ValueError, OverflowError, IndexError, RecursionError)


class Kind(Enum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    SPARSE = "a file with holes"
    LINK = "a link"
    SPECIAL = "neither a file nor a folder"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a tar file.

    Args:
        name: as it stands in its header.
        path: relative to the tar, in the one way to write it; a name that is not
            valid UTF-8 as `curate.layouts.access.folder` spells it.
        kind: what it is.
        mode: permissions.
        offset: where its bytes begin.
        size: how many they are.
    """

    name: str
    path: str
    kind: Kind
    mode: int
    offset: int
    size: int

    @property
    def key(self) -> str:
        """What the members of one sample share: the path up to the first dot of the name."""
        found = _KEY.fullmatch(self.name)
        return found.group(1) if found else self.name


def iter_members(file: BinaryIO, tar: str) -> Iterator[Member]:
    """The members of a tar file, in its order; nothing of them is held.

    The file may be read and sought in between two members.

    Args:
        file: the open file.
        tar: its path, for messages.

    Raises:
        DataError: if it is no tar file, is damaged or cut off, or if a name
            leads out of it.
    """
    try:
        yield from _iter_members(file, tar)
    except _MALFORMED as error:
        line = " ".join(str(error).split())[:200]
        raise DataError(
            f"{tar!r} is no tar file, or damaged ({line}); make it anew or take it out of SOURCE"
        ) from None


def _iter_members(file: BinaryIO, tar: str) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as found:
        last = -1
        while (info := found.next()) is not None:
            end = found.offset
            if end <= last or info.size < 0:
                raise tarfile.ReadError(f"the header at byte {info.offset} leads backwards")
            last = end
            cast(Any, found).members.clear()
            yield Member(
                name=info.name,
                path=_path_of(info.name, tar),
                kind=_kind_of(info),
                mode=info.mode & 0o777,
                offset=info.offset_data,
                size=info.size,
            )
        file.seek(found.offset)
        # The reader takes a damaged header for the end.
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
        raise DataError(f"{tar!r} has a member {name!r}, which leads out of it; make it anew")
    return "/".join(spell_name(part.encode(errors="surrogateescape")) for part in parts)


def format_header(member: Member) -> bytes:
    """A header with a member's name, size and permissions, and no owner or time."""
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = member.size, member.mode
    if member.kind is Kind.FOLDER:
        info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """Zeros that fill the last block of a member."""
    return bytes(-size % BLOCK)
