"""TIFF 6.0 pages: directories (IFDs) and their image data, parsing and writing."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from curate.codec.metadata.exif import Entry, read_directory, write_directory
from curate.core.errors import WithheldError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, PLANAR = 273, 277, 278, 279, 284
PREDICTOR, COLOR_MAP, TILE_WIDTH, TILE_HEIGHT = 317, 320, 322, 323
TILE_OFFSETS, TILE_SIZES, SUB_DIRECTORIES, EXTRA_SAMPLES, SAMPLE_FORMAT = 324, 325, 330, 338, 339
KIND, ORIENTATION, EXIF_IFD, GPS_IFD, ICC = 254, 274, 0x8769, 0x8825, 34675
_DNG_VERSION, _CFA, _LINEAR_RAW = 50706, 32803, 34892  # a tag, and two values of PHOTOMETRIC
_REDUCED = 1  # in KIND (NewSubfileType): a reduced version of another page

_DECODING_TAGS = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR}
    | {COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, SAMPLE_FORMAT}
    | {266, 292, 293, 332, 347, 529, 530, 531, 532}  # bit order, fax, inks, JPEG, YCbCr
)
_MAX_PAGES = 10_000
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


@dataclass(frozen=True, slots=True)
class Page:
    """One image of a TIFF.

    Args:
        order: ``<`` or ``>``.
        entries: its directory.
        pieces: its strips or tiles, compressed.
    """

    order: str
    entries: Mapping[int, Entry]
    pieces: tuple[bytes, ...]

    def values(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return a tag's integers, or the default if it is absent or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _FORMATS:
            return default
        return struct.unpack(f"{self.order}{entry.count}{_FORMATS[entry.kind]}", entry.raw)

    def value(self, tag: int, default: int = 0) -> int:
        """Return a tag's first integer, or the default."""
        values = self.values(tag)
        return values[0] if values else default

    @property
    def is_raw(self) -> bool:
        """Whether it is of a camera raw file: DNG, NEF, ARW and others like them.

        Their first page is a thumbnail of an image in a directory below it.
        """
        return (
            _DNG_VERSION in self.entries
            or self.value(PHOTOMETRIC) in (_CFA, _LINEAR_RAW)
            or (self.is_reduced and SUB_DIRECTORIES in self.entries)
        )

    @property
    def is_reduced(self) -> bool:
        """Whether the page is marked as a thumbnail of another."""
        return bool(self.value(KIND) & _REDUCED)


def byte_order(data: bytes) -> str:
    """Return ``<`` or ``>``.

    Raises:
        WithheldError: ``unsupported`` for BigTIFF.
    """
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8:
        raise WithheldError("truncated", "the TIFF ends inside its header")
    if struct.unpack_from(order + "H", data, 2)[0] != 42:
        raise WithheldError("unsupported", "BigTIFF")
    return order


def parse_tiff(data: bytes) -> list[Page]:
    """Parse all pages of a file, in order, without decoding.

    Raises:
        WithheldError: ``truncated``, ``corrupt`` or ``unsupported``.
    """
    order = byte_order(data)
    pages: list[Page] = []
    seen: set[int] = set()
    total = 0
    offset = int(struct.unpack_from(order + "I", data, 4)[0])
    while offset:
        if offset in seen or len(seen) > _MAX_PAGES:
            raise WithheldError("corrupt", "the TIFF's pages run in a circle")
        seen.add(offset)
        if not 8 <= offset <= len(data) - 2:
            raise WithheldError("truncated", "a TIFF page lies outside the file")
        count = struct.unpack_from(order + "H", data, offset)[0]
        end = offset + 2 + 12 * count
        if end + 4 > len(data):
            raise WithheldError("truncated", "the TIFF ends inside a page's directory")
        page = Page(order, read_directory(data, offset, order), ())
        if page.is_raw:
            raw = "camera raw (DNG, NEF, ARW, …) files"
            raise WithheldError("unsupported", f"{raw} are not supported; convert them to PNG")
        page = Page(order, page.entries, _pieces(data, page))
        total += sum(map(len, page.pieces)) + sum(len(e.raw) for e in page.entries.values())
        if total > 2 * len(data):
            raise WithheldError("corrupt", "the TIFF's pages share their data")
        pages.append(page)
        offset = int(struct.unpack_from(order + "I", data, end)[0])
    return pages


