"""Two files that differ only inside a hidden region give the same bytes, whatever their headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate import codec
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.obfuscators import make
from curate.pipeline.image import Tools, hide
from tests.codec import samples

FACE = Box(12, 8, 40, 32)
INSIDE = (slice(10, 30), slice(14, 38))
SIZE = (48, 64)
GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)

Array = np.ndarray[Any, np.dtype[Any]]
Pair = tuple[bytes, bytes]


def written(data: bytes, method: str) -> bytes:
    picture = codec.load(data)
    tools = Tools(None, None, make(method, {}), 0.15, codec.CodecOptions())
    faces = [[Face(FACE, None, (), "file")] for _ in picture.frames]
    made = hide(picture, faces, tools)
    assert codec.find_leaks(made.data) == []
    return made.data


def indices(rng: Any, low: int = 0, high: int = 250) -> tuple[Array, Array]:
    """Indices of a palette, and others of which the hidden ones use the entries 250 to 255."""
    plain = rng.integers(low, high, SIZE, dtype=np.uint8)
    other = plain.copy()
    other[INSIDE] = rng.integers(250, 256, other[INSIDE].shape)
    return plain, other


def paletted(pixels: Array, palette: Array, kind: str, **options: Any) -> bytes:
    image = Image.fromarray(pixels, "P")
    image.putpalette(palette.tobytes())
    if kind == "GIF":
        options |= {"optimize": False}
    return samples.encoded(image, kind, **options)


def colors(rng: Any) -> Array:
    """A palette of different colors, of which no gray."""
    chosen = rng.choice(1 << 16, 256, replace=False)
    return np.stack([chosen >> 8, chosen & 255, 255 - (chosen >> 8)], axis=1).astype(np.uint8)


def gif_transparency(rng: Any) -> Pair:
    plain, other = indices(rng)
    palette = colors(rng)
    a, b = (paletted(each, palette, "GIF", transparency=255) for each in (plain, other))
    return a, b


def gif_one_transparent_pixel(rng: Any) -> Pair:
    plain, _ = indices(rng)
    other = plain.copy()
    other[12, 20] = 255
    palette = colors(rng)
    a, b = (paletted(each, palette, "GIF", transparency=255) for each in (plain, other))
    return a, b


def gif_animation(rng: Any) -> Pair:
    first, second = indices(rng)
    palette = colors(rng)

    def animated(*frames: Array) -> bytes:
        images = [Image.fromarray(frame, "P") for frame in frames]
        for image in images:
            image.putpalette(palette.tobytes())
        how: dict[str, Any] = {"save_all": True, "optimize": False, "transparency": 255}
        return samples.encoded(images[0], "GIF", append_images=images[1:], disposal=2, **how)

    third = first[::-1].copy()
    third[INSIDE] = first[INSIDE]
    other = third.copy()
    other[INSIDE] = second[INSIDE]
    return animated(first, third), animated(second, other)


def png_palette_alpha(rng: Any) -> Pair:
    plain, other = indices(rng)
    palette, alpha = colors(rng), bytes([255] * 250 + [0, 9, 90, 128, 200, 254])
    return paletted(plain, palette, "PNG"), paletted(other, palette, "PNG", transparency=alpha)


def png_key(rng: Any, channels: int) -> Pair:
    plain = rng.integers(4, 255, (*SIZE, channels) if channels > 1 else SIZE, dtype=np.uint8)
    other = plain.copy()
    other[INSIDE] = 3
    key = (3, 3, 3) if channels > 1 else 3
    first = samples.encoded(Image.fromarray(plain), "PNG")
    return first, samples.encoded(Image.fromarray(other), "PNG", transparency=key)


def png_key_of_colors(rng: Any) -> Pair:
    return png_key(rng, 3)


def png_key_of_grays(rng: Any) -> Pair:
    return png_key(rng, 1)


def alpha(rng: Any, kind: str, **options: Any) -> Pair:
    plain = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    opaque = np.dstack([plain, np.full(SIZE, 255, np.uint8)])
    other = opaque.copy()
    other[INSIDE] = rng.integers(0, 255, other[INSIDE].shape)
    first = opaque if kind in ("PNG", "TIFF") else plain
    a, b = (samples.encoded(Image.fromarray(each), kind, **options) for each in (first, other))
    return a, b


def png_alpha(rng: Any) -> Pair:
    return alpha(rng, "PNG")


def tiff_alpha(rng: Any) -> Pair:
    return alpha(rng, "TIFF")


def webp_alpha(rng: Any) -> Pair:
    return alpha(rng, "WEBP", lossless=True, exact=True)


def gray_or_color(rng: Any, kind: str) -> Pair:
    plain, other = indices(rng)
    palette = GRAYS.copy()
    palette[250:] = colors(rng)[250:]
    return paletted(plain, GRAYS, kind), paletted(other, palette, kind)


def bmp_palette(rng: Any) -> Pair:
    return gray_or_color(rng, "BMP")


def tiff_palette(rng: Any) -> Pair:
    return gray_or_color(rng, "TIFF")


def png_palette(rng: Any) -> Pair:
    return gray_or_color(rng, "PNG")


def bmp_bilevel(rng: Any) -> Pair:
    plain = rng.integers(0, 2, SIZE, dtype=np.uint8) * 255
    other = plain.copy()
    other[INSIDE] = rng.integers(1, 255, other[INSIDE].shape)
    palette = GRAYS.copy()
    palette[1:255] = colors(rng)[1:255]
    first = samples.encoded(Image.fromarray(plain).convert("1"), "BMP")
    return first, paletted(other, palette, "BMP")


PAIRS: list[Callable[[Any], Pair]] = [
    *(gif_transparency, gif_one_transparent_pixel, gif_animation),
    *(png_palette_alpha, png_key_of_colors, png_key_of_grays, png_alpha, png_palette),
    *(tiff_alpha, tiff_palette, webp_alpha, bmp_palette, bmp_bilevel),
]


@pytest.mark.parametrize("pair", PAIRS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), method=st.sampled_from(["diffuse", "fill"]))
def test_files_that_differ_only_inside_a_region_give_the_same_bytes(
    pair: Callable[[Any], Pair], seed: int, method: str
) -> None:
    first, second = pair(np.random.default_rng(seed))
    assert first != second
    assert written(first, method) == written(second, method)
