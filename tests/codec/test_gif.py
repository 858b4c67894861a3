from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.gif.blocks import parse_gif, scan_codes
from curate.codec.gif.codec import to_palette
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from tests.codec import samples


def test_an_unchanged_gif_keeps_its_codes() -> None:
    for kind in ("gif-still", "gif-animated", "gif-see-through"):
        data = samples.SAMPLES[kind]()
        written = codec.save(codec.load(data), None, [])
        assert written.route is Route.COPIED
        before, after = parse_gif(data), parse_gif(written.data)
        assert [image.data for image in after.images] == [image.data for image in before.images]
        assert after.loops == before.loops


def test_frames_equal_pillows() -> None:
    data = samples.animated("GIF")
    with Image.open(io.BytesIO(data)) as image:
        for index, frame in enumerate(codec.load(data).frames):
            image.seek(index)
            np.testing.assert_array_equal(frame, np.array(image.convert("RGB")))


def test_a_changed_animation_keeps_delays_loops_and_everything_outside() -> None:
    first, *rest = [image.quantize(100) for image in samples.animation(5)]
    durations = [30, 50, 70, 90, 110]
    data = samples.encoded(
        first, "GIF", save_all=True, append_images=rest, duration=durations, loop=7
    )
    picture = codec.load(data)
    frames, touched = samples.changed(picture)
    written = codec.save(picture, frames, touched)
    assert written.route is Route.LOSSLESS
    with Image.open(io.BytesIO(written.data)) as image:
        assert image.info["loop"] == 7
        for index, (new, boxes) in enumerate(zip(frames, touched, strict=True)):
            image.seek(index)
            assert image.info["duration"] == durations[index]
            shown = np.array(image.convert("RGB")).astype(int)
            np.testing.assert_array_equal(shown, new)
            assert boxes


def test_transparent_pixels_stay_transparent() -> None:
    picture = codec.load(samples.see_through_gif())
    frame = picture.frames[0]
    assert frame.shape[2] == 4
    assert 0 < (frame[..., 3] == 0).sum() < frame[..., 3].size
    assert not frame[frame[..., 3] == 0].any()
    edited = frame.copy()
    edited[0:6, 0:6] = (1, 2, 3, 255)
    written = codec.save(picture, [edited], [[Box(0, 0, 6, 6)]]).data
    np.testing.assert_array_equal(codec.load(written).frames[0], edited)


def test_colors_of_hidden_pixels_are_not_in_the_new_palette() -> None:
    rng = np.random.default_rng(1)
    indices = rng.integers(0, 40, (30, 30), dtype=np.uint8)
    indices[10:20, 10:20] = rng.integers(200, 256, (10, 10), dtype=np.uint8)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(indices, "L")
    image.putpalette(palette.tobytes())
    picture = codec.load(samples.encoded(image, "GIF"))
    frame = picture.frames[0].copy()
    frame[10:20, 10:20] = (7, 7, 7)
    stream = parse_gif(codec.save(picture, [frame], [[Box(10, 10, 20, 20)]]).data)
    kept = {tuple(color) for color in palette[:40]} | {(7, 7, 7), (0, 0, 0)}
    table = np.frombuffer(stream.images[0].palette, np.uint8).reshape(-1, 3)
    assert stream.palette == b""
    assert {tuple(color) for color in table} <= kept


def test_excess_colors_are_quantized_inside_only() -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    fixed = np.zeros((64, 64), bool)
    fixed[:2] = True
    found = to_palette(pixels, fixed, None, 256)
    assert found is not None
    indices, palette = found
    assert len(palette) <= 256
    np.testing.assert_array_equal(palette[indices][fixed], pixels[fixed])
    assert np.abs(palette[indices].astype(int) - pixels).mean() < 40
    assert to_palette(pixels, np.ones((64, 64), bool), None, 256) is None


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("colors", [2, 100, 256, 5000])
def test_written_gifs_have_no_unused_palette_entries(colors: int, transparent: bool) -> None:
    kind = "gif-see-through" if transparent else "gif-animated"
    picture = codec.load(samples.SAMPLES[kind]())
    rng = np.random.default_rng(colors)
    chosen = rng.integers(0, 256, (colors, 3), dtype=np.uint8)
    box = Box(0, 0, picture.width, picture.height // 2)
    frames = [frame.copy() for frame in picture.frames]
    for frame in frames:
        inside = frame[box.slices]
        inside[..., :3] = chosen[rng.integers(0, colors, inside.shape[:2])]
    written = codec.save(picture, frames, [[box]] * len(frames))
    assert codec.find_leaks(written.data) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (250, 250), (400, 300)])
