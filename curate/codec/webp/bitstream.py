"""WebP chunks and bitstreams (RFC 9649): parsing, and removal of bytes that are not decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from curate.codec.decoding import open_image
from curate.core.errors import WithheldError

ALPHA_FLAG = 0x10
"""Bit of the VP8X header."""

Chunk = tuple[bytes, bytes]


def parse_webp(data: bytes) -> tuple[list[Chunk], bytes]:
    """Parse the chunks of a file; also return trailing bytes.

    Raises:
        WithheldError: ``truncated`` or ``corrupt``.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise WithheldError("truncated", "the WebP is shorter than it states")
    chunks = parse_chunks(data[12:end])
    if not chunks:
        raise WithheldError("corrupt", "the WebP holds no chunk")
    return chunks, data[end:]


def parse_chunks(data: bytes) -> list[Chunk]:
    """Parse consecutive chunks.

    Raises:
        WithheldError: ``truncated``.
    """
    chunks: list[Chunk] = []
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > len(data):
            raise WithheldError("truncated", "the WebP ends inside a chunk")
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return chunks


def select_bitstream(chunks: list[Chunk]) -> tuple[Chunk, ...]:
    """Return the bitstream chunks of one frame: VP8L, or VP8 with optional ALPH before it.

    Raises:
        WithheldError: ``truncated`` or ``corrupt``.
    """
    images = [chunk for chunk in chunks if chunk[0] in (b"VP8 ", b"VP8L")]
    alphas = [chunk for chunk in chunks if chunk[0] == b"ALPH"]
    if len(images) != 1 or len(alphas) > 1:
        raise WithheldError("corrupt", "the WebP holds no image, or more than one")
    if len(images[0][1]) < 10:
        raise WithheldError("truncated", "the WebP's image data ends too early")
    return (*alphas, images[0]) if images[0][0] == b"VP8 " else (images[0],)


