"""ICC profiles, rebuilt from the color tags that display an image.

Format: ICC.1:2022: a 128-byte header, a tag table, tag data. Text and private tags
can contain anything (display profiles name the owner's monitor), and so can tables: a
curve of arbitrary numbers holds a photo, and one that falls shows a picture that the pixels do
not. So texts are replaced, unknown tags dropped, curves must rise and tables be smooth.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curate.codec.metadata.rendering import can_render

_MAX_BYTES = 4 << 20
_MAX_TAGS = 100
_MAX_ENTRIES = 1024
"""Entries of a curve; longer ones are resampled."""
_MAX_DEVIATION = 1 / 256
"""Largest difference of a resampled curve from its original, as a share of the range."""
_MAX_GRID = 17
"""Grid points of a table for CMYK on each axis."""
_MAX_BEND = 1.0
"""Mean second derivative of such a table along an axis, both in 0..1; of models of a press at most
0.5, and 10 where the table holds a photo."""

_MAX_STEP = 0.3
"""The largest second difference in such a table, as a share of the range."""
_MAX_NUMBER = 8.0
"""Of matrices, white points, primaries and parameters of curves."""

_SHARED = frozenset(b"wtpt bkpt chad cicp".split())
_TAGS = {
    b"RGB ": frozenset(b"rXYZ gXYZ bXYZ rTRC gTRC bTRC".split()),
    b"GRAY": frozenset({b"kTRC"}),
    b"CMYK": frozenset({b"A2B0"}),
}
"""By color space, the tags that display an image, all of which a profile needs."""
_CLASSES = frozenset({b"mntr", b"scnr", b"prtr", b"spac"})
_TRANSFERS = frozenset({1, 6, 13, 14, 15})  # of cicp (ITU-T H.273): none of high dynamic range
_TEXT = b"color data of the source"
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
_D50 = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
_IDENTITY = struct.pack(">9I", *(0x10000 * (n % 4 == 0) for n in range(9)))

Curve = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def rebuild_profile(profile: bytes) -> bytes | None:
    """Return a new profile with the color data of ``profile`` only.

    Profiles of RGB and gray images keep their curves and primaries, profiles of CMYK images
    the table of the perceptual intent. Rebuilding a rebuilt profile changes nothing.

    Returns:
        The profile, or None if ``profile`` is invalid, lacks these tags, has a curve that does
        not rise or a table that is not smooth.
    """
    if not 132 <= len(profile) <= _MAX_BYTES or profile[36:40] != b"acsp":
        return None
    if struct.unpack_from(">I", profile, 0)[0] != len(profile):
        return None
    if profile[12:16] not in _CLASSES or profile[8] not in (2, 4):
        return None
    if profile[20:24] not in (b"XYZ ", b"Lab "):
        return None
    tags = _color_tags(profile)
    if not _TAGS.get(profile[16:20], {b""}) <= tags.keys():
        return None
    version_4 = profile[8] >= 4
    tags[b"desc"] = _unicode_text(_TEXT) if version_4 else _old_description(_TEXT)
    tags[b"cprt"] = _unicode_text(_TEXT) if version_4 else b"text\0\0\0\0" + _TEXT + b"\0"
    rebuilt = _write(profile, tags)
    return rebuilt if can_render(rebuilt) else None


def _color_tags(profile: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", profile, 128)[0]
    if count > _MAX_TAGS or 132 + 12 * count > len(profile):
        return {}
    wanted = _TAGS.get(profile[16:20], frozenset()) | _SHARED
    tags: dict[bytes, bytes] = {}
    for index in range(count):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if name not in wanted or name in tags:
            continue
        if size < 8 or offset < 132 + 12 * count or offset + size > len(profile):
            return {}
        data = _rebuild_tag(name, profile[offset : offset + size])
        if data is not None:
            tags[name] = data
        elif name not in _SHARED:
            return {}
    return tags


def _rebuild_tag(name: bytes, data: bytes) -> bytes | None:
    """A tag of the type and size that its name requires; None if it is another."""
    kind, size = data[:4], len(data)
    if name in (b"rTRC", b"gTRC", b"bTRC", b"kTRC"):
        return _rebuild_curve(data)
    if name == b"A2B0":
        return _rebuild_table(data)
    if name == b"cicp":
        sound = kind == b"cicp" and size >= 12 and data[9] in _TRANSFERS and max(data[8:12]) < 32
        return b"cicp\0\0\0\0" + data[8:12] if sound else None
    wanted, count = (b"sf32", 9) if name == b"chad" else (b"XYZ ", 3)
    if kind != wanted or size < 8 + 4 * count or not _are_small(data[8 : 8 + 4 * count]):
        return None
    return kind + b"\0\0\0\0" + data[8 : 8 + 4 * count]


def _are_small(data: bytes) -> bool:
    """Whether s15Fixed16 numbers have the size that color data have."""
    numbers = struct.unpack(f">{len(data) // 4}i", data)
    return all(abs(number) <= _MAX_NUMBER * 65536 for number in numbers)


def _rebuild_curve(data: bytes) -> bytes | None:
    """A curve that rises, of at most ``_MAX_ENTRIES`` entries."""
    kind, size = data[:4], len(data)
    if size < 12:
        return None
    if kind == b"para":
        function = int(struct.unpack_from(">H", data, 8)[0])
        count = dict(enumerate((1, 3, 4, 5, 7))).get(function, size)
        if 12 + 4 * count > size or not _are_small(data[12 : 12 + 4 * count]):
            return None
        numbers = struct.unpack_from(f">{count}i", data, 12)
        values = _parametric(function, [number / 65536 for number in numbers])
        head = b"para\0\0\0\0" + struct.pack(">HH", function, 0)
        return head + data[12 : 12 + 4 * count] if _rises(values) else None
    count = int(struct.unpack_from(">I", data, 8)[0])
    if kind != b"curv" or 12 + 2 * count > size:
        return None
    if count < 2:  # the identity, or an exponent in steps of 1/256
        fixed = data[:4] + b"\0\0\0\0" + data[8 : 12 + 2 * count]
        return fixed if count == 0 or any(fixed[12:]) else None
    values = np.frombuffer(data, ">u2", count, 12).astype(np.float64)
    if not _rises(values):
        return None
    if count > _MAX_ENTRIES:
        at = np.linspace(0, 1, count)
        fewer = np.linspace(0, 1, _MAX_ENTRIES)
        resampled = np.floor(np.interp(fewer, at, values) + 0.5)
        if np.abs(np.interp(at, fewer, resampled) - values).max() > 65535 * _MAX_DEVIATION:
            return None
        values = resampled
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.astype(">u2").tobytes()


def _parametric(function: int, numbers: list[float]) -> Curve:
    """Values of a parametricCurveType (ICC.1, 10.18)."""
    x = np.linspace(0, 1, _MAX_ENTRIES)
    g, a, b, c, d, e, f = (*numbers, *(0.0,) * (7 - len(numbers)))
    a = 1.0 if function == 0 else a
    with np.errstate(all="ignore"):
        power = (a * x + b) ** g
        if function == 0:
            return np.asarray(power)
        if function < 3:
            offset = c if function == 2 else 0.0
            return np.asarray(np.where(a * x + b >= 0, power + offset, offset))
        return np.asarray(np.where(x >= d, power + e, c * x + f))


def _rises(values: Curve) -> bool:
    shown = np.clip(values, 0, 65535)
    if not np.isfinite(values).all():
        return False
    return bool((np.diff(shown) >= -1e-4 * shown.max()).all() and shown[-1] > shown[0])


def _rebuild_table(data: bytes) -> bytes | None:
    """A lut8Type or lut16Type from CMYK to three channels (ICC.1, 10.10 and 10.11)."""
    wide = data[:4] == b"mft2"
    if data[:4] not in (b"mft1", b"mft2") or len(data) < 52 or data[8:10] != b"\4\3":
        return None
    grid = data[10]
    before, after = struct.unpack_from(">HH", data, 48) if wide else (256, 256)
    counts = (4 * before, 3 * grid**4, 3 * after)
    start, kind = (52, np.dtype(">u2")) if wide else (48, np.dtype("u1"))
    size = start + sum(counts) * kind.itemsize
    if not 2 <= grid <= _MAX_GRID or min(before, after) < 2 or size > len(data):
        return None
    if max(before, after) > _MAX_ENTRIES:
        return None
    values = np.frombuffer(data, kind, sum(counts), start).astype(np.float64)
    first, table, last = np.split(values, np.cumsum(counts)[:2])
    curves = (*first.reshape(4, before), *last.reshape(3, after))
    if not all(map(_rises, curves)):
        return None
    if not _is_smooth(table.reshape(*(grid,) * 4, 3) / float(np.iinfo(kind).max)):
        return None
    head = data[:4] + b"\0\0\0\0\4\3" + bytes([grid, 0]) + _IDENTITY
    return head + data[48:size]


def _is_smooth(table: Curve) -> bool:
    """Whether neighbors along every axis are near to a line, as colors of inks are."""
    if len(table) < 3:
        return True
    limit = _MAX_BEND / (len(table) - 1) ** 2
    for axis in range(4):
        bends = np.abs(np.diff(table, 2, axis=axis))
        if bends.max() > _MAX_STEP or bends.mean(axis=(0, 1, 2, 3)).max() > limit:
            return False
    return True


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
    intent = min(int(struct.unpack_from(">I", profile, 64)[0]), 4) % 4
    header = struct.pack(">I4x4s", at, profile[8:10] + b"\0\0") + profile[12:24] + _DATE + b"acsp"
    header += b"\0" * 24 + struct.pack(">I", intent) + _D50 + b"\0" * 48
    return header + struct.pack(">I", len(tags)) + b"".join(table) + b"".join(body)
