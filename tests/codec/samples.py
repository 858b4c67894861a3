"""Small files of every format and kind, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from curate import codec
from curate.codec.png.chunks import deflate, header_for, write_png
from curate.codec.tiff import codec as tiff
from curate.codec.tiff import pages as tiff_stream
from curate.codec.tiff.pixels import DecodedPage

Array = npt.NDArray[Any]

SUBSAMPLINGS = {
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "440": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "411": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
}


def photo(width: int = 90, height: int = 70, channels: int = 3, seed: int = 1) -> Array:
    """Soft colors with some grain, like a photo's."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 7, max(channels, 1)), dtype=np.uint8)
    soft = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.integers(-12, 13, (height, width, max(channels, 1)))
    pixels = np.clip(soft.reshape(grain.shape).astype(int) + grain, 0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 0 else pixels


def deep(channels: int = 3, width: int = 60, height: int = 50) -> Array:
    """A photo of 16 bits per sample."""
    rng = np.random.default_rng(2)
    shape = (height, width) if channels == 0 else (height, width, channels)
    return photo(width, height, channels).astype(np.uint16) * 257 ^ rng.integers(
        0, 256, shape, dtype=np.uint16
    )


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(width: int = 90, height: int = 70, subsampling: str = "420", **options: int) -> bytes:
    names = {"progressive": cv2.IMWRITE_JPEG_PROGRESSIVE, "restart": cv2.IMWRITE_JPEG_RST_INTERVAL}
    flags = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLINGS[subsampling]]
    flags += [cv2.IMWRITE_JPEG_QUALITY, options.pop("quality", 85)]
    for name, value in options.items():
        flags += [names[name], value]
    done, data = cv2.imencode(".jpg", photo(width, height)[..., ::-1], flags)
    assert done
    return data.tobytes()


def gray_jpeg(width: int = 90, height: int = 70, quality: int = 85) -> bytes:
    return encoded(Image.fromarray(photo(width, height, 0)), "JPEG", quality=quality)


def cmyk_jpeg() -> bytes:
    return encoded(Image.fromarray(photo(64, 48, 4), "CMYK"), "JPEG", quality=90)


def rgb_jpeg() -> bytes:
    return encoded(Image.fromarray(photo(64, 48)), "JPEG", quality=90, keep_rgb=True)


def arithmetic_jpeg() -> bytes:
    import jpeglib

    before = jpeglib.version.get()
    jpeglib.version.set("turbo210")
    try:
        with TemporaryDirectory() as folder:
            source, target = Path(folder, "a.jpg"), Path(folder, "b.jpg")
            source.write_bytes(jpeg())
            jpeglib.read_dct(str(source)).write_dct(str(target), flags=["+ARITH_CODE"])
            return target.read_bytes()
    finally:
        jpeglib.version.set(before)


