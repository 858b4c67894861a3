"""The TIFF codec: every page decoded and encoded again without loss."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.codec.decoding import Indexed, check_expansion, check_pixels, check_size
from curate.codec.metadata.allow_list import icc_leaks, rebuild_exif, select_metadata
from curate.codec.metadata.exif import Entry, Exif, orientation_of, parse_exif
from curate.codec.picture import CodecOptions, Encoded, Picture
from curate.codec.png.chunks import is_exact
from curate.codec.tiff import pages as tiff
from curate.codec.tiff.pages import Page, longs, shorts
from curate.codec.tiff.pixels import LAB_SIGN, DecodedPage, decode_page
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame

_DEFLATE, _DIFFERENCES = 8, 2
_PHOTOMETRIC = {"1": 1, "L": 1, "I;16": 1, "LA": 1, "P": 3, "CMYK": 5, "LAB": 8}
_ALPHA = {"LA": 2, "RGBA": 2, "RGBa": 1, "RGBX": 0}
_STRUCTURE = frozenset(
    {tiff.WIDTH, tiff.HEIGHT, tiff.BITS, tiff.COMPRESSION, tiff.PHOTOMETRIC, tiff.SAMPLES}
    | {tiff.ROWS_PER_STRIP, tiff.PREDICTOR, tiff.COLOR_MAP, tiff.EXTRA_SAMPLES}
)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is needed to encode a TIFF again: modes and palettes of the pages."""

    modes: tuple[str, ...]
    palettes: tuple[Indexed | None, ...]


