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
