from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.webp.bitstream import join_chunks, parse_webp
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from tests.codec import samples


def bitstream(data: bytes) -> bytes:
    at = max(data.find(b"VP8L"), data.find(b"VP8 "))
    return data[at : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]


@pytest.mark.parametrize("kind", ["webp-lossy", "webp-lossy-alpha"])
def test_an_unchanged_webp_keeps_its_lossy_bitstream(kind: str) -> None:
    data = samples.SAMPLES[kind]()
    written = codec.save(codec.load(data), None, [])
    assert written.route is (Route.LOSSLESS if "alpha" in kind else Route.COPIED)
    assert bitstream(written.data) == bitstream(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pixels_equal_pillows(mode: str) -> None:
    image = Image.fromarray(samples.photo(channels=len(mode)))
    data = samples.encoded(image, "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(codec.load(data).frames[0], np.array(image))


def test_a_reencoded_file_notes_its_quality() -> None:
    picture = codec.load(samples.SAMPLES["webp-lossy"]())
    written = codec.save(picture, *samples.changed(picture))
    assert written.route is Route.REENCODED
    assert "quality" in (written.note or "")


def test_orientation_and_profile_are_kept_in_an_extended_file() -> None:
    from tests.codec.test_icc import profile

    exif = Image.Exif()
    exif[0x0112] = 5
    image = Image.fromarray(samples.photo())
    data = samples.encoded(image, "WEBP", exif=exif, icc_profile=profile())
    written = codec.save(codec.load(data), None, []).data
    with Image.open(io.BytesIO(written)) as after:
        assert after.getexif() == {0x0112: 5}
        assert after.info["icc_profile"] == codec.load(data).metadata.icc


def test_animations_keep_frames_delays_and_loops() -> None:
    first, *rest = samples.animation(4, "RGBA")
    data = samples.encoded(
        first,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=[40, 60, 80, 100],
        loop=3,
        lossless=True,
    )
    picture = codec.load(data)
    written = codec.save(picture, *samples.changed(picture)).data
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(written)) as after:
        assert after.info["loop"] == before.info["loop"]
        assert after.n_frames == 4  # type: ignore[attr-defined]
        for index in range(4):
            before.seek(index)
            after.seek(index)
            before.load()
            after.load()
            assert after.info["duration"] == before.info["duration"]


def test_colors_hidden_under_a_transparent_frame_are_an_appearance() -> None:
    """A frame over another may have colors where it is transparent."""
    base = Image.new("RGBA", (32, 32), (200, 200, 200, 255))
    secret = samples.photo(32, 32, 4)
    secret[..., 3] = 0
    over = samples.encoded(Image.fromarray(secret), "WEBP", lossless=True, exact=True)
    under = samples.encoded(base, "WEBP", lossless=True)

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) % 2)

    whole = b"\0" * 6 + b"\x1f\0\0" * 2 + b"\x20\0\0"
    body = b"WEBP" + chunk(b"VP8X", struct.pack("<I", 0x12) + b"\x1f\0\0" * 2)
    body += chunk(b"ANIM", b"\0" * 6)
    for flags, still in ((2, under), (0, over)):
        image = bitstream(still)
        body += chunk(b"ANMF", whole + bytes([flags]) + image + b"\0" * (len(image) % 2))
    picture = codec.load(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert (picture.frames[1] == picture.frames[0]).all()
    assert [len(codec.appearances(picture, index)) for index in (0, 1)] == [1, 2]
    hidden = codec.appearances(picture, 1)[1]
    np.testing.assert_array_equal(hidden, secret[..., :3])
    assert codec.save(picture, None, []).route is Route.LOSSLESS
    frames = [frame.copy() for frame in picture.frames]
    frames[1][:8, :8] = 0
    written = codec.save(picture, frames, [[], [Box(0, 0, 8, 8)]])
    assert written.route is Route.LOSSLESS
    assert bitstream(over)[8:] not in written.data


def test_an_animation_with_alpha_keeps_its_frames() -> None:
    data = samples.SAMPLES["webp-animated-alpha"]()
    written = codec.save(codec.load(data), None, [])
    assert written.route is Route.LOSSLESS
    assert codec.find_leaks(written.data) == []
    before, after = (
        [payload[:16] for kind, payload in parse_webp(each)[0] if kind == b"ANMF"]
        for each in (data, written.data)
    )
    assert after == before


LOSSY = {
    "opaque": {"quality": 80},
    "small": {"quality": 1},
    "fine": {"quality": 100, "method": 6},
    "alpha": {"quality": 80},
    "raw alpha": {"quality": 80, "method": 0, "alpha_quality": 100},
}


def with_payload(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A WebP in which the payload of a chunk is changed."""
    chunks, _ = parse_webp(data)
    body = b"WEBP" + join_chunks([(k, change(p) if k == kind else p) for k, p in chunks])
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("canary", [b"\xff\xd8\xff a whole JPEG", b"\0" * 100, b"x" * 9])
@pytest.mark.parametrize("kind", sorted(LOSSY))
def test_bytes_after_lossy_data_are_dropped_and_reported(kind: str, canary: bytes) -> None:
    pixels = samples.photo(channels=4 if "alpha" in kind else 3)
    data = samples.encoded(Image.fromarray(pixels), "WEBP", **LOSSY[kind])
    clean = codec.save(codec.load(data), None, []).data
    assert codec.find_leaks(clean) == []
    for chunk in (b"VP8 ", b"ALPH") if "alpha" in kind else (b"VP8 ",):
        dirty = with_payload(data, chunk, lambda payload: payload + canary)
        assert codec.find_leaks(with_payload(clean, chunk, lambda payload: payload + canary))
        written = codec.save(codec.load(dirty), None, []).data
        assert codec.find_leaks(written) == []
        assert canary not in written
        assert codec.digest_pixels(codec.load(written)) == codec.digest_pixels(codec.load(data))


def test_bytes_after_lossless_data_are_dropped() -> None:
    for kind in ("webp-lossless", "webp-lossless-alpha"):
        data = samples.SAMPLES[kind]()
        dirty = with_payload(data, b"VP8L", lambda payload: payload + b"CANARY IN A TAIL")
        written = codec.save(codec.load(dirty), None, [])
        assert written.data == codec.save(codec.load(data), None, []).data
        assert codec.find_leaks(dirty)


def test_bytes_after_the_first_partition_are_dropped() -> None:
    def insert(payload: bytes) -> bytes:
        tag = int.from_bytes(payload[:3], "little")
        size, canary = tag >> 5, b"CANARY BETWEEN PARTITIONS"
        longer = (tag & 0x1F | (size + len(canary)) << 5).to_bytes(3, "little")
        return longer + payload[3 : 10 + size] + canary + payload[10 + size :]

    data = samples.SAMPLES["webp-lossy"]()
    written = codec.save(codec.load(with_payload(data, b"VP8 ", insert)), None, []).data
    assert b"CANARY" not in written
    assert codec.find_leaks(written) == []
    assert codec.digest_pixels(codec.load(written)) == codec.digest_pixels(codec.load(data))


@pytest.mark.parametrize("size", [0, 5, 11])
def test_damage_is_withheld(size: int) -> None:
    data = samples.SAMPLES["webp-lossy"]()
    head, rest = data[:16], data[20:]
    with pytest.raises(WithheldError):
        codec.load(head + size.to_bytes(4, "little") + rest)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """A lossy WebP whose header states another size; its macroblocks are unchanged."""
    at = data.index(b"\x9d\x01\x2a") + 3
    data = data[:at] + struct.pack("<HH", width, height) + data[at + 4 :]
    if data[12:16] == b"VP8X":
        sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        data = data[:24] + sizes + data[30:]
    return data


def beyond(data: bytes, width: int, height: int) -> samples.Array:
    """All pixels of the macroblocks of a lossy WebP."""
    at = data.index(b"VP8 ")
    still = b"WEBP" + data[at : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]
    still += b"\0" * (len(still) % 2)
    still = b"RIFF" + struct.pack("<I", len(still)) + still
    return np.array(Image.open(io.BytesIO(with_size(still, width, height))).convert("RGB"))


@pytest.mark.parametrize(("width", "height"), [(83, 64), (96, 50), (81, 49), (95, 63)])
def test_pixels_beyond_a_smaller_size_do_not_survive(width: int, height: int) -> None:
    noise = np.zeros((64, 96, 3), np.uint8)
    noise[height:] = noise[:, width:] = 255
    source = samples.encoded(Image.fromarray(noise), "WEBP", quality=95)
    data = with_size(source, width, height)
    picture = codec.load(data)
    assert any("beyond the edges" in leak for leak in codec.find_leaks(data))
    for written in (
        codec.save(picture, None, []),
        codec.save(picture, *samples.changed(picture)),
    ):
        assert written.route is Route.REENCODED
        assert codec.find_leaks(written.data) == []
        assert beyond(source, 96, 64)[height:].max(initial=255) == 255
        assert beyond(written.data, 96, 64)[:, :4].max() < 60


def test_hidden_pixels_of_an_animation_do_not_survive() -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, 83:] = 255
    source = samples.encoded(Image.fromarray(pixels), "WEBP", quality=95)
    image = bitstream(with_size(source, 83, 64))

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) % 2)

    size = (82).to_bytes(3, "little") + (63).to_bytes(3, "little")
    body = b"WEBP" + chunk(b"VP8X", struct.pack("<I", 2) + size) + chunk(b"ANIM", b"\0" * 6)
    frame = b"\0" * 6 + size + b"\x20\0\0\0" + image + b"\0" * (len(image) % 2)
    body += chunk(b"ANMF", frame) * 2
    data = b"RIFF" + struct.pack("<I", len(body)) + body
    picture = codec.load(data)
    assert codec.find_leaks(data)
    written = codec.save(picture, None, [])
    assert written.route is Route.REENCODED
    assert codec.find_leaks(written.data) == []


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 100])
@pytest.mark.parametrize(("width", "height"), [(83, 64), (90, 70), (1, 1), (17, 15)])
def test_edges_that_encoders_fill_are_copied(width: int, height: int, quality: int) -> None:
    for channels in (3, 4):
        image = Image.fromarray(samples.photo(width, height, channels))
        data = samples.encoded(image, "WEBP", quality=quality)
        written = codec.save(codec.load(data), None, [])
        assert written.route is (Route.COPIED if channels == 3 else Route.LOSSLESS)