def bare_page(page: Page) -> bytes:
    """Return a file of one page with the tags that decoding needs only."""
    entries = {tag: page.entries[tag] for tag in _DECODING_TAGS & page.entries.keys()}
    if EXTRA_SAMPLES in entries and page.values(EXTRA_SAMPLES)[0] == 1:
        # decode associated alpha as stored, without unpremultiplying
        entries[EXTRA_SAMPLES] = shorts(page.order, (2,))
    tiled = TILE_OFFSETS in page.entries
    return write_tiff(page.order, [Page(page.order, entries, page.pieces)], tiled=tiled)


def write_tiff(
    order: str,
    pages: Sequence[Page],
    linked: Sequence[Mapping[int, Entry]] = ({}, {}),
    tiled: bool = False,
) -> bytes:
    """Return a file of these pages, without gaps.

    Args:
        order: ``<`` or ``>``.
        pages: their directories, without offsets and sizes of image data.
        linked: the first page's Exif and GPS directories.
        tiled: whether the image data are tiles.
    """
    parts: list[bytes] = []
    at = 8
    starts: list[int] = []
    for number, page in enumerate(pages):
        offsets: list[int] = []
        for piece in page.pieces:
            padded = piece + b"\0" * (len(piece) % 2)
            offsets.append(at)
            parts.append(padded)
            at += len(padded)
        entries = dict(page.entries)
        entries[TILE_OFFSETS if tiled else STRIP_OFFSETS] = longs(order, offsets)
        sizes = longs(order, [len(piece) for piece in page.pieces])
        entries[TILE_SIZES if tiled else STRIP_SIZES] = sizes
        for tag, directory in zip((EXIF_IFD, GPS_IFD), linked, strict=True):
            if number == 0 and directory:
                parts.append(write_directory(order, directory, at))
                entries[tag] = longs(order, [at])
                at += len(parts[-1])
        starts.append(at)
        parts.append(write_directory(order, entries, at))
        at += len(parts[-1])
    return _chained(order, parts, starts)


def shorts(order: str, values: Sequence[int]) -> Entry:
    """Return an entry of 16-bit integers."""
    return Entry(3, len(values), struct.pack(f"{order}{len(values)}H", *values))


def longs(order: str, values: Sequence[int]) -> Entry:
    """Return an entry of 32-bit integers."""
    return Entry(4, len(values), struct.pack(f"{order}{len(values)}I", *values))


def _chained(order: str, parts: Sequence[bytes], starts: Sequence[int]) -> bytes:
    """Join header and parts, linking each directory to the next."""
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, starts[0])
    file = bytearray(b"".join([header, *parts]))
    for start, following in pairwise(starts):
        count = struct.unpack_from(order + "H", file, start)[0]
        struct.pack_into(order + "I", file, start + 2 + 12 * count, following)
    return bytes(file)


def _pieces(data: bytes, page: Page) -> tuple[bytes, ...]:
    offsets = page.values(TILE_OFFSETS) or page.values(STRIP_OFFSETS)
    sizes = page.values(TILE_SIZES) or page.values(STRIP_SIZES)
    if not offsets or len(offsets) != len(sizes):
        if len(offsets) == 1 and not sizes and page.value(COMPRESSION, 1) == 1:
            return (data[offsets[0] :],)  # an old writer's single strip
        raise WithheldError("corrupt", "a TIFF page has no offsets of its image data")
    if sum(sizes) > len(data):
        raise WithheldError("corrupt", "a TIFF page's image data overlap")
    if any(at + size > len(data) for at, size in zip(offsets, sizes, strict=True)):
        raise WithheldError("truncated", "the TIFF ends inside its image data")
    return tuple(data[at : at + size] for at, size in zip(offsets, sizes, strict=True))
