"""The codec: the only package that decodes or encodes image files.

``load`` decodes a file to a ``Picture``, ``appearances`` renders it for a
detector, ``save`` encodes it with new or unchanged pixels, and ``find_leaks``
checks a file that was written.
"""

from __future__ import annotations

import re
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
from curate.core.errors import UsageError, WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame
from curate.core.registry import Plugin, Registry

__all__ = [
    "FORMATS",
    "KEEPABLE",
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
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1"), "HEIF"),
    b"crx ": "CR3",
}
_PNM = re.compile(rb"P[1-6]\s(?:\s|#[^\n]*\n)*\d+\s+\d+\s|P7\nWIDTH |P[Ff]\n\d+ \d+\n")
_UNSUPPORTED = {
    b"\0\0\1\0": "ICO",
    **dict.fromkeys((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    **dict.fromkeys((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
    b"II\xbc": "JPEG XR",
    b"8BPS\0": "Photoshop",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"qoif": "QOI",
    b"DDS |\0": "DDS",
    **dict.fromkeys((b"IIRO", b"IIU\0", b"FUJIFILMCCD-RAW"), "camera raw"),
}
"""First bytes of formats that are withheld."""


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


def sniff(data: bytes) -> str | None:
    """Return a file's format name (``JPEG``, ``PNG``, …) from its first bytes, or None.

    Formats that the codec cannot write are named too, so that the reason for
    withholding a file can be reported. File names are never consulted.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in _TIFF_SIGNATURES:
        return "TIFF"
    if data[:2] == b"BM" and len(data) >= 26:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    if _PNM.match(data):
        return "PNM"
    return next((name for start, name in _UNSUPPORTED.items() if data.startswith(start)), None)


def _codec_of(data: bytes) -> Codec:
    if not data:
        raise WithheldError("empty", "the file is empty")
    name = sniff(data)
    if name is None:
        raise WithheldError("unreadable", "not an image in a format known here")
    if name not in FORMATS:
        raise WithheldError("unsupported", f"{name} files are not supported; convert them to PNG")
    return _codec(name)


def _codec(name: str) -> Codec:
    return cast(Codec, FORMATS.resolve(name)())
