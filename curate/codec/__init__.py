"""The codec: the only package that decodes or encodes image files.

``load`` decodes a file to a ``Picture``, ``appearances`` renders it for a
detector, ``save`` encodes it with new or unchanged pixels, and ``find_leaks``
checks a file that was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from curate.codec.metadata.allow_list import DROPPED_PROFILE, KEEPABLE, Metadata
from curate.codec.metadata.rendering import mode_of
from curate.codec.picture import (
    UNUSED_COLORS,
    Codec,
    CodecOptions,
    Encoded,
    Picture,
    changed_mask,
    digest_pixels,
)
from curate.codec.rgb import appearances, crop_jpeg, encode_rgb, suffix_of_rgb, upright_rgb
from curate.codec.signatures import SIGNATURE_BYTES, describe, sniff
from curate.core.errors import UsageError, WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame
from curate.core.registry import Plugin, Registry

__all__ = [
    "FORMATS",
    "KEEPABLE",
    "SIGNATURE_BYTES",
    "UNUSED_COLORS",
    "Codec",
    "CodecOptions",
    "Encoded",
    "Metadata",
    "Picture",
    "appearances",
    "changed_mask",
    "crop_jpeg",
    "digest_pixels",
    "encode_rgb",
    "find_leaks",
    "load",
    "save",
    "sniff",
    "suffix_of_rgb",
    "upright_rgb",
]

FORMATS = Registry(
    "image format",
    [
        ("JPEG", Plugin("curate.codec.jpeg.codec:JpegCodec", "copied or spliced; 8 bit")),
        ("PNG", Plugin("curate.codec.png.codec:PngCodec", "lossless; APNG; 8 and 16 bit")),
        ("WEBP", Plugin("curate.codec.webp.codec:WebpCodec", "lossless exactly, lossy re-encoded")),
        ("BMP", Plugin("curate.codec.bmp:BmpCodec", "lossless; 1 to 32 bit")),
        ("GIF", Plugin("curate.codec.gif.codec:GifCodec", "lossless outside faces; animations")),
        ("TIFF", Plugin("curate.codec.tiff.codec:TiffCodec", "lossless; pages; 8 and 16 bit")),
    ],
)
"""Image formats that can be read and written, by the name that ``sniff`` returns."""

_DEFAULTS = CodecOptions()


def load(data: bytes, options: CodecOptions = _DEFAULTS) -> Picture:
    """Decode a whole file, all frames.

    Args:
        data: the file.
        options: limits, and which metadata to keep.

    Raises:
        WithheldError: with code ``empty``, ``unreadable`` (not a known image
            format), ``unsupported``, ``truncated``, ``corrupt``, ``bomb`` (too
            many pixels) or ``frames`` (frames that cannot be processed).
    """
    return _with_fitting_profile(_codec_of(data).load(data, options))


def _with_fitting_profile(picture: Picture) -> Picture:
    """The picture without a profile of other colors, and with a note of a dropped one."""
    metadata, shape = picture.metadata, picture.frames[0].shape
    if metadata.icc is not None:
        mode = mode_of(metadata.icc)
        gray = len(shape) == 2 or shape[2] == 2
        fits = picture.mode == "CMYK" if mode == "CMYK" else picture.mode not in ("CMYK", "LAB")
        if not fits or (mode == "L" and not gray):
            metadata = replace(metadata, icc=None, note=DROPPED_PROFILE)
    if metadata.note is None:
        return picture
    note = f"{picture.note}; {metadata.note}" if picture.note else metadata.note
    return replace(picture, metadata=metadata, note=note)


def save(
    picture: Picture,
    frames: Sequence[Frame] | None,
    touched: Sequence[Sequence[Box]],
    options: CodecOptions = _DEFAULTS,
) -> Encoded:
    """Encode a picture in its own format with allow-listed metadata only.

    Args:
        picture: what ``load`` returned.
        frames: new pixels of every frame, same shapes and dtypes as
            ``picture.frames``; None if nothing changed.
        touched: per frame, the whole-pixel boxes outside which it is unchanged.
        options: as given to ``load``.

    Raises:
        UsageError: if the frames or boxes do not fit the picture.
        WithheldError: if the picture cannot be encoded in its format.
    """
    if frames is None or not any(touched):
        frames = None
    elif len(frames) != len(picture.frames) or len(touched) != len(picture.frames):
        raise UsageError(f"{len(picture.frames)} frames were loaded; give as many frames and boxes")
    elif any(
        new.shape != old.shape or new.dtype != old.dtype
        for new, old in zip(frames, picture.frames, strict=True)
    ):
        raise UsageError("a frame differs in shape or dtype from the one that was loaded")
    encoded = _codec(picture.format).save(picture, frames, touched, options)
    from curate.codec.decoding import check_expansion  # on demand: it loads Pillow

    # What was written can be loaded again.
    pixels = sum(frame.shape[0] * frame.shape[1] for frame in picture.frames)
    check_expansion(pixels, len(picture.frames), len(encoded.data))
    return encoded


def find_leaks(data: bytes, options: CodecOptions = _DEFAULTS) -> list[str]:
    """List what an output file contains besides its pixels and allow-listed metadata.

    Args:
        data: the file, as written by ``save``.
        options: as given to ``load``.

    Returns:
        One line per finding: metadata, thumbnails, further frames, comments,
        unknown chunks, trailing or slack bytes. Empty if there are none.
    """
    try:
        return _codec_of(data).find_leaks(data, options)
    except WithheldError as error:
        return [f"the file is damaged: {error.detail}"]


def _codec_of(data: bytes) -> Codec:
    if not data:
        raise WithheldError("empty", "the file is empty")
    name = sniff(data)
    if name is not None and name in FORMATS:
        return _codec(name)
    described = (name, True) if name is not None else describe(data)
    if described is None:
        raise WithheldError("unreadable", "not an image in a format known here")
    kind, is_picture = described
    if is_picture:
        raise WithheldError("unsupported", f"{kind} files are not supported; convert them to PNG")
    raise WithheldError("unreadable", f"it is {kind}, not an image")


def _codec(name: str) -> Codec:
    return cast(Codec, FORMATS.resolve(name)())
