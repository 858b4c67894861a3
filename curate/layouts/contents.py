"""Files that contain images without being one: archives, tables, arrays, texts with encoded images.

Such files are reported, and are not copied unread.
"""

from __future__ import annotations

import ast
import binascii
import io
import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curate import codec
from curate.core.errors import CurateError, DataError, WithheldError
from curate.layouts.access.address import is_address
from curate.layouts.access.folder import Folder
from curate.layouts.access.tree import POINTER_BYTES, describe_pointer
from curate.layouts.archives import DAMAGE, MAX_READ, Held, examine_archive, is_archive, unpack
from curate.layouts.containers import find_loose_image, iter_listed_folders
from curate.layouts.encodings import marked_encoding
from curate.layouts.files import (
    ANNOTATION_SUFFIXES,
    find_image,
    is_image_head,
    is_image_name,
)

_HEAD = 1 << 12
_BLOCK = 1 << 20
_MAX_WALKED = 10_000  # files
_MAX_OPENED = 256  # files that are opened to find why a folder has no images
_MAX_DEPTH = 3  # compressed files in each other
_SIDE = 16  # rows and columns from which an array may be a picture
_TEXTS = (ANNOTATION_SUFFIXES - {".parquet"}) | {".html", ".ipynb", ".md", ".svg", ".yaml", ".yml"}


@dataclass(frozen=True, slots=True)
class Contained:
    """What of images a file contains.

    Args:
        what: kind of the file.
        remedy: what to do with it.
        certain: whether images were found, rather than a kind of file that may contain some.
    """

    what: str
    remedy: str
    certain: bool = False

    @property
    def reason(self) -> str:
        """Why the file is not copied."""
        how = "contains" if self.certain else "may contain"
        return f"it {how} images, as {self.what}: {self.remedy}"


