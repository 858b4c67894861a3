"""BMP: always encoded again, so that no bytes between or after its parts survive."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.codec.decoding import Indexed, check_size, open_image, to_frame, used_palette
from curate.codec.metadata.allow_list import Metadata
from curate.codec.picture import EQUAL_COLORS, UNUSED_COLORS, CodecOptions, Encoded, Picture
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame

_MAX_HEADER = 124
_EMBEDDED = (4, 5)  # compression
_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


class BmpCodec:
    """BMP: always encoded again, without loss."""

    name = "BMP"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a BMP.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``unsupported`` or ``bomb``.
        """
        width, height = _size(data)
        check_size(width, height, 1, options.max_pixels, len(data))
        indexed: Indexed | None = None
        with open_image(data, "BMP") as image:
            image.load()
            mode = image.mode
            if mode == "P":
                indexed = used_palette(image)
                frame = indexed.colors()
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
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a BMP without loss; an unchanged one keeps its palette and bit depth."""
        frame = picture.frames[0] if frames is None else frames[0]
        if frames is None and picture.stored is not None:
            indexed: Indexed = picture.stored
            data = write_bmp(indexed.indices, indexed.palette, 8)
        elif frames is None and picture.mode == "1":
            data = write_bmp(frame // 255, _GRAYS[[0, 255]], 1)
        elif frame.ndim == 2 or (picture.stored is not None and _is_gray(frame)):
            # a palette is one of grays, with 8 bits, or none: its other colors may be hidden
            data = write_bmp(frame if frame.ndim == 2 else frame[..., 0], _GRAYS, 8)
        else:
            data = write_bmp(frame)
        return Encoded(data, Route.LOSSLESS, picture.note)

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a BMP output contains besides its pixels."""
        self.load(data, options)
        return stray_bytes(data)


def _is_gray(frame: Frame) -> bool:
    return bool((frame == frame[..., :1]).all())


def _size(data: bytes) -> tuple[int, int]:
    header = int.from_bytes(data[14:18], "little")
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    elif 40 <= header <= _MAX_HEADER:
        width, height = struct.unpack_from("<ii", data, 18)
        if int.from_bytes(data[30:34], "little") in _EMBEDDED:
            raise WithheldError("unsupported", "BMP that holds a JPEG or PNG")
    else:
        raise WithheldError("unsupported", f"BMP with a header of {header} bytes")
    return int(width), abs(int(height))


_INFO, _V4 = 40, 108
_BITFIELDS = 3
_MASKS = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + b"\0" * 48


def write_bmp(frame: Frame, palette: npt.NDArray[np.uint8] | None = None, bits: int = 0) -> bytes:
    """Return a BMP file, rows bottom-up.

    Args:
        frame: H×W×3 or H×W×4 uint8; or H×W uint8 palette indices.
        palette: N×3 uint8, for indices.
        bits: bits per index, 1 or 8; ignored for colors.
    """
    height, width = frame.shape[:2]
    if frame.ndim == 2:
        rows = np.packbits(frame, axis=1) if bits == 1 else frame
    else:
        bits = 8 * frame.shape[2]
        order = [2, 1, 0, 3][: frame.shape[2]]
        rows = frame[..., order].reshape(height, -1)
    rows = np.pad(rows[::-1], ((0, 0), (0, -rows.shape[1] % 4)))
    entries = b"" if palette is None else np.pad(palette[:, ::-1], ((0, 0), (0, 1))).tobytes()
    deep = bits == 32
    header = _V4 if deep else _INFO
    start = 14 + header + len(entries)
    parts = [
        struct.pack("<2sIII", b"BM", start + rows.size, 0, start),
        struct.pack("<IiiHHI", header, width, height, 1, bits, _BITFIELDS if deep else 0),
        struct.pack("<IiiII", rows.size, 0, 0, len(entries) // 4, 0),
        _MASKS if deep else entries,
        np.ascontiguousarray(rows).tobytes(),
    ]
    return b"".join(parts)


def stray_bytes(data: bytes) -> list[str]:
    """List the contents of a file that ``write_bmp`` would not have written."""
    start, header, width, height = struct.unpack_from("<IIii", data, 10)
    bits, colors = data[28], int.from_bytes(data[46:50], "little")
    row = -(-width * bits // 8)
    padded = row + -row % 4
    fixed = _MASKS if header == _V4 else b""
    size = padded * height
    expected = struct.pack("<2sIII", b"BM", start + size, 0, start)
    expected += struct.pack("<IiiHHI", header, width, height, 1, bits, _BITFIELDS * bool(fixed))
    expected += struct.pack("<IiiII", size, 0, 0, colors, 0) + fixed
    if data[: len(expected)] != expected or start != len(expected) + 4 * colors:
        return ["the header contains more than the image needs"]
    if len(data) != start + size:
        return ["there are bytes besides the header, the palette and the pixels"]
    rows = np.frombuffer(data, np.uint8, size, start).reshape(height, padded)
    palette = np.frombuffer(data, np.uint8, 4 * colors, len(expected)).reshape(-1, 4)
    leaks = ["there are bytes after the rows"] if rows[:, row:].any() else []
    used = np.zeros(256, np.bool_)
    used[np.unique(rows[:, :row]) if bits == 8 else slice(2)] = True
    grays = (palette[:, :3] == np.arange(len(palette))[:, None]).all()
    shown = np.flatnonzero(used[: len(palette)]) if bits == 8 else np.arange(0)
    if len(np.unique(palette[shown], axis=0)) < len(shown):
        leaks.append(EQUAL_COLORS)
    if palette[:, 3].any() or (palette[~used[: len(palette)]].any() and not grays):
        leaks.append(UNUSED_COLORS)
    return leaks
