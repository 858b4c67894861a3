"""The metadata allow-list: which EXIF tags and ICC data an output may contain."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from curate.codec.metadata.exif import (
    ORIENTATION,
    Entry,
    Exif,
    orientation_of,
    parse_exif,
    write_exif,
)
from curate.codec.metadata.icc import rebuild_profile

DROPPED_PROFILE = "left out a color profile that is damaged, of another kind or not smooth"

_ASCII, _UNDEFINED = 2, 7  # TIFF field types
_BYTE, _INTEGER, _RATIONAL = frozenset({1}), frozenset({3, 4}), frozenset({5, 10})
_TEXT_BYTES = 256
_LONG_TEXT_BYTES = 1024
_RESOLUTION = frozenset({0x011A, 0x011B, 0x0128})
_LONG_TEXTS = frozenset({0x010E, 0x8298})  # description, copyright
_ASCII_PREFIX = b"ASCII\0\0\0"
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])\b")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of an output; everything else of the source's metadata is dropped.

    Args:
        orientation: EXIF orientation, 1–8.
        exif: a rebuilt EXIF block (a TIFF file without the ``Exif`` prefix), or None.
        icc: a rebuilt color profile, or None.
        note: what was dropped that changes how the pixels are shown, or None.
    """

    orientation: int = 1
    exif: bytes | None = None
    icc: bytes | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class KeptTags:
    """The EXIF tags of one group of ``keep_metadata``, by directory."""

    main: frozenset[int] = frozenset()
    photo: frozenset[int] = frozenset()
    gps: frozenset[int] = frozenset()


_NUMBERS: Mapping[int, tuple[frozenset[int], int]] = MappingProxyType(
    {
        **dict.fromkeys((0x011A, 0x011B), (_RATIONAL, 1)),
        **dict.fromkeys((0x0128, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832), (_INTEGER, 1)),
        **dict.fromkeys((0x829A, 0x829D, *range(0x9201, 0x9207), 0x920A), (_RATIONAL, 1)),
        **dict.fromkeys((0x9207, 0x9208, 0x9209), (_INTEGER, 1)),
        **dict.fromkeys((0xA402, 0xA403, 0xA405, 0xA406), (_INTEGER, 1)),
        0xA404: (_RATIONAL, 1),
        0xA432: (_RATIONAL, 4),
    }
)
"""Field types and number of values of the kept numeric tags (CIPA DC-008); all others are text."""

_GPS_NUMBERS: Mapping[int, tuple[frozenset[int], int]] = MappingProxyType(
    {
        0: (_BYTE, 4),
        5: (_BYTE, 1),
        30: (_INTEGER, 1),
        **dict.fromkeys((2, 4, 7, 20, 22), (_RATIONAL, 3)),
        **dict.fromkeys((6, 11, 13, 15, 17, 24, 26, 31), (_RATIONAL, 1)),
    }
)
_GPS_UNDEFINED = frozenset({27, 28})  # processing method, area: text with a character code

KEEPABLE: Mapping[str, KeptTags] = MappingProxyType(
    {
        "camera": KeptTags(
            main=frozenset({0x010F, 0x0110}),  # make, model; never serial numbers or owner
            photo=frozenset({0xA432, 0xA433, 0xA434}),
        ),
        "copyright": KeptTags(main=frozenset({0x013B, 0x8298})),
        "datetime": KeptTags(
            main=frozenset({0x0132}),
            photo=frozenset(
                {0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292},
            ),
        ),
        "description": KeptTags(main=frozenset({0x010E})),
        "exposure": KeptTags(
            photo=frozenset(
                {0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832}
                | {0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206, 0x9207, 0x9208, 0x9209}
                | {0x920A, 0xA402, 0xA403, 0xA404, 0xA405, 0xA406},
            ),
        ),
        "gps": KeptTags(gps=frozenset(range(0x20))),
        "resolution": KeptTags(main=_RESOLUTION),
    }
)
"""Groups of EXIF tags that ``keep_metadata`` accepts. Thumbnails, maker notes, serial
numbers and owner names are in none of them."""


