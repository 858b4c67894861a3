"""Canaries appended to, inserted into and put over every part of a file of every format."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.metadata.icc import rebuild_profile
from curate.codec.png.chunks import parse_chunks
from curate.core.errors import WithheldError
from tests.codec import samples
from tests.codec import test_icc as icc
from tests.codec.test_canary import unpacked

CANARY = bytes.fromhex("5ca1ab1e0ddba11f00d5deadbea7c0de")
"""Bytes that no encoder writes by itself, and that are no marker of any format."""


def webp(**options: object) -> bytes:
    buffer = io.BytesIO()
    rgba = np.dstack([samples.photo(40, 30), np.full((30, 40), 200, np.uint8)])
    Image.fromarray(rgba, "RGBA").save(buffer, "WEBP", **options)
    return buffer.getvalue()


def bmp() -> bytes:
    return samples.encoded(Image.fromarray(samples.photo(37, 20)), "BMP")


def gif() -> bytes:
    return samples.encoded(samples.palette_image(30, 20), "GIF")


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: samples.jpeg(40, 30),
    "jpeg progressive": lambda: samples.jpeg(40, 30, progressive=1),
    "jpeg with restarts": lambda: samples.jpeg(40, 30, restart=1),
    "gray jpeg": lambda: samples.gray_jpeg(40, 30),
    "cmyk jpeg": samples.cmyk_jpeg,
    "deep png": lambda: samples.png(samples.deep(3, 40, 30)),
    "png": lambda: samples.png(samples.photo(40, 30)),
    "apng": lambda: samples.animated("PNG"),
    "palette": lambda: samples.encoded(samples.palette_image(30, 20), "PNG"),
    "gif": gif,
    "animated gif": lambda: samples.animated("GIF"),
    "webp": lambda: webp(quality=60),
    "lossless webp": lambda: webp(lossless=True),
    "animated webp": lambda: samples.animated("WEBP"),
    "bmp": bmp,
    "tiff": lambda: samples.pillow_tiff("RGB"),
    "pages": samples.multipage_tiff,
}


def iter_raw(data: bytes) -> Iterator[bytes]:
    """The canary at offsets all over the file, between what is there and over it."""
    step = max(1, len(data) // 60)
    for at in [*range(min(64, len(data))), *range(64, len(data), step), len(data)]:
        yield data[:at] + CANARY + data[at:]
        yield data[:at] + CANARY + data[at + len(CANARY) :]


def iter_jpeg(data: bytes) -> Iterator[bytes]:
    """The canary at the end of each segment, as a segment of each kind, and before each."""
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        size = struct.unpack_from(">H", data, at + 2)[0]
        end = at + 2 + size
        longer = struct.pack(">H", size + len(CANARY))
        yield data[: at + 2] + longer + data[at + 4 : end] + CANARY + data[end:]
        for marker in (*range(0xC0, 0xD0), *range(0xDB, 0x100)):
            segment = bytes([0xFF, marker]) + struct.pack(">H", len(CANARY) + 2) + CANARY
            yield data[:at] + segment + data[at:]
        at = end


def iter_png(data: bytes) -> Iterator[bytes]:
    """The canary at the end of each chunk, in new chunks, and behind deflated data."""
    chunks, _ = parse_chunks(data)

    def join(parts: list[tuple[bytes, bytes]]) -> bytes:
        packed = (
            struct.pack(">I", len(payload)) + kind + payload
            + struct.pack(">I", zlib.crc32(kind + payload))
            for kind, payload in parts
        )  # fmt: skip
        return data[:8] + b"".join(packed)

    for number, (kind, payload) in enumerate(chunks):
        yield join([*chunks[:number], (kind, payload + CANARY), *chunks[number + 1 :]])
        for new in (
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"eXIf",
            b"tIME",
            b"sPLT",
            b"prVt",
            b"IDAT",
            b"iCCP",
        ):
            yield join([*chunks[:number], (new, CANARY), *chunks[number:]])


def iter_webp(data: bytes) -> Iterator[bytes]:
    """The canary at the start, middle and end of each chunk, and in new chunks."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2

    def join(parts: list[tuple[bytes, bytes]]) -> bytes:
        packed = b"".join(
            kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
            for kind, payload in parts
        )
        return b"RIFF" + struct.pack("<I", len(packed) + 4) + b"WEBP" + packed

    for number, (kind, payload) in enumerate(chunks):
        for place in {0, len(payload) // 2, max(len(payload) - 1, 0), len(payload)}:
            changed = payload[:place] + CANARY + payload[place:]
            yield join([*chunks[:number], (kind, changed), *chunks[number + 1 :]])
        for new in (b"EXIF", b"XMP ", b"ICCP", b"ANIM", b"ALPH", b"junk", kind):
            yield join([*chunks[:number], (new, CANARY), *chunks[number:]])


def iter_gif(data: bytes) -> Iterator[bytes]:
    """The canary as an extension of each kind and as a sub-block, wherever a block may end."""
    block = bytes([len(CANARY)]) + CANARY
    for at in [index for index, value in enumerate(data) if value == 0]:
        yield data[:at] + block + data[at:]
        for label in (0xFE, 0xFF, 0x01, 0xF9, 0x33):
            yield data[: at + 1] + bytes([0x21, label]) + block + b"\0" + data[at + 1 :]


STRUCTURED: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "JPEG": iter_jpeg,
    "PNG": iter_png,
    "WEBP": iter_webp,
    "GIF": iter_gif,
}


