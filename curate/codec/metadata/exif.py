"""EXIF blocks: reading and writing of tags.

Format: CIPA DC-008 (Exif 3.0) and TIFF 6.0: a byte-order mark, then image file
directories (IFDs) of 12-byte entries. Damaged entries raise no error; they are
skipped, and therefore dropped from the output.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_MAX_ENTRIES = 512


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
    """The directories of an EXIF block whose tags can be kept.

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


def parse_exif(block: bytes) -> Exif:
    """Read an EXIF block (a TIFF header and its directories), skipping damaged parts."""
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
    """Return the orientation, 1–8; 1 if it is absent or invalid."""
    value = _number(exif.main.get(ORIENTATION), exif.order)
    return value if value is not None and 1 <= value <= 8 else 1


def read_directory(block: bytes, offset: int, order: str) -> dict[int, Entry]:
    """Return the readable entries of the directory at ``offset``, by tag.

    Values of a sound directory do not overlap, so all together are not longer than the
    block; what exceeds this is skipped, which bounds memory.
    """
    entries: dict[int, Entry] = {}
    budget = len(block)
    if not 8 <= offset <= len(block) - 2:
        return entries
    count = min(struct.unpack_from(order + "H", block, offset)[0], _MAX_ENTRIES)
    for start in range(offset + 2, offset + 2 + 12 * count, 12):
        if start + 12 > len(block):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", block, start)
        size = _SIZES.get(kind, 0) * number
        at = start + 8 if size <= 4 else struct.unpack_from(order + "I", block, start + 8)[0]
        if 0 < size <= budget and at + size <= len(block) and tag not in entries:
            entries[tag] = Entry(kind, number, block[at : at + size])
            budget -= size
    return entries


def _linked(block: bytes, pointer: Entry | None, order: str) -> dict[int, Entry]:
    offset = _number(pointer, order)
    return {} if offset is None else read_directory(block, offset, order)


def _number(entry: Entry | None, order: str) -> int | None:
    if entry is None or entry.count != 1 or entry.kind not in (1, 3, 4):
        return None
    return int(struct.unpack(order + {1: "B", 3: "H", 4: "I"}[entry.kind], entry.raw)[0])


def write_exif(exif: Exif) -> bytes:
    """Return an EXIF block with these tags, without the ``Exif`` prefix."""
    order, photo, gps = exif.order, exif.photo, exif.gps
    main = dict(exif.main)
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
    """Return one image file directory followed by its values.

    Args:
        order: ``<`` or ``>``.
        entries: by tag, their bytes in that order.
        offset: its position in the file, bytes.
        following: offset of the next directory; 0 if there is none.
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