def test_lzw_codes_of_written_gifs_are_exact(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    indices = rng.integers(0, 250, size, dtype=np.uint8)
    indices[: size[0] // 2] //= 60
    stream = parse_gif(samples.encoded(Image.fromarray(indices, "L"), "GIF", optimize=False))
    exact, used = scan_codes(stream.images[0])
    assert exact
    assert used == set(np.unique(indices).tolist())


def test_an_image_outside_the_canvas_is_withheld() -> None:
    data = bytearray(samples.encoded(samples.palette_image(), "GIF"))
    data[6:8] = (20).to_bytes(2, "little")
    with pytest.raises(WithheldError, match=r"is larger than its canvas of 20×\d+$"):
        codec.load(bytes(data))


def invisible(
    color: int, mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]], **how: int
) -> bytes:
    """A GIF of one color whose second image draws ``mask`` in that color, over transparency."""
    height, width = mask.shape
    x, y, disposal = how.get("x", 0), how.get("y", 0), how.get("disposal", 1)
    palette = bytes([color] * 6 + [color ^ 0x55] * 6)
    first = np.zeros((height + y, width + x), np.uint8)
    second = np.where(mask, 1, 2).astype(np.uint8)
    whole = parse_gif(samples.encoded(Image.fromarray(first), "GIF", optimize=False, interlace=0))
    part = parse_gif(
        samples.encoded(Image.fromarray(second), "GIF", optimize=False, interlace=0)
    ).images[0]
    under = replace(whole.images[0], control=None, palette=palette)
    control = bytes([disposal << 2 | 1, 9, 0, 2])
    over = replace(part, control=control, palette=palette, x=x, y=y)
    return replace(whole, palette=b"", background=0, images=(under, over)).to_bytes()


@pytest.mark.parametrize("color", [0, 120, 255])
@pytest.mark.parametrize("how", [{}, {"x": 7, "y": 3}, {"disposal": 2}, {"disposal": 3}])
def test_an_image_that_shows_nothing_is_an_appearance(color: int, how: dict[str, int]) -> None:
    mask = samples.photo(30, 20, 0) > 128
    picture = codec.load(invisible(color, mask, **how))
    assert codec.save(picture, None, []).route is Route.COPIED
    assert all(np.ptp(frame[..., :3]) == 0 for frame in picture.frames)
    assert len(codec.appearances(picture, 0)) == 1
    top, left = how.get("y", 0), how.get("x", 0)
    found = [image[top:, left:, 0] for image in codec.appearances(picture, 1)]
    assert any(np.array_equal(image, np.where(mask, 255, 0)) for image in found)


def test_an_image_without_transparency_is_shown_as_it_is() -> None:
    picture = codec.load(samples.SAMPLES["gif-animated"]())
    counts = {len(codec.appearances(picture, number)) for number in range(len(picture.frames))}
    assert counts == {1}


def gif_of(indices: samples.Array, palette: bytes, **how: int) -> bytes:
    """A GIF of these indices and this palette, which Pillow would not write."""
    image = Image.fromarray(indices.astype(np.uint8))
    stream = parse_gif(samples.encoded(image, "GIF", optimize=False, **how))
    images = tuple(replace(image, palette=b"", control=None) for image in stream.images)
    return replace(stream, palette=palette, images=images).to_bytes()


@pytest.mark.parametrize("colors", [2, 4, 8, 16, 128])
@pytest.mark.parametrize("count", [1, 40])
def test_indices_beyond_the_palette_cannot_hide_a_picture(colors: int, count: int) -> None:
    """Decoders show them as black."""
    indices = np.random.default_rng(1).integers(0, colors, (30, 40), dtype=np.uint8)
    palette = np.random.default_rng(3).bytes(3 * colors)
    assert codec.load(gif_of(indices, palette)).mode == "P"
    indices.flat[:count] = np.arange(colors, colors + count)
    data = gif_of(indices, palette)
    with pytest.raises(WithheldError, match="not in the palette"):
        codec.load(data)
    assert "not in the palette" in codec.find_leaks(data)[0]


