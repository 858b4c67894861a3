"""Archives beside the images of a dataset: tar and zip files that may contain more of them."""

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
from pathlib import Path
from typing import Any, BinaryIO, cast

from curate.core.errors import CurateError, DataError
from curate.layouts.access.folder import Folder, LocalFolder
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer
from curate.layouts.containers import find_loose_image, iter_listed_folders
from curate.layouts.files import is_image_name

_ARCHIVE = re.compile(r"\.(?:zip|tar|tar\.(?:gz|bz2|xz|zst|lz4)|tgz|tbz2|txz)$", re.IGNORECASE)
_MAX_MEMBERS = 256
_MAX_WALKED = 10_000  # files
_MAX_READ = 1 << 20  # bytes of a compressed archive, or of the list of a zip file
_MAX_UNPACKED = 16 << 20  # bytes of a compressed archive once decompressed
_MAX_MEMORY = 64 << 20  # bytes that a decompressor may take
_MAX_HEADER = 256 << 10
"""Maximum size of an extended header, bytes: names, and attributes of files."""
_MAX_RECORDS = 1000  # of headers that hold for all members after them
_MAX_DIGITS = re.compile(rb"[0-9]{100}")  # the standard library takes quadratic time for more
_END = struct.Struct("<4s8xLL2x")  # end of the central directory: signature, size, offset
_ENTRY = struct.Struct("<4s24xHHH12x")  # signature, lengths of name, extra field and comment
_DAMAGE = (
    *(OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(IndexError, OverflowError, RecursionError),
)


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


def may_hold_images(folder: Folder, path: str) -> bool:
    """Return whether an image is among the first 256 members of an archive.

    Archives that cannot be read, or not without decompressing much, may hold images.
    """
    try:
        with folder.open(path) as file:
            names = _iter_zip(file) if path.lower().endswith(".zip") else _iter_tar(file, path)
            first = list(itertools.islice(names, _MAX_MEMBERS))
    except (CurateError, *_DAMAGE):
        return True
    return any(map(is_image_name, first))


def may_hold_image_rows(folder: Folder, path: str) -> bool:
    """Return whether a Parquet file has image columns, or points to content that is absent."""
    import pyarrow as pa

    from curate.layouts.tables.images import mentions_images
    from curate.storage.parquet import load_schema

    info = folder.info(path)
    try:
        with folder.open(path) as file:
            head = file.read(POINTER_BYTES)
            if info is not None and info.size <= POINTER_BYTES and describe_pointer(head):
                return True
            return any(mentions_images(field.type) for field in load_schema(file))
    except (CurateError, pa.ArrowException, ValueError, OSError):
        return False  # errors are reported when the dataset is opened


def note_archives(folder: Folder) -> Iterator[str]:
    """Report archives and tables that may contain images, which other layouts do not read."""
    found = (info.path for info in folder.files() if info.regular and _may_hold(folder, info.path))
    for example in itertools.islice(found, 1):
        many = 1 + sum(1 for _ in found)
        yield (
            f"{many:,} files that may contain images (archives or tables) left out, such as "
            f"{example!r}; if they belong to the dataset, unpack them, or use --format webdataset "
            "or parquet."
        )


def _may_hold(folder: Folder, path: str) -> bool:
    if is_archive(path):
        return may_hold_images(folder, path)
    return path.lower().endswith(".parquet") and may_hold_image_rows(folder, path)


def refuse_archives_only(folder: Folder) -> None:
    """Refuse a folder without images of its own whose images are in archives or in DVC.

    Raises:
        DataError: if it is one; names the remedy.
    """
    if find_loose_image(folder) is not None:
        return
    listed = [
        f"{path}{name}" for path, names in iter_listed_folders(folder) for name in sorted(names)
    ]
    archive = next((path for path in listed if is_archive(path)), None)
    if archive is not None and may_hold_images(folder, archive):
        raise DataError(
            f"{folder.name} has no images outside archives such as {archive!r}; unpack them and "
            "run again"
        )
    pointer = next((path for path in listed if path.endswith(".dvc")), None)
    if pointer is not None:
        raise DataError(
            f"{folder.name} has no images, but {pointer!r}, which points to them; run `dvc pull`"
        )
    _refuse_deep(folder)


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


def _refuse_deep(folder: Folder) -> None:
    """Refuse a folder whose first container is deeper than folders are listed to recognize it."""
    for info in itertools.islice(folder.files(), _MAX_WALKED):
        if is_image_name(info.path):
            return
        if info.regular and _may_hold(folder, info.path):
            path = info.path.lower()
            ways = {".parquet": "use --format parquet", ".tar": "use --format webdataset"}
            way = ways.get(path[path.rfind(".") :], "unpack it and run again")
            raise DataError(
                f"{folder.name} has no images, but {info.path!r}, which may contain some; {way}"
            )


def _iter_tar(file: BinaryIO, path: str) -> Iterator[str]:
    stream = file if path.lower().endswith(".tar") else io.BytesIO(_unpack(file.read(_MAX_READ)))
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=BoundedInfo) as opened:
        for member in opened:
            yield member.name


def _unpack(data: bytes) -> bytes:
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
    start = file.seek(max(0, size - _MAX_READ // 8))
    tail = file.read()
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) < found + _END.size:
        raise ValueError(f"no central directory after byte {start}")
    _, length, offset = _END.unpack_from(tail, found)
    file.seek(offset)
    directory, position = file.read(min(length, _MAX_READ)), 0
    while position + _ENTRY.size <= len(directory):
        signature, name, extra, comment = _ENTRY.unpack_from(directory, position)
        if signature != b"PK\1\2":
            raise ValueError("not an entry of a central directory")
        position += _ENTRY.size
        yield directory[position : position + name].decode(errors="replace")
        position += name + extra + comment
