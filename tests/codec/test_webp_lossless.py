"""Channels of lossless WebP (VP8L) that no decoder reads, and exact pixels of what is written.

The images of a VP8L file beside the picture (RFC 9649, 3.6 and 4) have four channels each, of which
some have no meaning. A small encoder puts bytes there.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.webp.bitstream import join_chunks, parse_webp
from curate.core.entries import Route
from tests.codec import samples

SIDE = 64
_LENGTH_CODES = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8]
GREEN, RED, BLUE, ALPHA = range(4)


class BitWriter:
    """Bits, least significant first; prefix codes most significant first."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def number(self, value: int, count: int) -> None:
        self.bits += [value >> place & 1 for place in range(count)]

    def symbol(self, value: int) -> None:
        self.bits += [value >> place & 1 for place in range(7, -1, -1)]

    def one_symbol(self, value: int) -> None:
        self.bits += [1, 0, 1]
        self.number(value, 8)

    def all_symbols(self, alphabet: int) -> None:
        """Prefix codes of 8 bits for the first 256 symbols."""
        self.number(0, 1)
        self.number(len(_LENGTH_CODES) - 4, 4)
        for length in _LENGTH_CODES:
            self.number(length == 8 or (length == 0 and alphabet > 256), 3)
        self.number(0, 1)
        if alphabet > 256:
            self.bits += [1] * 256 + [0] * (alphabet - 256)

    def image(self, pixels: samples.Array) -> None:
        """Prefix codes and pixels: N×4, green, red, blue, alpha."""
        varied = [bool(np.ptp(pixels[:, channel])) for channel in range(4)]
        for channel in range(4):
            if varied[channel]:
                self.all_symbols(280 if channel == GREEN else 256)
            else:
                self.one_symbol(int(pixels[0, channel]))
        self.one_symbol(0)  # distances
        for pixel in pixels:
            for channel in range(4):
                if varied[channel]:
                    self.symbol(int(pixel[channel]))

    def to_bytes(self) -> bytes:
        return np.packbits(np.array(self.bits, np.uint8), bitorder="little").tobytes()


def hiding(where: str, secret: bytes, alpha_channel: bool = False) -> tuple[bytes, bytes]:
    """The VP8L data of a gray square without their header, and the data with another secret."""
    found = []
    for payload in (secret, bytes(value ^ 0x5A for value in secret)):
        count = (SIDE // 4) ** 2
        free = np.resize(np.frombuffer(payload, np.uint8), count)
        side = np.zeros((count, 4), np.uint8)
        side[:, ALPHA] = 255
        writer = BitWriter()
        place, _, channel = where.partition(" ")
        if channel:
            side[:, {"red": RED, "blue": BLUE, "alpha": ALPHA}[channel]] = free
        if place in ("predictor", "colors"):
            writer.number(1 | ("predictor", "colors").index(place) << 1, 3)
            writer.number(0, 3)  # blocks of 4 pixels
            writer.number(0, 1)  # no color cache
            writer.image(side)
        if place == "palette":  # 256 colors, of which the pixels use one
            writer.number(1 | 3 << 1, 3)
            writer.number(255, 8)
            writer.number(0, 1)
            side[:, RED], side[0] = free, (90, 90, 90, 255)
            side[1:, ALPHA] = 0
            writer.image(side)
        writer.number(0, 1)  # no further transform
        writer.number(0, 1)  # no color cache
        writer.number(place == "entropy", 1)
        if place == "entropy":
            writer.number(0, 3)
            writer.number(0, 1)
            writer.image(side)
        pixels = np.zeros((SIDE * SIDE, 4), np.uint8)
        pixels[:] = (0, 0, 0, 255) if place == "palette" else (90, 90, 90, 255)
        if place == "predictor":
            pixels[:, ALPHA] = 0  # black is predicted, in the first row and column the neighbor
            square = pixels.reshape(SIDE, SIDE, 4)
            square[0, 1:], square[1:, 0] = 0, 0
        writer.image(pixels)
        found.append(writer.to_bytes())
    return found[0], found[1]


def file_of(body: bytes, alpha: bool) -> bytes:
    """A WebP of VP8L data without header, as the picture or as the alpha channel of a lossy one."""
    if not alpha:
        size = (SIDE - 1) | (SIDE - 1) << 14
        payload = b"\x2f" + struct.pack("<I", size) + body
        chunks = [(b"VP8L", payload + b"\0" * 4)]
    else:
        image = Image.fromarray(samples.photo(SIDE, SIDE))
        lossy = parse_webp(samples.encoded(image, "WEBP", quality=70))[0]
        side = (SIDE - 1).to_bytes(3, "little")
        chunks = [(b"VP8X", b"\x10\0\0\0" + side + side), (b"ALPH", b"\x01" + body), *lossy]
    whole = b"WEBP" + join_chunks(chunks)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


PLACES = [
    *("predictor red", "predictor blue", "predictor alpha"),
    *("colors alpha", "palette", "entropy blue", "entropy alpha"),
]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("where", PLACES)
def test_channels_that_no_decoder_reads_are_not_copied(where: str, alpha: bool) -> None:
    first, second = (file_of(body, alpha) for body in hiding(where, samples.photo().tobytes()))
    assert first != second
    picture, other = codec.load(first), codec.load(second)
    assert codec.digest_pixels(picture) == codec.digest_pixels(other)
    if not alpha:
        assert (picture.frames[0] == 90).all()
    written = codec.save(picture, None, [])
    assert written.route is Route.LOSSLESS
    assert written.data == codec.save(other, None, []).data
    assert codec.find_leaks(written.data) == []
    assert codec.digest_pixels(codec.load(written.data)) == codec.digest_pixels(picture)


@pytest.mark.parametrize("lossless", [False, True])
def test_colors_under_transparency_and_all_of_alpha_stay(lossless: bool) -> None:
    frame = samples.photo(61, 43, 4)
    frame[::2, :, 3] = np.arange(61) * 4
    frame[5:20, 5:30, 3] = 0
    image = Image.fromarray(frame)
    data = samples.encoded(image, "WEBP", lossless=lossless, exact=True, quality=80)
    picture = codec.load(data)
    written = codec.save(picture, None, []).data
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(written)) as after:
        np.testing.assert_array_equal(np.array(after), np.array(before))
    if lossless:
        np.testing.assert_array_equal(codec.load(written).frames[0], frame)


def test_a_file_that_curate_wrote_is_copied() -> None:
    for kind in ("webp-lossless", "webp-lossless-alpha", "webp-lossy-alpha", "webp-animated"):
        once = codec.save(codec.load(samples.SAMPLES[kind]()), None, [])
        again = codec.save(codec.load(once.data), None, [])
        assert (once.route, again.route) == (Route.LOSSLESS, Route.COPIED)
        assert again.data == once.data
