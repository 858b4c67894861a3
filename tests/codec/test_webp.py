from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.core.entries import Route
from curate.core.errors import WithheldError
from tests.codec import samples


def bitstream(data: bytes) -> bytes:
    at = max(data.find(b"VP8L"), data.find(b"VP8 "))
    return data[at : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]


@pytest.mark.parametrize("kind", ["webp-lossy", "webp-lossless", "webp-lossy-alpha"])
def test_an_unchanged_webp_keeps_its_bitstream(kind: str) -> None:
    data = samples.SAMPLES[kind]()
    written = codec.save(codec.load(data), None, [])
    assert written.route is Route.COPIED
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


def test_colors_hidden_under_a_see_through_frame_are_not_copied() -> None:
    """A frame laid over another may carry colors where it lets the other show."""
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
    written = codec.save(picture, None, [])
    assert written.route is Route.LOSSLESS
    assert bitstream(over)[8:] not in written.data


@pytest.mark.parametrize("size", [0, 5, 11])
def test_damage_is_withheld(size: int) -> None:
    data = samples.SAMPLES["webp-lossy"]()
    head, rest = data[:16], data[20:]
    with pytest.raises(WithheldError):
        codec.load(head + size.to_bytes(4, "little") + rest)
