"""ICC profiles, rebuilt from their color tags only.

Format: ICC.1:2022: a 128-byte header, a tag table, tag data. Text and private tags
can contain anything (display profiles name the owner's monitor), so texts are replaced
and unknown tags dropped.
"""

from __future__ import annotations

import struct
from functools import lru_cache

_MAX_BYTES = 4 << 20
_MAX_TAGS = 100
_COLOR_TAGS = frozenset(
    b"rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC wtpt bkpt chad lumi cicp gamt "
    b"A2B0 A2B1 A2B2 A2B3 B2A0 B2A1 B2A2 B2A3 pre0 pre1 pre2 "
    b"D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3".split()
)
_TEXT = b"colour data of the source"
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@lru_cache(maxsize=64)
def rebuild_profile(profile: bytes) -> bytes | None:
    """Return a new profile with the color data of ``profile`` only.

    Rebuilding a rebuilt profile changes nothing.

    Returns:
        The profile, or None if ``profile`` is invalid.
    """
    if not 132 <= len(profile) <= _MAX_BYTES or profile[36:40] != b"acsp":
        return None
    if struct.unpack_from(">I", profile, 0)[0] != len(profile):
        return None
    tags = _color_tags(profile)
    if not tags:
        return None
    version_4 = profile[8] >= 4
    tags[b"desc"] = _unicode_text(_TEXT) if version_4 else _old_description(_TEXT)
    tags[b"cprt"] = _unicode_text(_TEXT) if version_4 else b"text\0\0\0\0" + _TEXT + b"\0"
    return _write(profile, tags)


def _color_tags(profile: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", profile, 128)[0]
    if count > _MAX_TAGS or 132 + 12 * count > len(profile):
        return {}
    tags: dict[bytes, bytes] = {}
    for index in range(count):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if name not in _COLOR_TAGS or name in tags:
            continue
        if size < 8 or offset < 132 + 12 * count or offset + size > len(profile):
            return {}
        data = _exact(profile[offset : offset + size])
        if data is None:
            return {}
        tags[name] = data
    return tags


def _exact(data: bytes) -> bytes | None:
    """Cut a tag's data to the size that its type declares; None if it is too short."""
    kind = data[:4]
    size = len(data)
    if kind in (b"mAB ", b"mBA ", b"mpet"):
        needed = size
    elif kind == b"XYZ ":
        needed = 20
    elif kind == b"sf32":
        needed = 8 + 9 * 4
    elif kind == b"cicp":
        needed = 12
    elif kind == b"curv" and size >= 12:
        needed = 12 + 2 * int(struct.unpack_from(">I", data, 8)[0])
    elif kind == b"para" and size >= 12:
        parameters = (1, 3, 4, 5, 7)
        function = int(struct.unpack_from(">H", data, 8)[0])
        needed = 12 + 4 * parameters[function] if function < len(parameters) else size + 1
    elif kind in (b"mft1", b"mft2") and size >= 52:
        needed = _table_size(data)
    else:
        return None
    return data[:4] + b"\0\0\0\0" + data[8:needed] if needed <= size else None


def _table_size(data: bytes) -> int:
    inputs, outputs = data[8], data[9]
    nodes = int(data[10] ** min(inputs, 15)) * outputs
    if data[:4] == b"mft1":
        return 48 + 256 * inputs + nodes + 256 * outputs
    before, after = struct.unpack_from(">HH", data, 48)
    return 52 + 2 * (int(before) * inputs + nodes + int(after) * outputs)


def _unicode_text(text: bytes) -> bytes:
    words = text.decode("ascii").encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(words), 28) + words


def _old_description(text: bytes) -> bytes:
    ascii_part = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0"
    return ascii_part + b"\0" * (8 + 3 + 67)  # no Unicode, no ScriptCode


def _write(profile: bytes, tags: dict[bytes, bytes]) -> bytes:
    table: list[bytes] = []
    body: list[bytes] = []
    offsets: dict[bytes, int] = {}
    at = 132 + 12 * len(tags)
    for name, data in sorted(tags.items()):
        if data not in offsets:  # tags may share data, as equal R, G and B curves do
            offsets[data] = at
            body.append(data + b"\0" * (-len(data) % 4))
            at += len(body[-1])
        table.append(struct.pack(">4sII", name, offsets[data], len(data)))
    header = struct.pack(">I4x4s", at, profile[8:10] + b"\0\0") + profile[12:24] + _DATE + b"acsp"
    header += b"\0" * 24 + profile[64:68] + profile[68:80] + b"\0" * 48
    return header + struct.pack(">I", len(tags)) + b"".join(table) + b"".join(body)
