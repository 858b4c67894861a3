"""ICC profiles, rebuilt from their color tags only.

Format: ICC.1:2022: a 128-byte header, a tag table, tag data. Text and private tags
can contain anything (display profiles name the owner's monitor), so texts are replaced
and unknown tags dropped.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache

_MAX_BYTES = 4 << 20
_MAX_TAGS = 100
_COLOR_TAGS = frozenset(
    b"rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC wtpt bkpt chad lumi cicp gamt "
    b"A2B0 A2B1 A2B2 A2B3 B2A0 B2A1 B2A2 B2A3 pre0 pre1 pre2 "
    b"D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3".split()
)
_TEXT = b"color data of the source"
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
        if data is None and profile[offset : offset + 4] == b"mpet":
            continue  # optional beside the tables that every reader uses
        if data is None:
            return {}
        tags[name] = data
    return tags


def _exact(data: bytes) -> bytes | None:
    """Cut a tag's data to the size that its type declares; None if it is too short."""
    kind = data[:4]
    size = len(data)
    if kind in (b"mAB ", b"mBA "):
        return _rebuild_lut(data)
    if kind == b"mpet":
        return _rebuild_elements(data)
    if kind == b"XYZ ":
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


def _rebuild_lut(data: bytes) -> bytes | None:
    """A lutAToBType or lutBToAType (ICC.1, 10.12 and 10.13) of its used parts, without gaps."""
    if len(data) < 32:
        return None
    inputs, outputs = data[8], data[9]
    b_side, a_side = (outputs, inputs) if data[:4] == b"mAB " else (inputs, outputs)
    parts: list[bytes] = []
    offsets: list[int] = []
    at = 32
    kinds = zip(
        struct.unpack_from(">5I", data, 12),
        ((b_side, 0), (0, 12), (b_side, 0), (0, -1), (a_side, 0)),
        strict=True,
    )
    for offset, (curves, numbers) in kinds:  # B curves, matrix, M curves, CLUT, A curves
        part: bytes | None = b""
        if offset >= 32 and numbers == 12:
            part = data[offset : offset + 48] if offset + 48 <= len(data) else None
        elif offset >= 32 and numbers == -1:
            part = _lut_table(data, offset, inputs, outputs)
        elif offset >= 32:
            part = _curves(data, offset, curves)
        if part is None or (offset and not part):
            return None
        offsets.append(at if part else 0)
        parts.append(part + b"\0" * (-len(part) % 4))
        at += len(parts[-1])
    if not offsets[0]:
        return None
    header = data[:4] + b"\0\0\0\0" + bytes([inputs, outputs, 0, 0])
    return b"".join([header, struct.pack(">5I", *offsets), *parts])


def _curves(data: bytes, offset: int, count: int) -> bytes | None:
    """Consecutive ``curv`` or ``para`` elements, each padded to 4 bytes."""
    parts: list[bytes] = []
    for _ in range(count):
        curve = _exact(data[offset:]) if data[offset : offset + 4] in (b"curv", b"para") else None
        if curve is None:
            return None
        parts.append(curve + b"\0" * (-len(curve) % 4))
        offset += len(parts[-1])
    return b"".join(parts)


def _lut_table(data: bytes, offset: int, inputs: int, outputs: int) -> bytes | None:
    """The CLUT element: grid points, precision and values."""
    if offset + 20 > len(data) or not 1 <= inputs <= 16 or data[offset + 16] not in (1, 2):
        return None
    points = data[offset : offset + inputs]
    size = 20 + math.prod(points) * outputs * data[offset + 16]
    if offset + size > len(data):
        return None
    values = data[offset + 20 : offset + size]
    return points.ljust(16, b"\0") + data[offset + 16 : offset + 17] + b"\0\0\0" + values


def _rebuild_elements(data: bytes) -> bytes | None:
    """A multiProcessElementsType (ICC.1, 10.16) of its elements, without gaps."""
    if len(data) < 16:
        return None
    inputs, outputs, count = struct.unpack_from(">HHI", data, 8)
    if not 1 <= count <= _MAX_TAGS or 16 + 8 * count > len(data):
        return None
    parts: list[bytes] = []
    table: list[bytes] = []
    at = 16 + 8 * count
    for index in range(count):
        offset, size = struct.unpack_from(">II", data, 16 + 8 * index)
        if offset < 16 + 8 * count or offset + size > len(data):
            return None
        element = _element(data[offset : offset + size])
        if element is None:
            return None
        table.append(struct.pack(">II", at, len(element)))
        parts.append(element + b"\0" * (-len(element) % 4))
        at += len(parts[-1])
    head = b"mpet\0\0\0\0" + struct.pack(">HHI", inputs, outputs, count)
    return b"".join([head, *table, *parts])


def _element(data: bytes) -> bytes | None:
    """A matrix or CLUT element of a multiProcessElementsType, cut to its size; else None."""
    if len(data) < 12:
        return None
    inputs, outputs = struct.unpack_from(">HH", data, 8)
    if data[:4] == b"matf":
        size = 12 + 4 * (inputs * outputs + outputs)
    elif data[:4] == b"clut" and len(data) >= 28 and 1 <= inputs <= 16:
        size = 28 + 4 * math.prod(data[12 : 12 + inputs]) * outputs
        data = data[:12] + data[12 : 12 + inputs].ljust(16, b"\0") + data[28:]
    else:  # curve sets, whose segments are not parsed, and unknown elements
        return None
    return data[:4] + b"\0\0\0\0" + data[8:size] if size <= len(data) else None


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
