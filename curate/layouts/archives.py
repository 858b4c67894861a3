"""Tar and zip files: bounded reading of their first members; caches of the Hub."""

from __future__ import annotations

import bz2
import io
import itertools
import lzma
import os
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

from curate.core.errors import CurateError, DataError
from curate.layouts.access.folder import Folder, LocalFolder
from curate.layouts.files import is_image_name

_ARCHIVE = re.compile(r"\.(?:zip|tar|tar\.(?:gz|bz2|xz|zst|lz4)|tgz|tbz2|txz)$", re.IGNORECASE)
_COMPRESSION = re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18")
_MAX_MEMBERS = 256
_MAX_TABLES = 8  # of which the schema is read
MAX_READ = 1 << 20
"""Bytes that are read of a compressed archive, or of the list of a zip file."""
_MAX_UNPACKED = 16 << 20  # bytes of a compressed archive once decompressed
_MAX_MEMORY = 64 << 20  # bytes that a decompressor may take
_MAX_HEADER = 256 << 10
"""Maximum size of an extended header, bytes: names, and attributes of files."""
_MAX_RECORDS = 1000  # of headers that hold for all members after them
_MAX_DIGITS = re.compile(rb"[0-9]{100}")  # the standard library takes quadratic time for more
_END = struct.Struct("<4s8xLL2x")  # end of the central directory: signature, size, offset
_ENTRY = struct.Struct("<4s24xHHH12x")  # signature, lengths of name, extra field and comment
DAMAGE = (
    *(OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(IndexError, OverflowError, RecursionError),
)
"""Errors of reading a damaged archive or compressed file."""


class BoundedInfo(tarfile.TarInfo):
    """Header of a member, of which extended headers are bounded and maps of holes not read."""

    def _proc_gnulong(self, archive: Any) -> Any:
        self._check(archive)
        return cast(Any, super())._proc_gnulong(archive)

    def _proc_pax(self, archive: Any) -> Any:
        self._check(archive)
        start = archive.fileobj.tell()
        if _MAX_DIGITS.search(archive.fileobj.read(self.size)):
            raise tarfile.ReadError(f"the extended header at byte {self.offset} is damaged")
        archive.fileobj.seek(start)
        return cast(Any, super())._proc_pax(archive)

    def _check(self, archive: Any) -> None:
        if self.size > _MAX_HEADER:
            raise tarfile.ReadError(
                f"the extended header at byte {self.offset} has {self.size:,} bytes; at most "
                f"{_MAX_HEADER:,} are read"
            )
        if len(archive.pax_headers) > _MAX_RECORDS:
            raise tarfile.ReadError(f"more than {_MAX_RECORDS:,} values for all members")

    def _proc_sparse(self, archive: Any) -> Any:
        _, is_extended, size = cast(Any, self)._sparse_structs
        while is_extended:
            block = archive.fileobj.read(tarfile.BLOCKSIZE)
            is_extended = len(block) == tarfile.BLOCKSIZE and block[504]
        cast(Any, self).sparse = []
        self.offset_data = archive.fileobj.tell()
        archive.offset = self.offset_data + -(-self.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        self.size = size
        return self

    def _proc_gnusparse_00(self, member: Any, *_: Any) -> None:
        member.sparse = []

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def is_archive(path: str) -> bool:
    """Return whether a path has the suffix of an archive."""
    name = path.rpartition("/")[2]
    return _ARCHIVE.search(name) is not None and not name.startswith(".")


class Held(StrEnum):
    """What the first members of an archive are, by their names."""

    IMAGES = "images"
    ARCHIVES = "archives"
    OTHERS = "others"
    MORE = "more"
    UNREADABLE = "unreadable"


def examine_archive(file: BinaryIO, path: str) -> Held:
    """Return what the first 256 members of an archive are.

    Images come before archives; ``MORE`` if there are neither, but more members. Archives that
    cannot be read, or not without decompressing much, are unreadable.

    Args:
        file: the archive.
        path: its path.
    """
    try:
        names = _iter_zip(file) if _is_zip(file) else _iter_tar(file, path)
        first = list(itertools.islice(names, _MAX_MEMBERS + 1))
    except (CurateError, *DAMAGE):
        return Held.UNREADABLE
    if any(map(is_image_name, first)):
        return Held.IMAGES
    if any(map(is_archive, first)):
        return Held.ARCHIVES
    return Held.MORE if len(first) > _MAX_MEMBERS else Held.OTHERS


def _is_zip(file: BinaryIO) -> bool:
    file.seek(0)
    is_zip = file.read(4).startswith(b"PK")
    file.seek(0)
    return is_zip


def describe_no_images(folder: Folder) -> str:
    """Describe in one line that a folder has no images, and a table that may be the reason."""
    from curate.layouts.tables.rows import translate_errors
    from curate.storage.parquet import load_schema

    paths = (info.path for info in folder.files() if info.path.lower().endswith(".parquet"))
    for path in itertools.islice(paths, _MAX_TABLES):
        try:
            with translate_errors(path, "Parquet"), folder.open(path) as file:
                load_schema(file)
        except CurateError as error:
            return f"{folder.name} has no images that can be read: {error}"
    return f"{folder.name} has no images"


_CACHED = re.compile(r"(?:datasets|models|spaces)--.+")
_CACHE_ROOTS = (".", "hub", "huggingface/hub")


def refuse_cache(folder: Folder, search: bool) -> None:
    """Refuse the cache of the Hugging Face Hub, which has every file twice, and old revisions.

    Args:
        folder: the dataset; remote ones are not caches.
        search: whether to look for caches in the folder, too.

    Raises:
        DataError: if the folder is a repository in the cache, or contains one; names a snapshot.
    """
    if not isinstance(folder, LocalFolder):
        return
    for path in (folder.root, *(_iter_cached(folder.root) if search else ())):
        if not ((path / "blobs").is_dir() and (path / "snapshots").is_dir()):
            continue
        if path == folder.root and not (path / "refs").is_dir():
            continue
        snapshots = sorted(each.name for each in (path / "snapshots").iterdir() if each.is_dir())
        example = path / "snapshots" / (snapshots[0] if snapshots else "REVISION")
        raise DataError(
            f"{folder.name} is a cache of the Hugging Face Hub, which has every file twice; pass "
            f"one snapshot, such as {str(example)!r}, with --follow-links"
        )


def _iter_cached(root: Path) -> Iterator[Path]:
    """Iterate over folders named like repositories in a cache."""
    for folder in _CACHE_ROOTS:
        with suppress(OSError), os.scandir(root / folder) as found:
            yield from (Path(each.path) for each in found if _CACHED.fullmatch(each.name))


def _iter_tar(file: BinaryIO, path: str) -> Iterator[str]:
    is_plain = path.lower().endswith(".tar") or not _COMPRESSION.match(file.read(6))
    file.seek(0)
    stream = file if is_plain else io.BytesIO(unpack(file.read(MAX_READ)))
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=BoundedInfo) as opened:
        for member in opened:
            yield member.name


def unpack(data: bytes) -> bytes:
    """Decompress the start of an archive.

    Raises:
        ValueError: if its compression is unknown.
    """
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MAX_UNPACKED)
    if data.startswith(b"BZh"):
        return bz2.BZ2Decompressor().decompress(data, _MAX_UNPACKED)
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(memlimit=_MAX_MEMORY).decompress(data, _MAX_UNPACKED)
    raise ValueError("neither gzip, bzip2 nor xz")


def _iter_zip(file: BinaryIO) -> Iterator[str]:
    """Iterate over the names in the central directory of a zip file."""
    size = file.seek(0, io.SEEK_END)
    start = file.seek(max(0, size - MAX_READ // 8))
    tail = file.read()
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) < found + _END.size:
        raise ValueError(f"no central directory after byte {start}")
    _, length, offset = _END.unpack_from(tail, found)
    file.seek(offset)
    directory, position = file.read(min(length, MAX_READ)), 0
    while position + _ENTRY.size <= len(directory):
        signature, name, extra, comment = _ENTRY.unpack_from(directory, position)
        if signature != b"PK\1\2":
            raise ValueError("not an entry of a central directory")
        position += _ENTRY.size
        yield directory[position : position + name].decode(errors="replace")
        position += name + extra + comment