def select_metadata(
    exif: bytes | None, icc: bytes | None, keep: frozenset[str], xmp: bytes | None = None
) -> Metadata:
    """Apply the allow-list to a source's metadata.

    Args:
        exif: the source's EXIF block without its ``Exif`` prefix, or None.
        icc: the source's color profile, or None.
        keep: names of further groups of EXIF tags to keep, from ``KEEPABLE``.
        xmp: the source's XMP packet, in which some writers store the orientation.
    """
    parsed = parse_exif(exif or b"")
    if ORIENTATION not in parsed.main and (found := _XMP_ORIENTATION.search(xmp or b"")):
        value = Entry(3, 1, struct.pack(parsed.order + "H", int(found[1])))
        parsed = replace(parsed, main={**parsed.main, ORIENTATION: value})
    profile = rebuild_profile(icc) if icc else None
    return Metadata(
        orientation=orientation_of(parsed),
        exif=rebuild_exif(parsed, keep),
        icc=profile,
        note=DROPPED_PROFILE if icc and profile is None else None,
    )


def rebuild_exif(exif: Exif, keep: frozenset[str]) -> bytes | None:
    """Write a new EXIF block with the orientation and the named groups of tags only.

    Equal tags give equal bytes, and rebuilding a rebuilt block changes nothing;
    this is how an output is checked for leaks.

    Returns:
        The block without its ``Exif`` prefix, or None if it would be empty.
    """
    groups = [KEEPABLE[name] for name in sorted(keep)]
    orientation = orientation_of(exif)
    main = _selected(exif.main, frozenset().union(*(group.main for group in groups)), _NUMBERS)
    if main.get(0x011A) != main.get(0x011B):  # a viewer could show the image stretched
        main = {tag: entry for tag, entry in main.items() if tag not in _RESOLUTION}
    photo = _selected(exif.photo, frozenset().union(*(group.photo for group in groups)), _NUMBERS)
    gps = _selected(exif.gps, frozenset().union(*(group.gps for group in groups)), _GPS_NUMBERS)
    if orientation != 1:
        main[ORIENTATION] = Entry(3, 1, struct.pack(exif.order + "H", orientation))
    if not (main or photo or gps):
        return None
    return write_exif(Exif(exif.order, main, photo, gps))


def exif_leaks(block: bytes, keep: frozenset[str]) -> list[str]:
    """List what an output's EXIF block contains beyond the allow-list."""
    if rebuild_exif(parse_exif(block), keep) == block:
        return []
    return ["EXIF contains more than the orientation and the requested tags"]


def icc_leaks(profile: bytes) -> list[str]:
    """List what an output's color profile contains beyond color data."""
    if rebuild_profile(profile) == profile:
        return []
    return ["the color profile contains more than color data"]


def _selected(
    entries: Mapping[int, Entry],
    tags: frozenset[int],
    numbers: Mapping[int, tuple[frozenset[int], int]],
) -> dict[int, Entry]:
    """The tags whose values have the type and size that the standard gives them."""
    selected: dict[int, Entry] = {}
    for tag in sorted(tags & entries.keys()):
        entry: Entry | None = entries[tag]
        assert entry is not None  # noqa: S101 - narrows the type
        if tag in numbers:
            kinds, count = numbers[tag]
            entry = entry if entry.kind in kinds and entry.count == count else None
        elif numbers is _GPS_NUMBERS and tag in _GPS_UNDEFINED:
            entry = _coded_text(entry)
        else:
            entry = _text(entry, _LONG_TEXT_BYTES if tag in _LONG_TEXTS else _TEXT_BYTES)
        if entry is not None:
            selected[tag] = entry
    return selected


def _text(entry: Entry, limit: int) -> Entry | None:
    """A text up to its first NUL, after which nothing belongs to the value; None if not text."""
    text = entry.raw.split(b"\0", 1)[0]
    if entry.kind != _ASCII or not _is_printable(text, limit):
        return None
    return Entry(_ASCII, len(text) + 1, text + b"\0")


def _coded_text(entry: Entry) -> Entry | None:
    """A text with a character code of 8 bytes, of which only ASCII is kept."""
    text = entry.raw.removeprefix(_ASCII_PREFIX).rstrip(b"\0")
    coded = entry.raw.startswith(_ASCII_PREFIX)
    if entry.kind != _UNDEFINED or not coded or not _is_printable(text, _TEXT_BYTES):
        return None
    return Entry(_UNDEFINED, len(_ASCII_PREFIX + text), _ASCII_PREFIX + text)


def _is_printable(text: bytes, limit: int) -> bool:
    """Whether bytes are at most ``limit`` bytes of printable UTF-8 (or Latin-1) text."""
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    return len(text) <= limit and all(c.isprintable() or c in "\t\r\n" for c in decoded)