def test_a_gif_without_a_palette_is_withheld() -> None:
    with pytest.raises(WithheldError, match="not in the palette"):
        codec.load(gif_of(samples.photo(20, 20, 0), b""))


def test_a_transparent_index_beyond_the_palette_is_no_color() -> None:
    stream = parse_gif(gif_of(np.arange(200).reshape(10, 20) % 5, bytes(range(12))))
    images = tuple(replace(image, control=b"\1\0\0\4") for image in stream.images)
    picture = codec.load(replace(stream, images=images).to_bytes())
    assert (picture.frames[0][..., 3] == 0).sum() == 40
    assert codec.find_leaks(codec.save(picture, None, []).data) == []


@pytest.mark.parametrize("colors", [2, 4, 8, 16, 256])
def test_entries_of_equal_color_are_merged_in_any_palette(colors: int) -> None:
    indices = np.random.default_rng(2).integers(0, colors, (30, 40), dtype=np.uint8)
    data = gif_of(indices, b"\7" * (3 * colors))
    assert codec.find_leaks(data)
    written = codec.save(codec.load(data), None, [])
    assert written.route is Route.LOSSLESS
    assert codec.find_leaks(written.data) == []
    with Image.open(io.BytesIO(written.data)) as image:
        assert np.ptp(np.array(image)) == 0


def codes_of(codes: list[tuple[int, int]]) -> bytes:
    """LZW data of codes and their widths, for images of 8 bits."""
    held = bits = 0
    for code, width in codes:
        held |= code << bits
        bits += width
    return b"\x08" + held.to_bytes(-(-bits // 8), "little")


CLEAR, END = (256, 9), (257, 9)
ODD_CODES = {
    "none": [CLEAR, (1, 9), (258, 9), (259, 9), (2, 9), END],
    "clear codes in sequence": [CLEAR, CLEAR, CLEAR, (1, 9), (258, 9), (259, 9), (2, 9), END],
    "an early clear code": [CLEAR, (1, 9), (258, 9), CLEAR, (1, 9), (258, 9), (2, 9), END],
    "no first clear code": [(1, 9), (258, 9), (259, 9), (2, 9), END],
    "a clear code before the end": [CLEAR, (1, 9), (258, 9), (259, 9), (2, 9), CLEAR, END],
    "short strings": [CLEAR, *[(1, 9)] * 6, (2, 9), END],
    "bits after the end": [CLEAR, (1, 9), (258, 9), (259, 9), (2, 9), END, (1, 2)],
    "a byte after the end": [CLEAR, (1, 9), (258, 9), (259, 9), (2, 9), END, (77, 9)],
}


@pytest.mark.parametrize("kind", ODD_CODES)
def test_codes_that_no_encoder_writes_are_written_again(kind: str) -> None:
    stream = parse_gif(gif_of(np.array([[1, 1, 1, 1, 1, 1, 2]]), bytes(range(48)) * 16))
    images = (replace(stream.images[0], data=codes_of(ODD_CODES[kind]), interlaced=False),)
    data = replace(stream, images=images).to_bytes()
    picture = codec.load(data)
    assert np.array_equal(picture.frames[0][0, :, 0], [3] * 6 + [6])
    written = codec.save(picture, None, [])
    kept = kind == "none"
    assert written.route is (Route.COPIED if kept else Route.LOSSLESS)
    assert codec.find_leaks(written.data) == []
    assert any("no encoder writes" in leak for leak in codec.find_leaks(data)) != kept
    assert np.array_equal(codec.load(written.data).frames[0], picture.frames[0])


def test_the_transparent_index_of_an_opaque_image_is_dropped() -> None:
    stream = parse_gif(gif_of(np.array([[0, 1], [1, 0]]), bytes(range(6))))
    images = tuple(replace(image, control=b"\4\7\0\x58") for image in stream.images)
    data = replace(stream, images=images).to_bytes()
    written = codec.save(codec.load(data), None, []).data
    assert parse_gif(written).images[0].control == b"\4\7\0\0"
    assert codec.find_leaks(data)