_UNPACK = "unpack it and run again"
_CONVERT = "convert its images to files or Parquet"
_ENCODED = re.compile(
    rb"(?:(?<![A-Za-z0-9+/\\_-])|(?<=\\[nrt]))(?:[A-Za-z0-9+_-]|\\?/){44}(?=[A-Za-z0-9+/\\_=-])"
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_SIGNATURES = (
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "an HDF5 file"),
    (re.compile(rb".{16}\xde\xc0\xef\xbe", re.DOTALL), "an LMDB database"),
    (re.compile(rb"\xce\xfa\xed\xde|\x0a\x23\xd7\xce"), "an MXNet RecordIO file"),
    (re.compile(rb"\x80[\x02-\x05][}\]c(\x95]"), "a pickle"),
    (re.compile(rb"SQLite format 3\0"), "an SQLite database"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07"), "an archive"),
    (
        re.compile(rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI |OggS|\x00\x00\x01\xba", re.DOTALL),
        "a video",
    ),
    (re.compile(rb"%PDF-"), "a PDF document"),
)
_UNREPORTED = frozenset({"a PDF document", "an SQLite database"})
"""Files that are not copied unread, but that are not expected to be the images of a dataset."""
_IDX = struct.Struct(">HBBIII")  # zeros, type, dimensions, sizes
_RECORD = struct.Struct("<QI")  # length, masked CRC
_CIFAR = (3073, 3074)  # bytes of a record of its binary version


def find_contained(path: str, file: BinaryIO, is_whole: bool = False) -> Contained | None:
    """Return what of images a file contains; None if nothing is found.

    Args:
        path: its path.
        file: the file, seekable.
        is_whole: whether to read texts to their ends, and to answer in doubt.
    """
    return _find(path, file, is_whole, 0)


def find_unread(path: str, file: BinaryIO) -> str | None:
    """Return why a file that is to be copied unread is not: it is or contains images."""
    if reason := find_image(path, file.read(_HEAD)):
        return reason
    found = find_contained(path, file, is_whole=True)
    return None if found is None else found.reason


def _find(path: str, file: BinaryIO, is_whole: bool, depth: int) -> Contained | None:
    file.seek(0)
    head = file.read(_HEAD)
    if describe_pointer(head[:POINTER_BYTES]):
        return None
    if head.startswith((b"PAR1", b"ARROW1\0\0")):
        return _find_in_table(path, file, head.startswith(b"PAR1"))
    if head.startswith(b"\x93NUMPY"):
        is_picture = _is_picture(head)
        return Contained("a NumPy array of pixels", _CONVERT) if is_picture else None
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) and not is_archive(path):
        return _find_compressed(path, file, is_whole, depth)
    if is_archive(path) or head.startswith(b"PK\3\4") or head[257:262] == b"ustar":
        return _find_in_archive(path, file, is_whole)
    for signature, what in _SIGNATURES:
        if signature.match(head) and not is_image_head(head[: codec.SIGNATURE_BYTES]):
            if what in _UNREPORTED and not is_whole:
                return None
            return Contained(what, _UNPACK if what == "an archive" else _CONVERT)
    if records := _name_records(path, file, head):
        return Contained(records, _CONVERT)
    is_text = _CONTROL.search(head) is None or marked_encoding(head) is not None
    if is_text and _has_encoded(file, is_whole):
        return Contained(
            "a text with encoded ones (base64)",
            "save them as files, and remove them from it (imageData in LabelMe JSON)",
            True,
        )
    return None


def _find_compressed(path: str, file: BinaryIO, is_whole: bool, depth: int) -> Contained | None:
    """Examine the start of a compressed file that is not a tar file by its name."""
    file.seek(0)
    try:
        inner = io.BytesIO(unpack(file.read(MAX_READ)))
    except DAMAGE:
        inner = io.BytesIO()
    if depth == _MAX_DEPTH or not inner.getbuffer().nbytes:
        return Contained("a compressed file", _UNPACK) if is_whole else None
    return _find(str(PurePosixPath(path).with_suffix("")), inner, is_whole, depth + 1)


def _find_in_archive(path: str, file: BinaryIO, is_whole: bool) -> Contained | None:
    file.seek(0)
    held = examine_archive(file, path)
    if held is Held.IMAGES:
        return Contained("an archive", _UNPACK, True)
    if held is Held.ARCHIVES:
        return Contained("an archive of archives", "unpack it and the archives in it")
    if held is Held.UNREADABLE or (held is Held.MORE and is_whole):
        return Contained("an archive", _UNPACK)
    if not path.lower().endswith(".npz"):
        return None
    # The directory of an archive with too many members is not loaded.
    holds = held is Held.MORE or _has_pictures(file)
    return Contained("NumPy arrays", _CONVERT) if holds else None


def _find_in_table(path: str, file: BinaryIO, is_parquet: bool) -> Contained | None:
    """Examine the schema and the first values of a Parquet file, or the schema of an Arrow file."""
    import pyarrow as pa

    from curate.layouts.tables.images import mentions_images
    from curate.layouts.tables.parquet import find_plain_column
    from curate.storage.parquet import load_schema

    file.seek(0)
    try:
        if not is_parquet:
            schema = pa.ipc.open_file(file).schema
            holds = any("binary" in str(field.type) for field in schema)
            return Contained("an Arrow file", _CONVERT) if holds else None
        if any(mentions_images(field.type) for field in load_schema(file)):
            return Contained("a Parquet file", "use --format parquet", True)
        file.seek(0)
        column = find_plain_column(file)
    except (CurateError, pa.ArrowException, ValueError, OSError):
        return None  # errors are reported when it is read
    if column is None:
        return None
    return Contained(
        f"a Parquet file with the column {column!r}", "convert it to datasets.Image", True
    )


def _is_picture(head: bytes) -> bool:
    """Return whether the header of a NumPy array is that of pixels; in doubt it is."""
    start = head.find(b"{")
    try:
        header = ast.literal_eval(head[start : head.index(b"}", start) + 1].decode("latin-1"))
        kind, shape = str(header["descr"]), [int(size) for size in header["shape"]]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        return True
    if "O" in kind:
        return True  # a pickle
    sides = sum(size >= _SIDE for size in shape)
    if kind.lstrip("|<>=") in ("u1", "i1", "b1"):
        return sides >= 2
    has_channels = len(shape) == 3 and shape[-1] in (1, 3, 4) and sides >= 2
    return has_channels or (len(shape) > 3 and sides >= 2)


def _has_pictures(file: BinaryIO) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(file) as arrays:
            for info in arrays.infolist()[:_MAX_OPENED]:
                with arrays.open(info) as member:
                    if _is_picture(member.read(_HEAD)):
                        return True
    except Exception:  # a damaged archive, in whatever way
        return True
    return False


def _name_records(path: str, file: BinaryIO, head: bytes) -> str | None:
    """Return the kind of a file of records without a signature of their own, or None."""
    size = file.seek(0, io.SEEK_END)
    if len(head) >= _IDX.size:
        zeros, kind, dimensions, count, rows, columns = _IDX.unpack_from(head)
        sides = (rows, columns)
        if zeros == 0 and kind == 8 and dimensions in (3, 4) and count and max(sides) < 1 << 16:
            return "an IDX file (MNIST)" if min(sides) >= _SIDE else None
    if len(head) >= _RECORD.size:
        length, check = _RECORD.unpack_from(head)
        is_named = "tfrecord" in path.rpartition("/")[2].lower()
        if 0 < length <= size - 16 and (is_named or check == _mask(_crc32c(head[:8]))):
            return "a TFRecord file"
    is_cifar = path.lower().endswith(".bin") and size and any(size % each == 0 for each in _CIFAR)
    return "a binary file of CIFAR" if is_cifar else None


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _mask(crc: int) -> int:
    """Mask a CRC as TFRecord files do."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _has_encoded(file: BinaryIO, is_whole: bool) -> bool:
    """Return whether a text contains the start of an image as base64; reads 1 MB, or all of it."""
    file.seek(0)
    rest = b""
    while block := file.read(_BLOCK):
        data = rest + block.replace(b"\0", b"")  # UTF-16
        if any(map(_is_encoded, _ENCODED.finditer(data))):
            return True
        if not is_whole:
            return False
        rest = data[-128:]
    return False


def _is_encoded(found: re.Match[bytes]) -> bool:
    text = found[0].replace(b"\\", b"").replace(b"_", b"/").replace(b"-", b"+")
    try:
        return is_image_head(
            binascii.a2b_base64(text[: len(text) // 4 * 4])[: codec.SIGNATURE_BYTES]
        )
    except binascii.Error:
        return False


def is_opened(path: str, uri: str) -> bool:
    """Return whether a file is opened to find images in it: no image, and no text of a remote one.

    Args:
        path: path of the file.
        uri: path or URI of the dataset.
    """
    is_text = PurePosixPath(path).suffix.lower() in _TEXTS
    return not (is_image_name(path) or (is_text and is_address(uri)))


def examine(folder: Folder, path: str) -> Contained | None:
    """Return what of images a file that is not read contains; None also if it cannot be read."""
    if not is_opened(path, folder.uri):
        return None
    try:
        with folder.open(path) as file:
            return find_contained(path, file)
    except (DataError, WithheldError, OSError):
        return Contained("an archive", _UNPACK) if is_archive(path) else None


def note_contained(folder: Folder) -> Iterator[str]:
    """Report archives, tables and the like that may contain images, which are not read.

    Texts are not opened.
    """
    count, example = 0, ""
    for info in folder.files():
        if not info.regular or PurePosixPath(info.path).suffix.lower() in _TEXTS:
            continue
        if (found := examine(folder, info.path)) is not None:
            count += 1
            example = example or (
                f"{info.path!r}, {found.what}; if its images belong to the dataset, {found.remedy}"
            )
    if count:
        yield f"Files that may contain images left out: {count:,}, such as {example}."


def refuse_without_images(folder: Folder) -> None:
    """Refuse a folder without images of its own whose images are inside files, or in DVC.

    Raises:
        DataError: if it is one; names the remedy.
    """
    if find_loose_image(folder) is not None:
        return
    listed = [
        f"{path}{name}" for path, names in iter_listed_folders(folder) for name in sorted(names)
    ]
    found = _find_first(folder, [path for path in listed if not path.endswith("/")])
    pointer = next((path for path in listed if path.endswith(".dvc")), None)
    if found is None and pointer is not None:
        raise DataError(
            f"{folder.name} has no images, but {pointer!r}, which points to them; run `dvc pull`"
        )
    if found is None:
        walked = itertools.islice(folder.files(), _MAX_WALKED)
        found = _find_first(folder, (info.path for info in walked if info.regular))
    if found is not None:
        path, contained = found
        how = "contains" if contained.certain else "may contain"
        ways = {".parquet": "use --format parquet", ".tar": "use --format webdataset"}
        is_deep = path not in listed and contained.what in ("an archive", "a Parquet file")
        way = ways.get(path[path.rfind(".") :].lower()) if is_deep else None
        raise DataError(
            f"{folder.name} has no images, but {path!r}, {contained.what} that {how} some; "
            f"{way or contained.remedy}"
        )


def _find_first(folder: Folder, paths: Any) -> tuple[str, Contained] | None:
    """Return the first file that may contain images, archives and tables first; None if one is.

    Only a few files of other kinds are opened.
    """
    opened = 0
    first: tuple[str, Contained] | None = None
    for path in paths:
        if is_image_name(path):
            return None
        is_usual = is_archive(path) or path.lower().endswith(".parquet")
        opened += not is_usual
        if not is_usual and opened > _MAX_OPENED:
            continue
        if first is None and (found := examine(folder, path)) is not None:
            first = path, found
        elif not is_usual and _starts_as_image(folder, path):
            return None
    return first


def _starts_as_image(folder: Folder, path: str) -> bool:
    try:
        with folder.open(path) as file:
            return is_image_head(file.read(codec.SIGNATURE_BYTES))
    except (DataError, WithheldError, OSError):
        return False