def trim_bitstream(image: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    """Return the bitstream chunks of a frame without bytes that no decoder reads.

    Trailing bytes of VP8L and ALPH data and of every VP8 partition (RFC 6386, 9.5) are
    removed. Decoders fail on a partition that is too short, so the end of each is the
    shortest length at which the frame still decodes to the same pixels. A few zero bytes,
    with which encoders flush their state, are kept.

    Raises:
        WithheldError: if the frame cannot be decoded.
    """
    for _ in range(_MAX_PASSES):
        if (trimmed := _trim_once(image)) == image:
            return image
        image = trimmed
    raise WithheldError("corrupt", "the WebP's image data has no definite end")


def _trim_once(image: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    """Cut every partition; shorter neighbors may let the next pass cut one byte more."""
    wanted = _decode_alone(image)
    for position, (kind, payload) in enumerate(image):
        if kind == b"ALPH":
            payload = bytes([payload[0] & 0x3F]) + payload[1:]  # two reserved bits
        regions = _partitions(payload) if kind == b"VP8 " else [(1, len(payload))]
        for number in reversed(range(len(regions))):
            start, end = regions[number]

            def cut(size: int, *, kind: bytes = kind, payload: bytes = payload) -> Chunk:
                rest = payload[: start + size] + payload[end:]  # noqa: B023 - called in this loop
                resized = kind == b"VP8 " and number < len(regions) - 1  # noqa: B023
                return kind, _with_size(rest, number, size) if resized else rest  # noqa: B023

            def decodes(size: int) -> bool:
                tried = (*image[:position], cut(size), *image[position + 1 :])  # noqa: B023
                try:
                    return _decode_alone(tried) == wanted
                except WithheldError:
                    return False

            size = _shortest(end - start, decodes)
            behind = payload[start + size : end]
            if len(behind) > _MAX_PADDING or any(behind):
                payload = cut(size)[1]
        image = (*image[:position], (kind, payload), *image[position + 1 :])
    return image


def _shortest(size: int, suffices: Callable[[int], bool]) -> int:
    """The smallest size that suffices, given that all larger ones do; probes near the end first."""
    step = 1
    while size > step and suffices(size - step):
        size, step = size - step, 2 * step
    low = max(size - step, 0)
    while size - low > 1:
        middle = (low + size) // 2
        low, size = (low, middle) if suffices(middle) else (middle, size)
    return size


def _decode_alone(image: tuple[Chunk, ...]) -> bytes:
    """The pixels of one frame's bitstream, colors of transparent pixels included."""
    with open_image(write_still(image), "WEBP") as decoded:
        return decoded.mode.encode() + decoded.tobytes()


def write_still(image: tuple[Chunk, ...]) -> bytes:
    """Return a file of one frame's bitstream without metadata."""
    chunks = list(image)
    if image[0][0] == b"ALPH":
        width, height = bitstream_size(image)
        header = struct.pack("<I", ALPHA_FLAG) + uint24(width - 1) + uint24(height - 1)
        chunks.insert(0, (b"VP8X", header))
    body = b"WEBP" + join_chunks(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


_TAG_SIZE, _HEADER_SIZE = 3, 10
_MAX_PADDING = 8  # zero bytes
_MAX_PASSES = 8


def _partitions(payload: bytes) -> list[tuple[int, int]]:
    """Start and end of every partition of a VP8 key frame (RFC 6386, 9.1 and 9.5)."""
    first = int.from_bytes(payload[:_TAG_SIZE], "little") >> 5
    at = _HEADER_SIZE + first
    if at > len(payload):
        raise WithheldError("truncated", "the WebP's image data ends too early")
    count = 1 << _log2_partitions(payload[_HEADER_SIZE:at])
    regions = [(_HEADER_SIZE, at)]
    start = at + 3 * (count - 1)
    for number in range(count):
        size = int.from_bytes(payload[at + 3 * number : at + 3 * number + 3], "little")
        end = min(start + size, len(payload)) if number < count - 1 else len(payload)
        regions.append((min(start, end), end))
        start = end
    return regions


def _with_size(payload: bytes, number: int, size: int) -> bytes:
    """A VP8 frame whose partition ``number`` is recorded with another size."""
    tag = int.from_bytes(payload[:_TAG_SIZE], "little")
    if number == 0:
        return (tag & 0x1F | size << 5).to_bytes(3, "little") + payload[_TAG_SIZE:]
    at = _HEADER_SIZE + (tag >> 5) + 3 * (number - 1)
    return payload[:at] + size.to_bytes(3, "little") + payload[at + 3 :]


def _log2_partitions(data: bytes) -> int:
    """The number of token partitions, from the frame header (RFC 6386, 9.2 to 9.5, and 19.2)."""
    read = _BoolDecoder(data).literal
    read(2)  # color space, clamping
    if read(1):  # segmentation
        update_map, update_data = read(1), read(1)
        if update_data:
            read(1)
            for bits in (7, 7, 7, 7, 6, 6, 6, 6):
                read(bits + 1 if read(1) else 0)
        for _ in range(3 * update_map):
            read(8 if read(1) else 0)
    read(10)  # loop filter
    if read(1) and read(1):
        for _ in range(8):
            read(7 if read(1) else 0)
    return read(2)


class _BoolDecoder:
    """The arithmetic decoder of VP8 for equally likely bits (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 2
        self._value = int.from_bytes(data[:2].ljust(2, b"\0"), "big")
        self._range, self._shifted = 255, 0

    def literal(self, bits: int) -> int:
        """Return an unsigned number of ``bits`` bits, most significant first."""
        number = 0
        for _ in range(bits):
            split = 1 + ((self._range - 1) >> 1)
            bit = self._value >= split << 8
            self._range = self._range - split if bit else split
            self._value -= split << 8 if bit else 0
            while self._range < 128:
                self._value, self._range = self._value << 1, self._range << 1
                self._shifted += 1
                if self._shifted == 8:
                    self._shifted = 0
                    self._value |= self._data[self._at] if self._at < len(self._data) else 0
                    self._at += 1
            number = number << 1 | bit
        return number


def has_alpha(image: tuple[Chunk, ...]) -> bool:
    """Return whether a frame has an alpha channel."""
    kind, payload = image[-1]
    return image[0][0] == b"ALPH" or (kind == b"VP8L" and bool(payload[4] >> 4 & 1))


def bitstream_size(image: tuple[Chunk, ...]) -> tuple[int, int]:
    """Return width and height of a frame, pixels."""
    kind, payload = image[-1]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", payload, 6)
        return width & 0x3FFF, height & 0x3FFF
    packed = int.from_bytes(payload[1:5], "little")
    return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1


def join_chunks(chunks: Sequence[Chunk]) -> bytes:
    """Return chunks as bytes of a file."""
    parts: list[bytes] = []
    for kind, payload in chunks:
        parts += [struct.pack("<4sI", kind, len(payload)), payload, b"\0" * (len(payload) % 2)]
    return b"".join(parts)


def uint24(value: int) -> bytes:
    """Return a 24-bit little-endian number."""
    return value.to_bytes(3, "little")
