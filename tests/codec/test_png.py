from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.png.chunks import Header, deflate, is_exact, parse_chunks, write_png
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from tests.codec import samples


def idat(data: bytes) -> bytes:
    return b"".join(payload for kind, payload in parse_chunks(data)[0] if kind == b"IDAT")


@pytest.mark.parametrize("kind", ["png-rgb", "png-palette", "png-color-key", "png-16-rgb"])
def test_an_unchanged_png_keeps_its_rows_and_filters(kind: str) -> None:
    data = samples.SAMPLES[kind]()
    written = codec.save(codec.load(data), None, [])
    assert zlib.decompress(idat(written.data)) == zlib.decompress(idat(data))
    assert (written.route is Route.COPIED) == (idat(written.data) == idat(data))
    assert codec.save(codec.load(written.data), None, []).route is Route.COPIED


def low_depth(color: int, depth: int, rows: samples.Array, filters: samples.Array) -> bytes:
    """A PNG of 21 columns, of these packed rows, each with its filter."""
    header = Header(21, len(rows), depth, color, interlaced=False)
    between = [(b"PLTE", bytes(range(3 << depth)))] if color == 3 else []
    filtered = []
    above = [0] * rows.shape[1]
    for kind, row in zip(filters.tolist(), rows.tolist(), strict=True):
        left = [0, *row[:-1]]
        guess = [left, above][kind - 1] if kind else [0] * len(row)
        filtered.append(bytes([kind, *((a - b) % 256 for a, b in zip(row, guess, strict=True))]))
        above = row
    data = zlib.compress(b"".join(filtered))
    return write_png([(b"IHDR", header.to_bytes()), *between, (b"IDAT", data)])


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("color", [0, 3])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_bits_after_the_ends_of_rows_are_dropped(color: int, depth: int, filtered: bool) -> None:
    rng = np.random.default_rng(depth)
    rows = rng.integers(0, 256, (30, -(-21 * depth // 8)), dtype=np.uint8)
    used = np.uint8(0xFF << (-21 * depth % 8) & 0xFF)
    other = rows.copy()
    other[:, -1] = (rows[:, -1] & used) | rng.integers(0, 256, 30, dtype=np.uint8) & ~used
    assert (other != rows).any()
    filters = rng.integers(0, 3, 30) * filtered
    first, second = (low_depth(color, depth, each, filters) for each in (rows, other))
    picture, same = codec.load(first), codec.load(second)
    assert codec.digest_pixels(picture) == codec.digest_pixels(same)
    written = codec.save(picture, None, [])
    assert written.route is Route.LOSSLESS
    assert written.data == codec.save(same, None, []).data
    assert codec.find_leaks(written.data) == []
    assert codec.find_leaks(first)
    assert codec.digest_pixels(codec.load(written.data)) == codec.digest_pixels(picture)
    clean = np.frombuffer(zlib.decompress(idat(written.data)), np.uint8).reshape(30, -1)
    assert not (clean[:, -1] & ~used).any()


def with_odd_blocks(kind: str, rows: bytes) -> bytes:
    """A zlib stream of ``rows`` with a payload that decompression does not return."""
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = squeezer.compress(rows) + squeezer.flush(zlib.Z_FULL_FLUSH)  # ends at a whole byte
    if kind == "bits of stored blocks":
        blocks = b"".join(bytes([value << 3]) + b"\0\0\xff\xff" for value in range(32))
    elif kind == "empty blocks":
        blocks = b"\0\0\0\xff\xff" * 77
    else:  # three stored blocks that hold the rows, split anywhere
        parts = rows[:11], rows[11:400], rows[400:1000], rows[1000:]
        body, blocks = b"", b""
        for part in parts:
            for at in range(0, len(part), 65535):
                size = len(part[at : at + 65535])
                blocks += (
                    b"\xa8" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
                )
                blocks += part[at : at + 65535]
    return b"\x78\x9c" + body + blocks + b"\x03\0" + zlib.adler32(rows).to_bytes(4, "big")


@pytest.mark.parametrize("form", ["png-rgb", "png-16-gray", "png-palette", "png-rgba"])
@pytest.mark.parametrize("kind", ["bits of stored blocks", "empty blocks", "split blocks"])
def test_image_data_is_compressed_again(kind: str, form: str) -> None:
    data = samples.SAMPLES[form]()
    rows = zlib.decompress(idat(data))
    odd = with_odd_blocks(kind, rows)
    assert zlib.decompress(odd) == rows
    chunks = [(k, odd if k == b"IDAT" else p) for k, p in parse_chunks(data)[0][:-1]]
    written = codec.save(codec.load(write_png(chunks)), None, [])
    assert written.route is Route.LOSSLESS
    assert written.data == codec.save(codec.load(data), None, []).data


def test_pixels_equal_pillows() -> None:
    for kind in ("png-rgb", "png-rgba", "png-la", "png-gray", "png-16-gray"):
        data = samples.SAMPLES[kind]()
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(codec.load(data).frames[0], np.array(image), kind)


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_sixteen_bits_stay_exact(channels: int) -> None:
    frame = samples.deep(channels)
    picture = codec.load(samples.png(frame))
    np.testing.assert_array_equal(picture.frames[0], frame)
    edited = frame.copy()
    edited[3:9, 4:12] = 0x1234
    written = codec.save(picture, [edited], [[Box(4, 3, 12, 9)]]).data
    np.testing.assert_array_equal(codec.load(written).frames[0], edited)


def test_a_changed_palette_image_becomes_rgb() -> None:
    picture = codec.load(samples.SAMPLES["png-palette"]())
    assert picture.mode == "P"
    written = codec.save(picture, *samples.changed(picture)).data
    assert b"PLTE" not in [kind for kind, _ in parse_chunks(written)[0]]


def test_transparency_becomes_an_alpha_channel() -> None:
    for kind in ("png-palette-alpha", "png-color-key"):
        data = samples.SAMPLES[kind]()
        with Image.open(io.BytesIO(data)) as image:
            expected = np.array(image.convert("RGBA"))
        np.testing.assert_array_equal(codec.load(data).frames[0], expected, kind)


def test_color_space_chunks_survive_a_change() -> None:
    color = ((b"gAMA", b"\0\0\xb1\x8f"), (b"sRGB", b"\0"), (b"cICP", b"\x01\x0d\0\x01"))
    picture = codec.load(samples.png(samples.photo(), color))
    for written in (
        codec.save(picture, None, []),
        codec.save(picture, *samples.changed(picture)),
    ):
        assert set(color) <= set(parse_chunks(written.data)[0])


def test_interlaced_images_are_copied() -> None:
    chunks, _ = parse_chunks(samples.png(samples.photo(1, 1, 0)))
    header = Header(1, 1, 8, 0, interlaced=True)
    data = write_png([(b"IHDR", header.to_bytes()), *chunks[1:-1]])
    written = codec.save(codec.load(data), None, [])
    assert written.data == data
    assert header.data_size(9, 9) == 9 * 9 + 19  # pixels, and a filter byte for every row


def test_animations_keep_frames_delays_and_plays() -> None:
    data = samples.animated("PNG", "RGBA", loop=5)
    picture = codec.load(data)
    written = codec.save(picture, *samples.changed(picture)).data
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(written)) as after:
        assert after.n_frames == before.n_frames == 4  # type: ignore[attr-defined]
        assert (after.info["loop"], after.info["duration"]) == (5, before.info["duration"])


def test_a_hidden_default_image_stays_hidden() -> None:
    data = samples.animated("PNG", default_image=True)
    picture = codec.load(data)
    written = codec.save(picture, None, []).data
    with Image.open(io.BytesIO(written)) as image:
        assert image.info["default_image"]
        assert image.n_frames == len(picture.frames)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda c: [(b"IHDR", b"\0" * 13), *c[1:]], "corrupt"),
        (lambda c: [*c[1:], c[0]], "corrupt"),
        (lambda c: [c[0], (b"IDAT", zlib.compress(b"\0" * 50))], "truncated"),
        (lambda c: [c[0], (b"IDAT", c[1][1][:-8])], "corrupt"),
        (lambda c: [c[0], (b"IDAT", b"\x78\x9c\xff\xff")], "corrupt"),
        (lambda c: [c[0]], "truncated"),
        (lambda c: [c[0], (b"acTL", b"\0\0\0\x09\0\0\0\0"), c[1]], "corrupt"),
    ],
)
def test_damage_is_withheld(damage: object, code: str) -> None:
    assert callable(damage)
    chunks, _ = parse_chunks(samples.png(samples.photo()))
    with pytest.raises(WithheldError) as caught:
        codec.load(write_png(damage(chunks[:-1])))
    assert caught.value.code in (code, "truncated")


