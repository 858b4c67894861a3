"""EXIF: read without trust, and written again from an allow-list of tags.

Layout after CIPA DC-008 (Exif 3.0) and TIFF 6.0: a byte-order mark, then image
file directories of 12-byte entries. Damage never raises here: an entry that
cannot be read is an entry that will not be kept.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_MOST_ENTRIES = 512
_LONGEST_VALUE = 4096  # a kept tag is a number or a short text, never a payload


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag's value, in the block's own byte order.

    Args:
        kind: TIFF field type, 1–12.
        count: number of values.
        raw: the values' bytes.
    """

    kind: int
    count: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Exif:
    """The three directories of an EXIF block that can be kept.

    Args:
        order: ``<`` or ``>``, as in ``struct``.
        main: IFD0 by tag.
        photo: the Exif IFD by tag.
        gps: the GPS IFD by tag.
    """

    order: str = ">"
    main: Mapping[int, Entry] = field(default_factory=dict)
    photo: Mapping[int, Entry] = field(default_factory=dict)
    gps: Mapping[int, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptTags:
    """The tags behind one name of ``keep_metadata``."""

    main: frozenset[int] = frozenset()
    photo: frozenset[int] = frozenset()
    gps: frozenset[int] = frozenset()


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
        "resolution": KeptTags(main=frozenset({0x011A, 0x011B, 0x0128})),
    }
)
"""Names that ``keep_metadata`` accepts. Thumbnails, maker notes, serial numbers
and owner names belong to none of them."""


def parse_exif(block: bytes) -> Exif:
    """Read an EXIF block (a TIFF header and its directories), as far as it goes."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return Exif()
    main = read_directory(block, struct.unpack_from(order + "I", block, 4)[0], order)
    return Exif(
        order,
        main,
        _linked(block, main.get(_EXIF_IFD), order),
        _linked(block, main.get(_GPS_IFD), order),
    )


def orientation_of(exif: Exif) -> int:
    """The orientation, 1–8; 1 where it is absent or invalid."""
    value = _number(exif.main.get(ORIENTATION), exif.order)
    return value if value is not None and 1 <= value <= 8 else 1


def rebuild_exif(exif: Exif, keep: frozenset[str]) -> bytes | None:
    """A new EXIF block with the orientation and the named tags only.

    The same tags always give the same bytes, and rebuilding a rebuilt block
    changes nothing: that is how a file is checked for leaks.

    Returns:
        The block without its ``Exif`` prefix, or None where nothing is to be kept.
    """
    groups = [KEEPABLE[name] for name in sorted(keep)]
    orientation = orientation_of(exif)
    main = _chosen(exif.main, frozenset().union(*(group.main for group in groups)))
    photo = _chosen(exif.photo, frozenset().union(*(group.photo for group in groups)))
    gps = _chosen(exif.gps, frozenset().union(*(group.gps for group in groups)))
    if orientation != 1:
        main[ORIENTATION] = Entry(3, 1, struct.pack(exif.order + "H", orientation))
    if not (main or photo or gps):
        return None
    return _write_block(exif.order, main, photo, gps)


def read_directory(block: bytes, offset: int, order: str) -> dict[int, Entry]:
    """The readable entries of the directory at ``offset``, by tag."""
    entries: dict[int, Entry] = {}
    if not 8 <= offset <= len(block) - 2:
        return entries
    count = min(struct.unpack_from(order + "H", block, offset)[0], _MOST_ENTRIES)
    for start in range(offset + 2, offset + 2 + 12 * count, 12):
        if start + 12 > len(block):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", block, start)
        size = _SIZES.get(kind, 0) * number
        at = start + 8 if size <= 4 else struct.unpack_from(order + "I", block, start + 8)[0]
        if size and at + size <= len(block):
            entries.setdefault(tag, Entry(kind, number, block[at : at + size]))
    return entries


def _linked(block: bytes, pointer: Entry | None, order: str) -> dict[int, Entry]:
    offset = _number(pointer, order)
    return {} if offset is None else read_directory(block, offset, order)


def _number(entry: Entry | None, order: str) -> int | None:
    if entry is None or entry.count != 1 or entry.kind not in (1, 3, 4):
        return None
    return int(struct.unpack(order + {1: "B", 3: "H", 4: "I"}[entry.kind], entry.raw)[0])


def _chosen(entries: Mapping[int, Entry], tags: frozenset[int]) -> dict[int, Entry]:
    chosen = {tag: _without_tail(entries[tag]) for tag in sorted(tags & entries.keys())}
    return {tag: entry for tag, entry in chosen.items() if len(entry.raw) <= _LONGEST_VALUE}


def _without_tail(entry: Entry) -> Entry:
    """A text ends at its first NUL; what stands behind it is not part of the value."""
    if entry.kind != 2:
        return entry
    text = entry.raw.split(b"\0", 1)[0] + b"\0"
    return Entry(2, len(text), text)


def _write_block(
    order: str, main: dict[int, Entry], photo: dict[int, Entry], gps: dict[int, Entry]
) -> bytes:
    main = dict(main)
    placeholder = Entry(4, 1, b"\0\0\0\0")
    main.update({_EXIF_IFD: placeholder} if photo else {})
    main.update({_GPS_IFD: placeholder} if gps else {})
    at_photo = 8 + _directory_size(main)
    at_gps = at_photo + (_directory_size(photo) if photo else 0)
    if photo:
        main[_EXIF_IFD] = Entry(4, 1, struct.pack(order + "I", at_photo))
    if gps:
        main[_GPS_IFD] = Entry(4, 1, struct.pack(order + "I", at_gps))
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    parts = [header, write_directory(order, main, 8)]
    parts += [write_directory(order, photo, at_photo)] if photo else []
    parts += [write_directory(order, gps, at_gps)] if gps else []
    return b"".join(parts)


def _directory_size(entries: Mapping[int, Entry]) -> int:
    return len(write_directory("<", entries, 0))


def write_directory(
    order: str, entries: Mapping[int, Entry], offset: int, following: int = 0
) -> bytes:
    """One image file directory with its values behind it.

    Args:
        order: ``<`` or ``>``.
        entries: by tag, their bytes in that order.
        offset: where in the file it will stand.
        following: offset of the next directory, 0 for none.
    """
    table = [struct.pack(order + "H", len(entries))]
    values: list[bytes] = []
    at = offset + 2 + 12 * len(entries) + 4
    for tag, entry in sorted(entries.items()):
        table.append(struct.pack(order + "HHI", tag, entry.kind, entry.count))
        if len(entry.raw) <= 4:
            table.append(entry.raw.ljust(4, b"\0"))
            continue
        padded = entry.raw + b"\0" * (len(entry.raw) % 2)
        table.append(struct.pack(order + "I", at))
        values.append(padded)
        at += len(padded)
    return b"".join([*table, struct.pack(order + "I", following), *values])