@pytest.mark.parametrize("name", FILES)
def test_no_canary_survives_that_is_not_in_the_pixels(name: str) -> None:
    data = FILES[name]()
    assert CANARY not in unpacked(data)
    structured = STRUCTURED.get(str(codec.sniff(data)), lambda _: iter(()))
    shown = codec.digest_pixels(codec.load(data))
    loaded = 0
    for number, hostile in enumerate([*iter_raw(data), *structured(data)]):
        try:
            picture = codec.load(hostile)
        except WithheldError:
            continue
        loaded += 1
        try:
            written = codec.save(picture, None, []).data
        except WithheldError:
            continue
        assert codec.find_leaks(written) == [], number
        if codec.digest_pixels(picture) == shown:  # else the canary is part of the pixels
            assert CANARY[:8] not in unpacked(written), number
            assert CANARY[8:] not in unpacked(written), number
    assert loaded


def profiles() -> dict[str, bytes]:
    return {
        "RGB": icc.with_tags(),
        "RGB of tables": icc.with_tags(**icc.three(icc.curve(icc.GAMMA))),
        "L": icc.with_tags(b"GRAY", kTRC=icc.curve(icc.GAMMA)),
        "CMYK": icc.press(5),
        "CMYK of bytes": icc.press(5, wide=False),
    }


@pytest.mark.parametrize("name", profiles())
def test_no_canary_survives_in_a_color_profile(name: str) -> None:
    """At every fourth offset, between what is there and over it, with the size corrected."""
    whole = profiles()[name]
    kept = 0
    for at in range(0, len(whole) + 1, 4 if len(whole) < 4000 else 52):
        for behind in (at, at + len(CANARY)):
            data = whole[:at] + CANARY + whole[behind:]
            data = struct.pack(">I", len(data)) + data[4:] if at >= 4 else data
            rebuilt = rebuild_profile(data)
            if rebuilt is not None:
                kept += 1
                assert all(CANARY[n : n + 6] not in rebuilt for n in range(len(CANARY) - 5)), at
                assert rebuild_profile(rebuilt) == rebuilt
    assert kept


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_canary_survives_in_an_embedded_profile(kind: str) -> None:
    whole = profiles()["RGB"]
    image = Image.fromarray(samples.photo(40, 30))
    for at in range(4, len(whole), 40):
        data = whole[:at] + CANARY + whole[at + len(CANARY) :]
        data = struct.pack(">I", len(data)) + data[4:]
        picture = codec.load(samples.encoded(image, kind, icc_profile=data))
        written = codec.save(picture, None, []).data
        assert codec.find_leaks(written) == []
        assert CANARY[:8] not in unpacked(written)
        assert CANARY[8:] not in unpacked(written)
