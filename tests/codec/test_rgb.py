from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from curate import codec
from curate.core.geometry import Box, to_stored
from tests.codec import samples


def loaded(data: bytes) -> codec.Picture:
    return codec.load(data)


def seen(data: bytes) -> Any:
    return codec.upright_rgb(loaded(data)).astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = samples.encoded(Image.fromarray(samples.photo()), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(codec.upright_rgb(loaded(data)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_upright_box_maps_back_to_stored_pixels(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = loaded(samples.encoded(Image.fromarray(samples.photo()), "PNG", exif=exif))
    box = Box(5, 7, 21, 16)
    stored = to_stored(box, orientation, picture.width, picture.height)
    upright = codec.upright_rgb(picture)[box.slices]
    original = picture.frames[0][stored.slices]
    np.testing.assert_array_equal(np.sort(upright.ravel()), np.sort(original.ravel()))


def test_gray_and_bilevel_fill_three_channels() -> None:
    gray = samples.photo(channels=0)
    np.testing.assert_array_equal(seen(samples.png(gray)), np.stack([gray] * 3, axis=2))


def test_colors_of_transparent_pixels_are_rendered() -> None:
    pixels = samples.photo(channels=4)
    pixels[..., 3] = 0
    np.testing.assert_array_equal(seen(samples.png(pixels)), pixels[..., :3])


def test_a_picture_in_the_alpha_channel_is_rendered() -> None:
    pixels = samples.photo(channels=4)
    pixels[..., :3] = (10, 10, 10)
    shown = seen(samples.png(pixels))
    np.testing.assert_array_equal(shown, np.repeat(pixels[..., 3:], 3, axis=2))


def test_sixteen_bits_are_scaled_to_eight() -> None:
    frame = samples.deep(3)
    assert np.abs(seen(samples.png(frame)) - frame / 257).max() <= 1


def test_twelve_bit_data_is_stretched() -> None:
    frame = samples.deep(0) >> 4
    shown = seen(samples.png(frame))
    assert shown.max() == 255
    assert np.abs(shown[..., 0] - frame / frame.max() * 255).max() <= 2


def test_a_black_frame_of_sixteen_bits_is_black() -> None:
    assert not seen(samples.png(np.zeros((20, 20), np.uint16))).any()


@pytest.mark.parametrize(("mode", "tolerance"), [("CMYK", 2), ("LAB", 60)])
def test_cmyk_and_lab_are_converted_to_rgb(mode: str, tolerance: int) -> None:
    from PIL import ImageCms

    photo = samples.photo(60, 50)
    image = Image.fromarray(photo)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    shown = seen(samples.encoded(image if mode == "LAB" else image.convert(mode), "TIFF"))
    assert np.abs(shown - photo).mean() < tolerance / 2
    assert np.corrcoef(shown.ravel(), photo.ravel())[0, 1] > 0.95


def test_every_frame_of_an_animation_is_rendered() -> None:
    picture = loaded(samples.animated("PNG", "RGBA"))
    views = [codec.upright_rgb(picture, index) for index in range(4)]
    assert all((views[0] != view).any() for view in views[1:])


def drawn(size: int = 24) -> samples.Array:
    """A pattern that stands for a face, 0..255."""
    return np.asarray(samples.photo(size, size, 0))


def shows(picture: codec.Picture, pattern: samples.Array) -> bool:
    """Whether some appearance has the pattern's structure."""
    return any(
        abs(np.corrcoef(image[..., 1].ravel(), pattern.ravel())[0, 1]) > 0.95
        for image in codec.appearances(picture)
        if np.ptp(image[..., 1])
    )


@pytest.mark.parametrize("color", [0, 90, 255])
@pytest.mark.parametrize("odd_pixel", [False, True])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_picture_in_alpha_over_a_nearly_uniform_color_appears(
    kind: str, odd_pixel: bool, color: int
) -> None:
    pixels = np.full((24, 24, 4), color, np.uint8)
    pixels[..., 3] = drawn()
    if odd_pixel:
        pixels[0, 0, :3] = 255 - color
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = samples.encoded(Image.fromarray(pixels), kind, **options)
    assert shows(codec.load(data), drawn())


def test_a_picture_that_only_a_composite_shows_appears() -> None:
    rng = np.random.default_rng(0)
    target = drawn().astype(int) // 2
    alpha = rng.integers(160, 256, target.shape)
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[..., :3] = (255 * target / alpha).round()[..., None]
    pixels[..., 3] = alpha
    picture = codec.load(samples.encoded(Image.fromarray(pixels), "PNG"))
    assert any(
        np.abs(image[..., 0].astype(int) - target).max() <= 1
        for image in codec.appearances(picture)
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("channels", [2, 4])
def test_appearances_of_tiny_images_have_their_size(channels: int, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
    picture = codec.load(samples.encoded(Image.fromarray(pixels), "PNG"))
    assert {image.shape for image in codec.appearances(picture)} == {(*shape, 3)}


def test_a_negative_of_cmyk_in_a_jpeg_appears() -> None:
    picture = codec.load(samples.cmyk_jpeg())
    inverted = 255 - picture.frames[0].astype(int)
    expected = (255 - inverted[..., :3]) * (255 - inverted[..., 3:]) / 255
    views = codec.appearances(picture)
    assert any(np.abs(view - expected).max() < 1 for view in views)


def test_plates_of_cmyk_appear() -> None:
    for plate in (0, 3):
        pixels = np.full((24, 24, 4), 255, np.uint8)
        pixels[..., plate] = drawn()
        picture = codec.load(samples.encoded(Image.fromarray(pixels, "CMYK"), "TIFF"))
        images = codec.appearances(picture)
        assert any(np.array_equal(image[..., 0], 255 - drawn()) for image in images)


def test_an_opaque_picture_has_one_appearance() -> None:
    for kind in ("png-rgb", "jpeg-420", "png-gray", "gif-animated", "webp-animated", "png-16-rgb"):
        assert len(codec.appearances(codec.load(samples.SAMPLES[kind]()))) == 1
    opaque = np.dstack([samples.photo(), np.full((70, 90), 255, np.uint8)])
    assert len(codec.appearances(codec.load(samples.encoded(Image.fromarray(opaque), "PNG")))) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_appearances_are_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = samples.encoded(Image.fromarray(samples.photo(30, 20, 4)), "PNG", exif=exif.tobytes())
    shapes = {image.shape for image in codec.appearances(codec.load(data))}
    assert shapes == {(20, 30, 3) if orientation < 5 else (30, 20, 3)}


def corrcoef(image: samples.Array, pattern: samples.Array) -> float:
    return float(np.corrcoef(image[..., 1].ravel(), pattern.ravel())[0, 1])


def has_contrast(picture: codec.Picture, pattern: samples.Array) -> bool:
    """Whether some appearance shows the pattern with at least half of its contrast."""
    return any(
        image[..., 1].std() > pattern.std() / 2 and corrcoef(image, pattern) > 0.9
        for image in codec.appearances(picture)
    )


@pytest.mark.parametrize("levels", [6, 8, 16, 32, 60])
@pytest.mark.parametrize("first", [0, 120, 195])
@pytest.mark.parametrize("hot", [0, 2, 25])
def test_a_narrow_range_is_stretched(first: int, levels: int, hot: int) -> None:
    """Some pixels of black and white do not hide that the others differ little."""
    pattern = drawn(60)
    faint = (first + pattern.astype(int) * (levels - 1) // 255).astype(np.uint8)
    odd = np.random.default_rng(1).choice(faint.size, 2 * hot, replace=False)
    faint.flat[odd[:hot]], faint.flat[odd[hot:]] = 0, 255
    picture = codec.load(samples.encoded(Image.fromarray(faint), "PNG"))
    np.testing.assert_array_equal(codec.appearances(picture)[0][..., 0], faint)
    assert any(image[..., 1].std() > pattern.std() / 2 for image in codec.appearances(picture))
    assert hot > 2 or has_contrast(picture, pattern)


def test_a_small_faint_picture_in_a_uniform_image_is_stretched() -> None:
    faint = np.full((600, 800, 3), 250, np.uint8)
    faint[300:324, 400:424] = 240 + drawn()[..., None] // 25
    picture = codec.load(samples.encoded(Image.fromarray(faint), "PNG"))
    shown = [image[300:324, 400:424] for image in codec.appearances(picture)]
    assert any(image[..., 1].std() > drawn().std() / 2 for image in shown)


def test_a_faint_alpha_channel_is_stretched() -> None:
    pixels = np.full((24, 24, 4), 255, np.uint8)
    pixels[..., 3] = 250 + drawn() // 52
    assert has_contrast(codec.load(samples.encoded(Image.fromarray(pixels), "PNG")), drawn())


def deep_png(gray: samples.Array, channels: int) -> codec.Picture:
    frame = gray if channels == 1 else np.repeat(gray[..., None], channels, axis=2)
    if channels in (2, 4):
        frame[..., -1] = 65535
    return codec.load(samples.png(frame.astype(np.uint16)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_samples_of_a_narrow_range_are_stretched(channels: int) -> None:
    pattern = drawn(60).astype(np.uint16)
    dim = pattern * 16
    dim.flat[:: len(dim.ravel()) // 8] = 65535
    assert has_contrast(deep_png(dim, channels), drawn(60))
    assert has_contrast(deep_png(0x8000 + pattern, channels), drawn(60))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_picture_in_the_low_bytes_of_deep_samples_appears(channels: int) -> None:
    other = samples.photo(24, 24, 0, seed=5).astype(np.uint16)
    picture = deep_png(other * 256 + drawn(), channels)
    assert any(np.array_equal(image[..., 1], drawn()) for image in codec.appearances(picture))


def test_noise_in_low_bytes_is_no_appearance() -> None:
    assert len(codec.appearances(codec.load(samples.SAMPLES["png-16-rgb"]()))) == 1


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("rest", [0, 128])
def test_each_channel_of_lab_appears(channel: int, rest: int) -> None:
    pixels = np.full((24, 24, 3), rest, np.uint8)
    pixels[..., channel] = drawn()
    stored = pixels ^ np.array([0, 128, 128], np.uint8)
    lab = Image.frombytes("LAB", (24, 24), stored.tobytes())
    picture = codec.load(samples.encoded(lab, "TIFF"))
    assert has_contrast(picture, drawn()) or has_contrast(picture, drawn() ^ 128)
