"""BMP: always written again, so that nothing between or behind its parts survives."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.ports import Frame
from curate.formats.codec.bmp_stream import stray_bytes, write_bmp
from curate.formats.codec.picture import CodecOptions, Encoded, Metadata, Picture
from curate.formats.codec.raster import Indexed, check_size, open_image, to_frame, used_palette

_LARGEST_HEADER = 124
_GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def load(data: bytes, options: CodecOptions) -> Picture:
    """Decode a BMP.

    Raises:
        WithheldError: ``truncated``, ``corrupt``, ``unsupported`` or ``bomb``.
    """
    width, height = _size(data)
    check_size(width, height, 1, options.max_pixels)
    indexed: Indexed | None = None
    with open_image(data, "BMP") as image:
        image.load()
        mode = image.mode
        if mode == "P":
            indexed = used_palette(image)
            frame = indexed.colours()
        elif mode in ("1", "L", "RGB", "RGBA"):
            frame = to_frame(image, "L" if mode == "1" else None)
        else:
            raise WithheldError("unsupported", f"BMP with pixels of kind {mode}")
    if frame.shape[:2] != (height, width):
        raise WithheldError("corrupt", "the BMP has another size than it states")
    return Picture(
        format="BMP",
        mode=mode,
        width=width,
        height=height,
        orientation=1,
        frames=(frame,),
        metadata=Metadata(),
        stored=indexed,
    )


def save(
    picture: Picture,
    frames: Sequence[Frame] | None,
    touched: Sequence[Sequence[Box]],
    options: CodecOptions,
) -> Encoded:
    """Write a BMP without loss; a face-free one keeps its palette and its bit."""
    frame = picture.frames[0] if frames is None else frames[0]
    if frames is None and picture.stored is not None:
        indexed: Indexed = picture.stored
        data = write_bmp(indexed.indices, indexed.palette, 8)
    elif frames is None and picture.mode == "1":
        data = write_bmp(frame // 255, _GREYS[[0, 255]], 1)
    elif frame.ndim == 2:
        data = write_bmp(frame, _GREYS, 8)
    else:
        data = write_bmp(frame)
    return Encoded(data, Route.LOSSLESS, picture.note)


def find_leaks(data: bytes, options: CodecOptions) -> list[str]:
    """What a BMP output carries beside its image, one line each."""
    load(data, options)
    return stray_bytes(data)


def _size(data: bytes) -> tuple[int, int]:
    header = int.from_bytes(data[14:18], "little")
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    elif 40 <= header <= _LARGEST_HEADER:
        width, height = struct.unpack_from("<ii", data, 18)
    else:
        raise WithheldError("unsupported", f"BMP with a header of {header} bytes")
    return int(width), abs(int(height))
