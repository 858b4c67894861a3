"""Upright RGB: images for detectors and for browsers, and images encoded from RGB."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.codec.metadata.rendering import changes_contrast, render
from curate.codec.picture import Picture
from curate.core.errors import WithheldError
from curate.core.geometry import Box, clip, round_out, turn
from curate.core.protocols import Frame, Pixels

_LONGEST = 65_535  # pixels of a side that JPEG can hold
_BRIGHT = 99.9  # the percentile of a dim 16-bit image that becomes white
_NARROW = 1 / 4  # share of the full range below which contrast is stretched
_OUTLIERS = (0.001, 0.01, 0.05)  # shares of the darkest and brightest pixels that are ignored
_SAMPLES = 1 << 13  # pixels of which the range is measured
_BAND = 1 << 20  # samples that are scaled at a time
_SMOOTH = 60  # mean difference of neighbors, in levels, below which bytes are no noise


def upright_rgb(picture: Picture, frame: int = 0) -> Pixels:
    """Return a frame as upright RGB, H×W×3 uint8, contiguous.

    Colors of transparent pixels are rendered as stored, because anyone can
    recover them; if all colors are equal and the alpha channel varies, the alpha
    channel is rendered instead. Samples of 16 bits are scaled to 8, and stretched if
    they fill less than half of their range, as 12-bit data does.
    """
    pixels = _to_eight_bits(picture.frames[frame])
    convert = {"CMYK": _cmyk_to_rgb, "LAB": _lab_to_rgb}.get(picture.mode, _to_rgb)
    rgb = convert(pixels)
    return np.ascontiguousarray(turn(rgb, picture.orientation))


def appearances(picture: Picture, frame: int = 0) -> list[Pixels]:
    """Return every rendering of a frame that a viewer may show, without duplicates.

    These are the colors as stored (``upright_rgb``, first); if the alpha channel varies,
    the alpha channel itself and the composites on white and on black; for CMYK the
    black plate and the other plates, of JPEG also the negative; for LAB its three channels; for
    16 bits per sample the low bytes, if they are no noise; the frame of an animation before
    compositing; all of these through the color profile, if it changes the contrast; and those of
    little contrast with a stretched range.

    Args:
        picture: a decoded image.
        frame: which frame.

    Returns:
        Upright RGB images of equal size, H×W×3 uint8.
    """
    shown = [upright_rgb(picture, frame)]
    profile = picture.metadata.icc
    whole = picture.frames[frame]
    pixels = _to_eight_bits(whole)
    stored = _renderings(pixels, picture.mode)
    if whole.dtype == np.uint16:
        stored += _of_deep(whole)
    layer = picture.layer(frame) if picture.layer is not None else None
    if layer is not None:
        stored += [layer[..., :3], *_renderings(layer, "RGBA")]
    if picture.mode == "CMYK" and picture.format == "JPEG":
        stored.append(_cmyk_to_rgb(255 - pixels))  # some viewers do not invert as Adobe does
    if picture.mode == "CMYK" and profile is not None:
        stored.append(render(pixels, profile))
    found = shown + [
        np.ascontiguousarray(turn(_to_rgb(rendering), picture.orientation)) for rendering in stored
    ]
    if picture.mode != "CMYK" and profile is not None and changes_contrast(profile):
        found += [render(image, profile) for image in found]
    found += [wider for image in found for wider in _stretched(image)]
    for image in found[1:]:
        if not any(np.array_equal(image, other) for other in shown):
            shown.append(image)
    return shown


def _of_deep(pixels: Frame) -> list[Pixels]:
    """Renderings of 16-bit samples that 8 bits do not show."""
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    colors = pixels[..., :-1] if has_alpha else pixels
    low = (colors & 255).astype(np.uint8)
    change = np.abs(np.diff(low[::4].astype(np.int16), axis=1))
    smooth = np.ptp(low) > 0 and change.size > 0 and float(change.mean()) < _SMOOTH
    wider = _stretched(colors) + (_stretched(pixels[..., -1]) if has_alpha else [])
    return [low] * bool(smooth) + wider


def _stretched(pixels: Frame) -> list[Pixels]:
    """Renderings in which the range of the pixels, if it is narrow, fills 0..255.

    The range is that of all pixels, and those without the darkest and brightest ones as far as
    they are much narrower. All channels are stretched alike.
    """
    channels = pixels.reshape(*pixels.shape[:2], -1)
    top = int(np.iinfo(pixels.dtype).max)
    step = max(1, int((channels[..., 0].size / _SAMPLES) ** 0.5))
    sample = channels[::step, ::step].reshape(-1, channels.shape[2])
    counts = [np.bincount(values, minlength=top + 1) for values in sample.T]
    below = np.cumsum(counts, axis=1)
    ranges = [
        (
            (below > share * len(sample)).argmax(axis=1),
            (below >= (1 - share) * len(sample)).argmax(axis=1),
        )
        for share in _OUTLIERS
    ]
    if (ranges[0][1] - ranges[0][0]).max() <= top * _NARROW:
        ranges.insert(0, (channels.min(axis=(0, 1)), channels.max(axis=(0, 1))))
    found: list[Pixels] = []
    widest = top * _NARROW
    for darkest, brightest in ranges:
        width = int(np.max(brightest.astype(np.int64) - darkest))
        if 0 < width <= widest:
            found.append(_scaled(channels, darkest, 255 / width).reshape(pixels.shape))
            widest = width / 2
    return found


def _scaled(pixels: Frame, darkest: npt.NDArray[Any], factor: float) -> Pixels:
    """Multiples of samples above the darkest, of each channel, as bytes."""
    scaled = np.empty(pixels.shape, np.uint8)
    rows = max(1, _BAND // pixels[0].size)  # floats of a whole frame take gigabytes
    for top in range(0, len(pixels), rows):
        band = pixels[top : top + rows].astype(np.float32) - darkest.astype(np.float32)
        band = np.clip(band * np.float32(factor) + np.float32(0.5), 0, 255)
        scaled[top : top + rows] = band.astype(np.uint8)
    return scaled


def _renderings(pixels: Pixels, mode: str) -> list[Pixels]:
    """Further renderings of stored pixels, H×W or H×W×3."""
    if mode == "CMYK":
        return [255 - pixels[..., 3], 255 - pixels[..., :3]]
    if mode == "LAB":
        return [channel for channel in np.moveaxis(pixels, 2, 0) if np.ptp(channel)]
    if pixels.ndim == 2 or pixels.shape[2] not in (2, 4) or not np.ptp(pixels[..., -1]):
        return []
    alpha = pixels[..., -1]
    if mode == "RGBa":  # premultiplied
        faded = pixels[..., :-1].astype(np.uint16)
    else:
        faded = (pixels[..., :-1].astype(np.uint16) * alpha[..., None] + 127) // 255
    white = np.minimum(faded + (255 - alpha[..., None]), 255)
    composites = (np.asarray(each, np.uint8) for each in (faded, white))
    return [alpha, *(each[..., 0] if each.shape[2] == 1 else each for each in composites)]


def _to_eight_bits(pixels: Frame) -> Pixels:
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    white = float(np.percentile(pixels, _BRIGHT))
    if not 0 < white < 0x8000:
        white = 0xFFFF
    return _scaled(pixels, np.zeros(1), 255 / white)


def _to_rgb(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    channels = pixels.shape[2]
    if channels in (2, 4):
        colors, alpha = pixels[..., :-1], pixels[..., -1:]
        flat = not np.ptp(colors, axis=(0, 1)).any()
        pixels = alpha if flat and np.ptp(alpha) else colors
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _cmyk_to_rgb(pixels: Pixels) -> Pixels:
    ink, black = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return np.asarray(((255 - ink) * (255 - black) + 127) // 255, np.uint8)


def _lab_to_rgb(pixels: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_LAB2RGB), np.uint8)


_QUALITY = 85


def encode_rgb(image: Pixels, format: str) -> bytes:  # noqa: A002 - as in Picture
    """Encode an image that was derived from another, without metadata.

    Args:
        image: upright, H×W×3 uint8.
        format: format of the image it was derived from, as in ``Picture``. ``JPEG``
            gives a JPEG of quality 95 without chroma subsampling; others a PNG.

    Raises:
        WithheldError: ``unsupported`` if the format cannot hold an image of this size.
    """
    if format == "JPEG":
        from curate.codec.jpeg.codec import encode_jpeg

        return encode_jpeg(image)
    from curate.codec.png.codec import encode_png

    return encode_png(image)


def suffix_of_rgb(format: str) -> str:  # noqa: A002 - as in Picture
    """Return the file name suffix of what ``encode_rgb`` returns for a format."""
    return ".jpg" if format == "JPEG" else ".png"


def crop_jpeg(pixels: Pixels, box: Box, side: int) -> bytes:
    """Encode a crop of an image as a JPEG thumbnail whose longer side is ``side`` pixels.

    Args:
        pixels: upright RGB, H×W×3 uint8.
        box: pixels of that image; must contain at least one of them.
        side: pixels.
    """
    from PIL import Image

    inside = clip(round_out(box), pixels.shape[1], pixels.shape[0])
    part = Image.fromarray(pixels[inside.slices])
    factor = side / max(part.size)
    size = (max(1, round(part.width * factor)), max(1, round(part.height * factor)))
    file = io.BytesIO()
    part.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def shrink(image: Pixels, side: int) -> Pixels:
    """An image whose longer side is at most ``side`` pixels, H×W×3 uint8."""
    import cv2

    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return image
    size = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_for_screen(image: Pixels, quality: int = 92) -> bytes:
    """An RGB image, H×W×3 uint8, as JPEG without subsampling.

    Raises:
        WithheldError: if it is too large for the format.
    """
    import simplejpeg  # type: ignore[import-untyped]

    if max(image.shape[:2]) > _LONGEST:
        raise WithheldError("unsupported", "the image is too large to be shown in a browser")
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="444"
    )
    return data