class TiffCodec:
    """TIFF: every page encoded again without loss."""

    name = "TIFF"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a TIFF, all pages; thumbnails of other pages are dropped.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``unsupported``, ``bomb`` or ``frames``.
        """
        every = tiff.parse_tiff(data)
        pages = _full_images(every)
        sizes = [(page.value(tiff.WIDTH), page.value(tiff.HEIGHT)) for page in pages]
        for width, height in sizes:
            check_size(width, height, 1, options.max_pixels)
        total = sum(width * height for width, height in sizes)
        check_pixels(total, len(pages), options.max_pixels)
        check_size(1, 1, len(pages), options.max_pixels)
        check_expansion(total, len(pages), len(data))
        decoded = [decode_page(page, options.max_pixels) for page in pages]
        if len({page.mode if page.mode in ("CMYK", "LAB") else "" for page in decoded}) > 1:
            raise WithheldError("frames", "the TIFF's pages have different kinds of color")
        profile = _profile(pages[0])
        if any(_profile(page) != profile for page in pages):
            raise WithheldError("frames", "the TIFF's pages have different color profiles")
        found = parse_exif(data)
        exif = Exif(found.order, pages[0].entries, found.photo, found.gps)
        metadata = select_metadata(
            rebuild_exif(exif, options.keep_metadata), profile, options.keep_metadata
        )
        return Picture(
            format="TIFF",
            mode=decoded[0].mode,
            width=sizes[0][0],
            height=sizes[0][1],
            orientation=metadata.orientation,
            frames=tuple(page.frame for page in decoded),
            metadata=metadata,
            stored=_Stored(
                tuple(page.mode for page in decoded),
                tuple(page.indexed for page in decoded),
            ),
            note="left out thumbnails of other pages" if len(pages) < len(every) else None,
        )

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a TIFF without loss; unchanged pages keep their palette and bit depth."""
        stored: _Stored = picture.stored
        exif = parse_exif(picture.metadata.exif or b"II*\0\0\0\0\0")
        order = exif.order
        pages: list[Page] = []
        for number, frame in enumerate(picture.frames if frames is None else frames):
            page = DecodedPage(stored.modes[number], frame, stored.palettes[number])
            if frames is not None and page.mode in ("1", "P"):
                page = DecodedPage("L" if page.mode == "1" else "RGB", frame, None)
            entries, data = _encode(page, order)
            entries |= _metadata_entries(exif, number, picture.orientation, picture.metadata.icc)
            pages.append(Page(order, entries, (data,)))
        data = tiff.write_tiff(order, pages, (exif.photo, exif.gps))
        return Encoded(data, Route.LOSSLESS, picture.note)

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a TIFF output contains besides pages and allow-listed metadata."""
        pages = tiff.parse_tiff(data)
        found = parse_exif(data)
        kept = parse_exif(rebuild_exif(found, options.keep_metadata) or b"")
        located = {tiff.STRIP_OFFSETS, tiff.STRIP_SIZES}
        leaks: list[str] = []
        bare: list[Page] = []
        for number, page in enumerate(pages):
            allowed = _STRUCTURE | located | {tiff.ICC, tiff.ORIENTATION}
            allowed |= {*kept.main, tiff.EXIF_IFD, tiff.GPS_IFD} if number == 0 else set()
            leaks += [f"a tag {tag}" for tag in sorted(page.entries.keys() - allowed)]
            profile = _profile(page)
            leaks += icc_leaks(profile) if profile is not None else []
            if len(page.pieces) != 1 or not _fills(page):
                leaks.append("there are bytes after a page's image data")
            entries = {
                tag: entry
                for tag, entry in page.entries.items()
                if tag not in located | {tiff.EXIF_IFD, tiff.GPS_IFD}
            }
            bare.append(Page(page.order, entries, page.pieces))
        linked = (kept.photo, kept.gps)
        if not leaks and tiff.write_tiff(tiff.byte_order(data), bare, linked) != data:
            leaks.append("there are tags or bytes that the pages do not need")
        return leaks


def _full_images(every: Sequence[Page]) -> list[Page]:
    """The pages that are not thumbnails; raises if they cannot be processed together."""
    if any(tiff.SUB_DIRECTORIES in page.entries for page in every):
        raise WithheldError("frames", "a TIFF with further images inside a page, as raw files have")
    pages = [page for page in every if not page.is_reduced]
    if not pages:
        raise WithheldError("frames", "a TIFF of nothing but thumbnails")
    if len({_orientation(page) for page in pages}) > 1:
        raise WithheldError("frames", "the TIFF's pages have different orientations")
    return pages


def _orientation(page: Page) -> int:
    return orientation_of(Exif(page.order, page.entries))


def _profile(page: Page) -> bytes | None:
    entry = page.entries.get(tiff.ICC)
    return entry.raw if entry is not None else None


def _metadata_entries(
    exif: Exif, number: int, orientation: int, profile: bytes | None
) -> dict[int, Entry]:
    entries = dict(exif.main) if number == 0 else {}
    for pointer in (tiff.EXIF_IFD, tiff.GPS_IFD):
        entries.pop(pointer, None)
    if orientation != 1:
        entries[tiff.ORIENTATION] = shorts(exif.order, (orientation,))
    if profile:
        entries[tiff.ICC] = Entry(7, len(profile), profile)
    return entries


def _encode(page: DecodedPage, order: str) -> tuple[dict[int, Entry], bytes]:
    """Encode a page: its directory and its image data as one deflated strip."""
    frame = page.frame
    height, width = frame.shape[:2]
    bits, samples = 8 * frame.dtype.itemsize, 1 if frame.ndim == 2 else frame.shape[2]
    entries: dict[int, Entry] = {}
    if page.mode == "1":
        bits, rows = 1, np.packbits(frame > 0, axis=1)
    elif page.indexed is not None:
        samples, rows = 1, page.indexed.indices
        entries[tiff.COLOR_MAP] = shorts(order, _color_map(page.indexed.palette))
    else:
        rows = _differences(frame ^ LAB_SIGN if page.mode == "LAB" else frame)
        entries[tiff.PREDICTOR] = shorts(order, (_DIFFERENCES,))
    entries |= {
        tiff.WIDTH: longs(order, (width,)),
        tiff.HEIGHT: longs(order, (height,)),
        tiff.BITS: shorts(order, (bits,) * samples),
        tiff.COMPRESSION: shorts(order, (_DEFLATE,)),
        tiff.PHOTOMETRIC: shorts(order, (_PHOTOMETRIC.get(page.mode, 2),)),
        tiff.SAMPLES: shorts(order, (samples,)),
        tiff.ROWS_PER_STRIP: longs(order, (height,)),
    }
    if page.mode in _ALPHA:
        entries[tiff.EXTRA_SAMPLES] = shorts(order, (_ALPHA[page.mode],))
    stored = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<" if order == "<" else ">"))
    return entries, zlib.compress(stored.tobytes(), 6)


def _differences(frame: Frame) -> npt.NDArray[np.unsignedinteger]:
    """Horizontal differencing (TIFF predictor 2)."""
    rows = frame.copy()
    rows[:, 1:] -= frame[:, :-1]
    return rows


def _color_map(palette: npt.NDArray[np.uint8]) -> list[int]:
    full = np.zeros((256, 3), np.int64)
    full[: len(palette)] = palette.astype(np.int64) * 257
    return [int(value) for value in full.T.ravel()]


def _fills(page: Page) -> bool:
    bits = sum(page.values(tiff.BITS, (1,)))
    row = -(-page.value(tiff.WIDTH) * bits // 8)
    return is_exact(page.pieces[0], row * page.value(tiff.HEIGHT))
