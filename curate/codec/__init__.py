"""The only place that decodes or encodes pixels.

``load`` turns a file's bytes into a ``Picture``, ``upright_rgb`` shows it to a
detector, ``save`` writes it with new pixels or without, and ``find_leaks``
looks over what was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType, ModuleType

from curate.codec import bmp, webp
from curate.codec.gif import format as gif
from curate.codec.jpeg import format as jpeg
from curate.codec.metadata.exif import KEEPABLE
from curate.codec.picture import CodecOptions, Encoded, Metadata, Picture, digest_pixels
from curate.codec.png import format as png
from curate.codec.png.format import UNUSED_COLOURS
from curate.codec.sniffing import sniff
from curate.codec.tiff import format as tiff
from curate.codec.upright import upright_rgb
from curate.core.errors import UsageError, WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame, Pixels

__all__ = [
    "KEEPABLE",
    "UNUSED_COLOURS",
    "CodecOptions",
    "Encoded",
    "Metadata",
    "Picture",
    "digest_pixels",
    "encode_rgb",
    "find_leaks",
    "load",
    "save",
    "sniff",
    "suffix_of_rgb",
    "upright_rgb",
]

_DEFAULTS = CodecOptions()
_MODULES: MappingProxyType[str, ModuleType] = MappingProxyType(
    {"JPEG": jpeg, "PNG": png, "WEBP": webp, "BMP": bmp, "GIF": gif, "TIFF": tiff}
)


def load(data: bytes, options: CodecOptions = _DEFAULTS) -> Picture:
    """Decode a whole file, every frame of it.

    Args:
        data: the file.
        options: limits, and what metadata to keep.

    Raises:
        WithheldError: with code ``empty``, ``unreadable`` (no known image
            format), ``unsupported``, ``truncated``, ``corrupt``, ``bomb`` (too
            many pixels) or ``frames`` (more images than can be processed).
    """
    return _module(data).load(data, options)  # type: ignore[no-any-return]


def save(
    picture: Picture,
    frames: Sequence[Frame] | None,
    touched: Sequence[Sequence[Box]],
    options: CodecOptions = _DEFAULTS,
) -> Encoded:
    """Encode a picture in its own format, with nothing around the pixels but the allow-list.

    Args:
        picture: what ``load`` returned.
        frames: the new pixels of every frame, of the shapes and dtypes of
            ``picture.frames``; None where nothing was changed.
        touched: for every frame, the whole-pixel boxes outside which it is unchanged.
        options: as given to ``load``.

    Raises:
        UsageError: if the frames or boxes do not fit the picture.
        WithheldError: if the picture cannot be written in its format.
    """
    if frames is None or not any(touched):
        frames = None
    elif len(frames) != len(picture.frames) or len(touched) != len(picture.frames):
        raise UsageError(f"{len(picture.frames)} frames were loaded; give as many back")
    elif any(
        new.shape != old.shape or new.dtype != old.dtype
        for new, old in zip(frames, picture.frames, strict=True)
    ):
        raise UsageError("a frame has another shape or dtype than the one that was loaded")
    module = _MODULES[picture.format]
    return module.save(picture, frames, touched, options)  # type: ignore[no-any-return]


def encode_rgb(image: Pixels, format: str) -> bytes:  # noqa: A002 - as in Picture
    """Encode an image that was made from another, with nothing around its pixels.

    A JPEG gives a JPEG of quality 95 with whole colours; all else a PNG, without loss.

    Args:
        image: upright, H×W×3 uint8.
        format: of the image that it was made from, as in ``Picture``.

    Raises:
        WithheldError: ``unsupported`` if the format cannot hold an image of this size.
    """
    return jpeg.encode_rgb(image) if format == "JPEG" else png.encode_rgb(image)


def suffix_of_rgb(format: str) -> str:  # noqa: A002 - as in Picture
    """How the name of what ``encode_rgb`` makes for a format ends."""
    return ".jpg" if format == "JPEG" else ".png"


def find_leaks(data: bytes, options: CodecOptions = _DEFAULTS) -> list[str]:
    """What an output file carries beside its pixels and the allow-list.

    Args:
        data: the file, as written by ``save``.
        options: as given to ``load``.

    Returns:
        One line per finding: metadata, thumbnails, further frames, comments,
        unknown chunks, trailing or slack bytes. Empty where there is none.
    """
    try:
        return _module(data).find_leaks(data, options)  # type: ignore[no-any-return]
    except WithheldError as error:
        return [f"the file is damaged: {error.detail}"]


def _module(data: bytes) -> ModuleType:
    if not data:
        raise WithheldError("empty", "the file is empty")
    name = sniff(data)
    if name is None:
        raise WithheldError("unreadable", "not an image in a format known here")
    module = _MODULES.get(name)
    if module is None:
        raise WithheldError("unsupported", f"{name} files cannot be written without loss")
    return module
