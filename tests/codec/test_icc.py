from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from curate.codec.metadata.icc import rebuild_profile
from tests.codec import samples


def profile(private: bytes = b"", text: bytes = b"") -> bytes:
    """Pillow's sRGB profile with a private tag and texts of one's own."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack_from(">I", made, 128)[0]
    tags = {}
    for index in range(count):
        name, at, size = struct.unpack_from(">4sII", made, 132 + 12 * index)
        tags[name] = made[at : at + size]
    if private:
        tags[b"caNa"] = b"text\0\0\0\0" + private + b"\0"
        tags[b"desc"] = tags[b"cprt"] = b"text\0\0\0\0" + private + b"\0"
        tags[b"rXYZ"] = tags[b"rXYZ"][:20] + private
        tags[b"dmnd"] = b"desc\0\0\0\0" + private
    if text:
        tags[b"desc"] = b"text\0\0\0\0" + text + b"\0"
    table, body = b"", b""
    at = 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = (
        struct.pack(">I", at + len(body)) + made[4:48] + private[:4].ljust(4, b"\0") + made[52:128]
    )
    return head + struct.pack(">I", len(tags)) + table + body


def test_color_tags_are_kept_and_texts_dropped() -> None:
    source = profile(private=b"OWNER OF A DISPLAY")
    rebuilt = rebuild_profile(source)
    assert rebuilt is not None
    assert b"OWNER" not in rebuilt
    assert b"caNa" not in rebuilt
    adobe_like = Image.fromarray(samples.photo())
    lab = ImageCms.createProfile("LAB")
    before, after = (
        np.array(ImageCms.profileToProfile(adobe_like, io.BytesIO(p), lab, outputMode="LAB"))
        for p in (source, rebuilt)
    )
    np.testing.assert_array_equal(before, after)


def test_rebuilding_is_idempotent() -> None:
    rebuilt = rebuild_profile(profile(private=b"x"))
    assert rebuilt is not None
    assert rebuild_profile(rebuilt) == rebuilt


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:36] + b"nope" + data[40:],
        lambda data: data[:128] + b"\xff\xff\xff\xff" + data[132:],
        lambda data: data[:128] + b"\0\0\0\0" + data[132:],
        lambda data: data.replace(b"XYZ \0\0\0\0", b"ZYX \0\0\0\0"),
        lambda data: b"",
    ],
)
def test_an_invalid_profile_is_dropped(damage: object) -> None:
    assert callable(damage)
    assert rebuild_profile(damage(profile())) is None


def test_an_oversized_profile_is_dropped() -> None:
    data = profile() + b"\0" * (5 << 20)
    assert rebuild_profile(struct.pack(">I", len(data)) + data[4:]) is None


def with_tag(name: bytes, data: bytes) -> bytes:
    """Pillow's sRGB profile with one more tag."""
    made = profile()
    count = struct.unpack_from(">I", made, 128)[0]
    entries = [struct.unpack_from(">4sII", made, 132 + 12 * index) for index in range(count)]
    table = b"".join(struct.pack(">4sII", tag, at + 12, size) for tag, at, size in entries)
    end = len(made) + 12
    table += struct.pack(">4sII", name, end, len(data))
    body = made[132 + 12 * count :] + data
    head = struct.pack(">I", end + len(data)) + made[4:128]
    return head + struct.pack(">I", count + 1) + table + body


CURVE = b"curv\0\0\0\0\0\0\0\1\1\0\0\0"


def lut(kind: bytes, gaps: dict[int, bytes] = {}) -> bytes:  # noqa: B006 - never changed
    """A lutAToBType of curves, matrix and a 2×2×2 table; bytes to insert before each part."""
    clut = b"\2\2\2" + b"\0" * 13 + b"\1\0\0\0" + bytes(range(24))
    parts = [CURVE * 3, b"\0\1\0\0" * 12, CURVE * 3, clut, CURVE * 3]
    offsets, body, at = [], b"", 32
    for index, part in enumerate(parts):
        body += gaps.get(index, b"")
        offsets.append(at + len(body))
        body += part
    head = kind + b"\0\0\0\0\3\3\0\0" + struct.pack(">5I", *offsets)
    return head + body + gaps.get(5, b"")


def elements(gaps: dict[int, bytes] = {}) -> bytes:  # noqa: B006 - never changed
    """A multiProcessElementsType of a matrix and a table."""
    matrix = b"matf\0\0\0\0\0\3\0\3" + struct.pack(">12f", *range(12))
    clut = b"clut\0\0\0\0\0\3\0\3" + b"\2\2\2" + b"\0" * 13 + struct.pack(">24f", *range(24))
    at = 32 + len(gaps.get(0, b""))
    second = at + len(matrix) + len(gaps.get(1, b""))
    table = struct.pack(">4I", at, len(matrix), second, len(clut))
    head = b"mpet\0\0\0\0\0\3\0\3\0\0\0\2" + table
    return head + gaps.get(0, b"") + matrix + gaps.get(1, b"") + clut + gaps.get(2, b"")


@pytest.mark.parametrize("name", [b"A2B0", b"B2A1"])
@pytest.mark.parametrize("gap", range(6))
def test_bytes_between_the_parts_of_a_lut_are_dropped(name: bytes, gap: int) -> None:
    kind = b"mAB " if name.startswith(b"A") else b"mBA "
    clean = rebuild_profile(with_tag(name, lut(kind)))
    assert clean is not None
    assert lut(kind)[12:] in clean.replace(b"curv\0\0\0\0\0\0\0\1\1\0", CURVE[:14])
    dirty = rebuild_profile(with_tag(name, lut(kind, {gap: b"CANARY_IN_A_GAP_"})))
    assert dirty == clean
    assert rebuild_profile(clean) == clean


@pytest.mark.parametrize("gap", range(3))
def test_bytes_between_process_elements_are_dropped(gap: int) -> None:
    clean = rebuild_profile(with_tag(b"D2B0", elements()))
    dirty = rebuild_profile(with_tag(b"D2B0", elements({gap: b"CANARY_IN_A_GAP_"})))
    assert clean is not None
    assert b"mpet" in clean
    assert dirty == clean
    assert rebuild_profile(clean) == clean


@pytest.mark.parametrize("cut", range(3, 300, 7))
def test_a_truncated_lut_drops_the_profile_and_truncated_elements_only_the_tag(cut: int) -> None:
    assert rebuild_profile(with_tag(b"A2B0", lut(b"mAB ")[: -1 - cut])) is None
    kept = rebuild_profile(with_tag(b"D2B0", elements()[: 32 + cut % 60]))
    assert kept is not None
    assert b"mpet" not in kept