@pytest.mark.parametrize("size", [1, 100, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_exact_image_data_is_recognized_piece_by_piece(size: int) -> None:
    rng = np.random.default_rng(size)
    for data in (rng.bytes(size), b"\0" * size):
        whole = zlib.compress(data)
        assert is_exact(whole, size)
        assert not is_exact(whole + b"x", size)
        assert not is_exact(whole + b"x" * (2 << 20), size)
        assert not is_exact(zlib.compress(data + b"x"), size)
        assert not is_exact(whole[:-1], size)
        with pytest.raises(WithheldError, match="truncated"):
            is_exact(whole, size + 1)


def test_a_wrong_checksum_is_withheld() -> None:
    data = bytearray(samples.png(samples.photo()))
    data[-5] ^= 1
    with pytest.raises(WithheldError, match="checksum"):
        codec.load(bytes(data))


def test_a_bomb_is_withheld_before_decompression() -> None:
    header = Header(60_000, 60_000, 8, 2, interlaced=False)
    chunks = [(b"IHDR", header.to_bytes()), (b"IDAT", zlib.compress(b"\0" * 1000))]
    with pytest.raises(WithheldError, match="bomb"):
        codec.load(write_png(chunks))


def test_rows_are_readable_by_other_decoders() -> None:
    for frame in (samples.photo(), samples.photo(channels=0), samples.photo(700, 900)):
        data = samples.png(frame)
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(data))), frame)
    assert len(deflate(samples.photo(300, 300))) < 300 * 300 * 3
