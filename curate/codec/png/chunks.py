"""PNG chunks and image data: parsing and writing (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import WithheldError
from curate.core.protocols import Frame

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Bytes2D = npt.NDArray[np.uint8]
Chunk = tuple[bytes, bytes]
"""A chunk's type and its data."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_LEVEL = 6
_MAX_CHUNKS = 1 << 18  # in 8 KB each, a PNG of two gigabytes
_PIECE = 1 << 20  # bytes that are inflated at a time


@dataclass(frozen=True, slots=True)
class Header:
    """The IHDR chunk: size in pixels, bits per sample, color type, interlacing."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool

    @property
    def channels(self) -> int:
        """Samples per pixel, as stored."""
        return _CHANNELS[self.color]

    def to_bytes(self) -> bytes:
        """Return the chunk's data."""
        return struct.pack(
            ">IIBBBBB", self.width, self.height, self.depth, self.color, 0, 0, self.interlaced
        )

    def data_size(self, width: int, height: int) -> int:
        """Return the uncompressed size of image data in bytes, including filter bytes."""
        bits = self.depth * self.channels
        if not self.interlaced:
            return height * (1 + -(-width * bits // 8))
        total = 0
        for x0, y0, dx, dy in _ADAM7:
            columns, rows = -(-(width - x0) // dx), -(-(height - y0) // dy)
            if columns > 0 and rows > 0:
                total += rows * (1 + -(-columns * bits // 8))
        return total


def parse_chunks(data: bytes) -> tuple[list[Chunk], bytes]:
    """Parse the chunks of a file, verifying checksums; also return trailing bytes.

    Raises:
        WithheldError: ``truncated``, ``corrupt`` or ``bomb``.
    """
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if at + 12 > len(data):
            raise WithheldError("truncated", "the PNG has no end chunk")
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        if end > len(data):
            raise WithheldError("truncated", "the PNG ends inside a chunk")
        payload = data[at + 8 : end - 4]
        if zlib.crc32(payload, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
            raise WithheldError("corrupt", f"a PNG chunk {kind!r} fails its checksum")
        if len(chunks) == _MAX_CHUNKS:
            raise WithheldError("bomb", f"the PNG has more than {_MAX_CHUNKS:,} chunks")
        chunks.append((kind, payload))
        at = end
    return chunks, data[at:]


def parse_header(chunks: list[Chunk]) -> Header:
    """Parse the IHDR chunk.

    Raises:
        WithheldError: ``corrupt``.
    """
    kind, payload = chunks[0]
    if kind != b"IHDR" or len(payload) != 13 or sum(k == b"IHDR" for k, _ in chunks) != 1:
        raise WithheldError("corrupt", "the PNG header is damaged")
    width, height, depth, color, method, filters, interlace = struct.unpack(">IIBBBBB", payload)
    sound = depth in _DEPTHS.get(color, ()) and method == filters == 0 and interlace <= 1
    if not sound:
        raise WithheldError("corrupt", "the PNG header is damaged")
    return Header(width, height, depth, color, bool(interlace))


def write_png(chunks: Iterable[Chunk]) -> bytes:
    """Return a file of these chunks; IEND is added."""
    parts = [SIGNATURE]
    for kind, payload in (*chunks, (b"IEND", b"")):
        checksum = zlib.crc32(payload, zlib.crc32(kind))
        parts += [struct.pack(">I4s", len(payload), kind), payload, struct.pack(">I", checksum)]
    return b"".join(parts)


def is_exact(compressed: bytes, size: int) -> bool:
    """Whether a zlib stream is complete, has no trailing bytes, and inflates to ``size`` bytes.

    Raises:
        WithheldError: ``corrupt`` or ``truncated``.
    """
    inflater = zlib.decompressobj()
    held = read = 0
    try:
        for read in range(0, len(compressed), _PIECE):
            pending = compressed[read : read + _PIECE]
            while pending and held <= size and not inflater.eof:
                held += len(inflater.decompress(pending, _PIECE))
                pending = inflater.unconsumed_tail
            if held > size or inflater.eof:
                break
        held += len(inflater.flush(1)) if held <= size and not inflater.eof else 0
    except zlib.error as error:
        raise WithheldError("corrupt", f"PNG image data: {error}") from error
    if held < size:
        raise WithheldError("truncated", "the PNG's image data ends too early")
    behind = inflater.unused_data or len(compressed) > read + _PIECE
    return held == size and inflater.eof and not behind


def compress(rows: bytes) -> bytes:
    """Return compressed image data of filtered rows."""
    squeezer = _squeezer()
    return b"".join([squeezer.compress(rows), squeezer.flush()])


def compress_again(compressed: bytes, size: int) -> bytes:
    """Return image data of ``size`` bytes, compressed again.

    Blocks of a stream can be empty, and have bits that no decoder reads.
    """
    inflater, squeezer = zlib.decompressobj(), _squeezer()
    parts: list[bytes] = []
    pending = compressed
    while size > 0 and (piece := inflater.decompress(pending, min(size, _PIECE))):
        parts.append(squeezer.compress(piece))
        size, pending = size - len(piece), inflater.unconsumed_tail
    return b"".join([*parts, squeezer.flush()])


def pack_rows(samples: Frame, depth: int) -> bytes:
    """Return rows of samples of 1, 2 or 4 bits, without filter; bits after their ends are 0."""
    height, width = samples.shape
    per_byte = 8 // depth
    padded = np.pad(samples, ((0, 0), (0, -width % per_byte))).reshape(height, -1, per_byte)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    rows = np.bitwise_or.reduce(padded << shifts, axis=2).astype(np.uint8)
    return np.pad(rows, ((0, 0), (1, 0))).tobytes()


def header_for(frame: Frame) -> Header:
    """Return the header of a file that stores ``frame``."""
    channels = 1 if frame.ndim == 2 else frame.shape[2]
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return Header(frame.shape[1], frame.shape[0], 8 * frame.dtype.itemsize, color, False)


def deflate(frame: Frame) -> bytes:
    """Return compressed image data, rows filtered by the standard's heuristic."""
    step = frame.dtype.itemsize * (1 if frame.ndim == 2 else frame.shape[2])
    big_endian = np.ascontiguousarray(frame, frame.dtype.newbyteorder(">"))
    rows = big_endian.reshape(frame.shape[0], -1).view(np.uint8)
    squeezer = _squeezer()
    parts: list[bytes] = []
    above = np.zeros((1, rows.shape[1]), np.uint8)
    for band in _bands(rows):
        parts.append(squeezer.compress(_filtered(band, above, step).tobytes()))
        above = band[-1:]
    return b"".join([*parts, squeezer.flush()])


def _squeezer() -> Any:
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, 15, 9)


def _bands(rows: Bytes2D) -> Iterator[Bytes2D]:
    """Yield bands of rows of about one megabyte, to bound memory."""
    height = max(1, (1 << 20) // max(1, rows.shape[1]))
    for start in range(0, rows.shape[0], height):
        yield rows[start : start + height]


def _filtered(rows: Bytes2D, above: Bytes2D, step: int) -> Bytes2D:
    """Filter rows; each uses the filter with the minimum sum of absolute values."""
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], up[:, :-step]
    candidates = np.stack([rows, rows - left, rows - up, rows - _paeth(left, up, corner)])
    magnitude = np.minimum(candidates, 0 - candidates)
    best = magnitude.sum(axis=2, dtype=np.int64).argmin(axis=0)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = np.array([0, 1, 2, 4], np.uint8)[best]
    filtered[:, 1:] = candidates[best, np.arange(rows.shape[0])]
    return filtered


def _paeth(left: Bytes2D, up: Bytes2D, corner: Bytes2D) -> Bytes2D:
    a, b, c = left.astype(np.int16), up.astype(np.int16), corner.astype(np.int16)
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    near_b = np.where(to_b <= to_c, up, corner)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, near_b)