def png(frame: Array, before: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return write_png([(b"IHDR", header_for(frame).to_bytes()), *before, (b"IDAT", deflate(frame))])


def color_key_png() -> bytes:
    pixels = photo()
    return encoded(Image.fromarray(pixels), "PNG", transparency=tuple(pixels[0, 0].tolist()))


def palette_image(width: int = 50, height: int = 40) -> Image.Image:
    return Image.fromarray(photo(width, height)).quantize(40)


def animation(count: int = 4, mode: str = "RGB") -> list[Image.Image]:
    channels = {"RGB": 3, "RGBA": 4}[mode]
    return [Image.fromarray(photo(48, 36, channels, seed=seed)) for seed in range(count)]


def animated(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    first, *rest = animation(mode=mode)
    return encoded(first, kind, save_all=True, append_images=rest, duration=80, **options)


def see_through_gif() -> bytes:
    image = palette_image()
    return encoded(image, "GIF", transparency=3)


def deep_tiff(mode: str) -> bytes:
    frame = deep({"RGB": 3, "RGBA": 4, "RGBa": 4}[mode])
    entries, data = tiff._encode(DecodedPage(mode, frame, None), "<")
    return tiff_stream.write_tiff("<", [tiff_stream.Page("<", entries, (data,))])


def pillow_tiff(mode: str, **options: Any) -> bytes:
    image = Image.fromarray(photo(60, 50))
    if mode == "LAB":
        return encoded(Image.merge("LAB", image.split()), "TIFF", **options)
    if mode == "I;16":
        return encoded(Image.fromarray(deep(0)), "TIFF", **options)
    return encoded(image.convert(mode), "TIFF", **options)


def multipage_tiff() -> bytes:
    first, *rest = [Image.fromarray(photo(40 + 8 * n, 30, seed=n)) for n in range(3)]
    return encoded(first, "TIFF", save_all=True, append_images=[rest[0].convert("L"), rest[1]])


SAMPLES: dict[str, Callable[[], bytes]] = {
    **{
        f"jpeg-{name}": lambda name=name: jpeg(subsampling=name)  # type: ignore[misc]
        for name in SUBSAMPLINGS
    },
    "jpeg-odd-size": lambda: jpeg(83, 61),
    "jpeg-one-pixel": lambda: jpeg(1, 1),
    "jpeg-progressive": lambda: jpeg(progressive=1),
    "jpeg-restart": lambda: jpeg(restart=2),
    "jpeg-gray": gray_jpeg,
    "jpeg-arithmetic": arithmetic_jpeg,
    "jpeg-rgb": rgb_jpeg,
    "jpeg-cmyk": cmyk_jpeg,
    "png-rgb": lambda: png(photo()),
    "png-gray": lambda: png(photo(channels=0)),
    "png-rgba": lambda: png(photo(channels=4)),
    "png-la": lambda: png(photo(channels=2)),
    "png-16-gray": lambda: png(deep(0)),
    "png-16-la": lambda: png(deep(2)),
    "png-16-rgb": lambda: png(deep(3)),
    "png-16-rgba": lambda: png(deep(4)),
    "png-bilevel": lambda: encoded(Image.fromarray(photo()).convert("1"), "PNG"),
    "png-palette": lambda: encoded(palette_image(), "PNG"),
    "png-palette-alpha": lambda: encoded(palette_image(), "PNG", transparency=bytes(range(40))),
    "png-color-key": color_key_png,
    "png-animated": lambda: animated("PNG", "RGBA"),
    "png-hidden-default": lambda: animated("PNG", default_image=True),
    "webp-lossy": lambda: encoded(Image.fromarray(photo()), "WEBP", quality=80),
    "webp-lossy-alpha": lambda: encoded(Image.fromarray(photo(channels=4)), "WEBP"),
    "webp-lossless": lambda: encoded(Image.fromarray(photo()), "WEBP", lossless=True),
    "webp-lossless-alpha": lambda: encoded(
        Image.fromarray(photo(channels=4)), "WEBP", lossless=True, exact=True
    ),
    "webp-animated": lambda: animated("WEBP", lossless=True),
    "webp-animated-alpha": lambda: animated("WEBP", "RGBA", lossless=True),
    "gif-still": lambda: encoded(palette_image(), "GIF"),
    "gif-see-through": see_through_gif,
    "gif-animated": lambda: animated("GIF", loop=3),
    "bmp-rgb": lambda: encoded(Image.fromarray(photo()), "BMP"),
    "bmp-gray": lambda: encoded(Image.fromarray(photo(channels=0)), "BMP"),
    "bmp-palette": lambda: encoded(palette_image(), "BMP"),
    "bmp-bilevel": lambda: encoded(Image.fromarray(photo()).convert("1"), "BMP"),
    **{
        f"tiff-{mode.lower().replace(';', '')}": lambda mode=mode: pillow_tiff(mode)  # type: ignore[misc]
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16")
    },
    "tiff-lzw": lambda: pillow_tiff("RGB", compression="tiff_lzw"),
    "tiff-jpeg": lambda: pillow_tiff("RGB", compression="jpeg"),
    "tiff-16-rgb": lambda: deep_tiff("RGB"),
    "tiff-16-rgba": lambda: deep_tiff("RGBA"),
    "tiff-16-associated": lambda: deep_tiff("RGBa"),
    "tiff-multipage": multipage_tiff,
}
"""Every kind of file that the codec reads and writes, by name."""


def changed(picture: codec.Picture) -> tuple[list[Array], list[list[codec.Box]]]:
    """The picture's frames with a box in each filled with its mean, and the boxes."""
    frames, touched = [], []
    for frame in picture.frames:
        height, width = frame.shape[:2]
        box = codec.Box(
            width // 4,
            height // 4,
            max(width // 2, width // 4 + 1),
            max(height // 2, height // 4 + 1),
        )
        edited = frame.copy()
        edited[box.slices] = edited[box.slices].mean((0, 1)).astype(frame.dtype)
        frames.append(edited)
        touched.append([box])
    return frames, touched
