"""Properties of the codec over random boxes, sizes and contents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import codec
from curate.codec.gif.blocks import parse_gif, scan_codes
from curate.codec.jpeg.coefficients import forward, inverse
from curate.codec.metadata.allow_list import KEEPABLE, rebuild_exif
from curate.codec.metadata.exif import parse_exif
from curate.codec.metadata.icc import rebuild_profile
from curate.codec.png.chunks import deflate, is_exact, parse_chunks, write_png
from curate.codec.webp.bitstream import join_chunks, parse_webp
from curate.codec.webp.bitstream import parse_chunks as parse_webp_chunks
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from tests.codec import samples
from tests.codec.test_canary import unpacked

QUICK = settings(max_examples=25, deadline=None)
KINDS = ["jpeg-420", "jpeg-422", "jpeg-440", "jpeg-411", "jpeg-444", "jpeg-gray", "jpeg-odd-size"]


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> list[Box]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        found.append(Box(x0, y0, x1, y1))
    return found


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_only_blocks_near_a_box_change(kind: str, data: st.DataObject) -> None:
    picture = codec.load(samples.SAMPLES[kind]())
    touched = data.draw(boxes(picture.width, picture.height))
    seed = data.draw(st.integers(0, 2**32 - 1))
    fill = np.random.default_rng(seed).integers(0, 256, picture.frames[0].shape, dtype=np.uint8)
    final = picture.frames[0].copy()
    for box in touched:
        final[box.slices] = fill[box.slices]
    written = codec.save(picture, [final], [touched])
    assert written.route is Route.SPLICED
    assert codec.find_leaks(written.data) == []
    again = codec.load(written.data)
    far = np.ones(final.shape[:2], bool)
    for box in touched:
        rows = slice(max(int(box.y0) - 17, 0), int(box.y1) + 17)
        far[rows, max(int(box.x0) - 33, 0) : int(box.x1) + 33] = False
    np.testing.assert_array_equal(again.frames[0][far], final[far])


@QUICK
@given(seed=st.integers(0, 2**32 - 1), quality=st.integers(1, 100))
def test_coefficients_of_shown_samples_come_back(seed: int, quality: int) -> None:
    rng = np.random.default_rng(seed)
    step = max(1, 100 - quality)
    table = rng.integers(step, step + 9, 64).astype(np.float64)
    low = np.zeros((9, 64), np.int16)
    low[:, 0] = rng.integers(-400 // step, 400 // step + 1, 9)
    low[:, [1, 8, 9]] = rng.integers(-60 // step, 60 // step + 1, (9, 3))
    samples_shown = inverse(low, table)
    if (samples_shown > 0).all() and (samples_shown < 255).all() and step > 6:
        np.testing.assert_array_equal(forward(samples_shown, table), low)


@QUICK
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    channels=st.sampled_from([0, 2, 3, 4]),
    deep=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_png_frame_comes_back(
    width: int, height: int, channels: int, deep: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width, channels) if channels else (height, width)
    kind = np.uint16 if deep else np.uint8
    frame = rng.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    picture = codec.load(samples.png(frame))
    np.testing.assert_array_equal(picture.frames[0], frame)
    size = height * (1 + width * max(channels, 1) * kind().itemsize)
    assert is_exact(deflate(frame), size)


@QUICK
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    colors=st.integers(1, 256),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_gif_code_is_followed(width: int, height: int, colors: int, seed: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(seed)
    indices = rng.integers(0, colors, (height, width), dtype=np.uint8)
    data = samples.encoded(Image.fromarray(indices), "GIF", optimize=False)
    exact, used = scan_codes(parse_gif(data).images[0])
    assert exact
    assert used == set(np.unique(indices).tolist())


@QUICK
@given(
    block=st.binary(max_size=300), head=st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"])
)
def test_any_exif_is_rebuilt_to_a_fixed_point(block: bytes, head: bytes) -> None:
    for keep in (frozenset[str](), frozenset(KEEPABLE)):
        rebuilt = rebuild_exif(parse_exif(head + block), keep)
        if rebuilt is not None:
            assert rebuild_exif(parse_exif(rebuilt), keep) == rebuilt


@QUICK
@given(data=st.data())
def test_any_damaged_profile_is_dropped_or_rebuilt_to_a_fixed_point(data: st.DataObject) -> None:
    from tests.codec.test_icc import profile

    damaged = bytearray(profile(private=b"secret of the owner"))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    rebuilt = rebuild_profile(bytes(damaged))
    if rebuilt is not None:
        assert b"secret" not in rebuilt
        assert rebuild_profile(rebuilt) == rebuilt


CANARIES = (
    b"CANARY-7f3a91c04d-CANARY",
    b"\xff\xd8\xff\xe0CANARYCANARYCANARY",
    b"\0\0\0\x10CANARYCANARYCANARY",
)


def check_no_canary(data: bytes, original: str, canary: bytes) -> None:
    """What is written from a file with a canary has none, unless the canary became pixels."""
    try:
        picture = codec.load(data)
        written = codec.save(picture, None, []).data
    except WithheldError:
        return
    assert codec.find_leaks(written) == []
    if codec.digest_pixels(picture) == original:
        assert canary not in unpacked(written)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(samples.SAMPLES)), st.sampled_from(CANARIES), st.floats(0, 1), st.data()
)
def test_a_canary_at_any_offset_is_dropped_or_withholds(
    kind: str, canary: bytes, share: float, data: st.DataObject
) -> None:
    whole = samples.SAMPLES[kind]()
    at = round(share * len(whole))
    at += data.draw(st.integers(-min(at, 40), min(len(whole) - at, 40)))
    original = codec.digest_pixels(codec.load(whole))
    check_no_canary(whole[:at] + canary + whole[at:], original, canary)


def jpeg_parts(data: bytes) -> list[bytes]:
    """A JPEG with a longer payload in one segment, or another segment after it."""
    found = []
    at = 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + size
        longer = data[at : at + 2] + (size + len(CANARIES[0])).to_bytes(2, "big")
        found.append(data[:at] + longer + data[at + 4 : end] + CANARIES[0] + data[end:])
        comment = b"\xff\xfe" + (2 + len(CANARIES[0])).to_bytes(2, "big") + CANARIES[0]
        found.append(data[:end] + comment + data[end:])
        at = end
    return [*found, data[:-2] + CANARIES[0] + data[-2:], data + CANARIES[0]]


def png_parts(data: bytes) -> list[bytes]:
    """A PNG with a longer chunk, or another chunk before it."""
    chunks, _ = parse_chunks(data)
    chunks = chunks[:-1]
    found = []
    for index, (name, payload) in enumerate(chunks):
        before, after = chunks[:index], chunks[index + 1 :]
        found.append(write_png([*before, (name, payload + CANARIES[0]), *after]))
        for kind in (b"tEXt", b"teSt", b"tRNS", b"PLTE", b"IDAT", b"pHYs", b"gAMA", b"sBIT"):
            found.append(write_png([*before, (kind, CANARIES[0]), *chunks[index:]]))
    return [*found, data + CANARIES[0]]


def webp_parts(data: bytes) -> list[bytes]:
    """A WebP with a longer chunk, or another chunk before it, in frames too."""

    def whole(chunks: list[tuple[bytes, bytes]]) -> bytes:
        body = b"WEBP" + join_chunks(chunks)
        return b"RIFF" + len(body).to_bytes(4, "little") + body

    def variants(chunks: list[tuple[bytes, bytes]]) -> list[list[tuple[bytes, bytes]]]:
        made = []
        for index, (name, payload) in enumerate(chunks):
            before, after = chunks[:index], chunks[index + 1 :]
            made.append([*before, (name, payload + CANARIES[0]), *after])
            for kind in (b"ALPH", b"VP8L", b"XMP ", b"JUNK"):
                made.append([*before, (kind, CANARIES[0]), *chunks[index:]])
            if name == b"ANMF":
                for inner in variants(parse_webp_chunks(payload[16:])):
                    made.append([*before, (name, payload[:16] + join_chunks(inner)), *after])
        return made

    return [*map(whole, variants(parse_webp(data)[0])), data + CANARIES[0]]


def gif_parts(data: bytes) -> list[bytes]:
    """A GIF with another block in each image's data, or other extensions before it."""
    block = bytes([len(CANARIES[0])]) + CANARIES[0]
    found = [data + CANARIES[0]]
    stream = parse_gif(data)
    for index, image in enumerate(stream.images):
        longer = replace(image, data=image.data + CANARIES[0])
        images = (*stream.images[:index], longer, *stream.images[index + 1 :])
        found.append(replace(stream, images=images).to_bytes())
    head = 13 + len(stream.palette)
    for label in (0xFE, 0x01, 0xFF, 0xF9):
        found.append(data[:head] + bytes([0x21, label]) + block + b"\0" + data[head:])
    return found


PARTS = {"jpeg": jpeg_parts, "png": png_parts, "webp": webp_parts, "gif": gif_parts}


@pytest.mark.parametrize("kind", [kind for kind in samples.SAMPLES if kind.split("-")[0] in PARTS])
def test_a_canary_in_any_part_is_dropped_or_withholds(kind: str) -> None:
    whole = samples.SAMPLES[kind]()
    original = codec.digest_pixels(codec.load(whole))
    for data in PARTS[kind.split("-")[0]](whole):
        check_no_canary(data, original, CANARIES[0])
