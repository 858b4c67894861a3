"""GIF89a blocks: parsing and writing, and a check of LZW image data."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from curate.core.errors import WithheldError

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_CONTROL, _APPLICATION, _PLAIN_TEXT = 0xF9, 0xFF, 0x01
_MAX_CODES = 4096
_LOOP = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


@dataclass(frozen=True, slots=True)
class GifImage:
    """One image of a GIF.

    Args:
        control: graphic control: disposal flags, delay, transparent index; 4 bytes, or None.
        x: left edge on the canvas, pixels.
        y: upper edge on the canvas, pixels.
        width: pixels.
        height: pixels.
        interlaced: whether rows are stored in four passes.
        palette: local color table, or empty.
        data: LZW minimum code size and codes, joined from their sub-blocks.
    """

    control: bytes | None
    x: int
    y: int
    width: int
    height: int
    interlaced: bool
    palette: bytes
    data: bytes

    @property
    def delay(self) -> bytes:
        """Duration, two bytes, hundredths of a second."""
        return self.control[1:3] if self.control else b"\0\0"


@dataclass(frozen=True, slots=True)
class GifStream:
    """The contents of a GIF file.

    Args:
        width: of the canvas, pixels.
        height: of the canvas, pixels.
        palette: global color table, or empty.
        background: index of the background color.
        loops: number of repetitions, 0 is infinite, or None if not given.
        images: in order.
        dropped: descriptions of blocks that are dropped.
        tail: bytes after the trailer.
    """

    width: int
    height: int
    palette: bytes
    background: int
    loops: int | None
    images: tuple[GifImage, ...]
    dropped: tuple[str, ...] = ()
    tail: bytes = b""

    def to_bytes(self) -> bytes:
        """Return a file of these images and the loop count only."""
        parts = [
            b"GIF89a",
            struct.pack("<HH", self.width, self.height),
            bytes([_table_flags(self.palette) | 0x70, self.background, 0]),
            self.palette,
        ]
        if self.loops is not None:
            parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", self.loops, 0))
        for image in self.images:
            if image.control is not None:
                parts.append(b"\x21\xf9\x04" + image.control + b"\0")
            flags = _table_flags(image.palette) | 0x40 * image.interlaced
            box = struct.pack("<HHHH", image.x, image.y, image.width, image.height)
            parts += [b"\x2c", box, bytes([flags]), image.palette, _to_blocks(image.data)]
        return b"".join([*parts, b"\x3b"])


def parse_gif(data: bytes) -> GifStream:
    """Parse a GIF file without decoding it.

    Raises:
        WithheldError: ``truncated`` or ``corrupt``.
    """
    reader = _Reader(data)
    reader.take(6)
    width, height, flags, background, _ = struct.unpack("<HHBBB", reader.take(7))
    palette = reader.take(_table_size(flags))
    images: list[GifImage] = []
    dropped: list[str] = []
    loops: int | None = None
    control: bytes | None = None
    while (kind := reader.take(1)[0]) != _TRAILER:
        if kind == _IMAGE:
            images.append(_read_image(reader, control))
            control = None
        elif kind == _EXTENSION:
            label, blocks = reader.take(1)[0], reader.blocks()
            if label == _CONTROL and len(blocks[0] if blocks else b"") == 4:
                control = _control(blocks[0])
            elif label == _APPLICATION and _is_loop(blocks):
                loops = int.from_bytes(blocks[1][1:3], "little")
            else:
                dropped.append(f"an extension 0x{label:02X}")
                control = None if label == _PLAIN_TEXT else control
        else:
            raise WithheldError("corrupt", "the GIF has an unknown block")
    return GifStream(
        width, height, palette, background, loops, tuple(images), tuple(dropped), reader.rest()
    )


def scan_codes(image: GifImage) -> tuple[bool, frozenset[int]]:
    """Check LZW codes (GIF89a, appendix F).

    Pixels can be coded in many ways, which could tell something else. Encoders write one:
    the table is cleared at the start and when it is full, and each code is the longest
    string of the table that fits.

    Returns:
        Whether the data are such codes of all pixels, the end code and nothing else; and the
        used palette indices, which are the single-pixel codes that occur.

    Raises:
        WithheldError: ``truncated`` or ``corrupt``.
    """
    size, wanted = _code_size(image), image.width * image.height
    clear, end = 1 << size, (1 << size) + 1
    lengths = [1] * clear + [0, 0]
    firsts = [*range(clear), 0, 0]
    strings: set[int] = set()  # a code and the pixel after it, for every string of the table
    used: set[int] = set()
    exact, before = True, -1
    pixels, width, held, bits, position, data = 0, size + 1, 0, 0, 1, image.data
    while pixels < wanted:
        while bits < width and position < len(data):
            held |= data[position] << bits
            bits, position = bits + 8, position + 1
        code = held & ((1 << width) - 1)
        if bits < width or code == end:
            raise WithheldError("truncated", "the GIF's image data ends too early")
        held, bits = held >> width, bits - width
        if code == clear:
            exact = exact and (len(lengths) == _MAX_CODES or not pixels) and before != clear
            del lengths[clear + 2 :], firsts[clear + 2 :]
            strings.clear()
            width, before = size + 1, clear
            continue
        exact = exact and before >= 0
        follows = before not in (-1, clear)
        if code > len(lengths) or (code == len(lengths) and not follows):
            raise WithheldError("corrupt", "the GIF's image data is damaged")
        if follows:
            first = firsts[code] if code < len(firsts) else firsts[before]
            string = before << 8 | first
            exact = exact and string not in strings
            if len(lengths) < _MAX_CODES:
                strings.add(string)
                lengths.append(lengths[before] + 1)
                firsts.append(firsts[before])
        used.add(code)
        before = code
        pixels += lengths[code]
        if len(lengths) == 1 << width and width < 12:
            width += 1
    behind = held | int.from_bytes(data[position:], "little") << bits
    left = bits + 8 * (len(data) - position)
    # writers differ on the end code's width where the table is just full: its value decides
    exact = exact and pixels == wanted and behind == end and left < width + 8
    return exact, frozenset(used & set(range(clear)))


def _code_size(image: GifImage) -> int:
    size = image.data[0]
    if not 2 <= size <= 8:
        raise WithheldError("corrupt", "the GIF's code size is impossible")
    return size


def blank_unused(stream: GifStream, used: Sequence[frozenset[int]]) -> GifStream:
    """Return the file with unused palette entries set to black.

    Args:
        stream: the file.
        used: palette indices in use, per image.
    """
    everywhere = frozenset({stream.background}).union(
        *(found for image, found in zip(stream.images, used, strict=True) if not image.palette)
    )
    images = tuple(
        replace(image, palette=_blanked(image.palette, found))
        for image, found in zip(stream.images, used, strict=True)
    )
    return replace(stream, palette=_blanked(stream.palette, everywhere), images=images)


def _blanked(palette: bytes, used: frozenset[int]) -> bytes:
    entries = (palette[at : at + 3] for at in range(0, len(palette), 3))
    return b"".join(entry if index in used else b"\0\0\0" for index, entry in enumerate(entries))


class _Reader:
    """A bounds-checked cursor over the file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise WithheldError("truncated", "the GIF ends inside a block")
        self._at += size
        return self._data[self._at - size : self._at]

    def blocks(self) -> list[bytes]:
        blocks: list[bytes] = []
        while size := self.take(1)[0]:
            blocks.append(self.take(size))
        return blocks

    def rest(self) -> bytes:
        return self._data[self._at :]


def _read_image(reader: _Reader, control: bytes | None) -> GifImage:
    x, y, width, height, flags = struct.unpack("<HHHHB", reader.take(9))
    palette = reader.take(_table_size(flags))
    data = reader.take(1) + b"".join(reader.blocks())
    return GifImage(control, x, y, width, height, bool(flags & 0x40), palette, data)


def _control(block: bytes) -> bytes:
    """Disposal, delay and transparent index; without transparency, no index."""
    flags = block[0] & 0x1D
    return bytes([flags]) + block[1:3] + (block[3:] if flags & 1 else b"\0")


def _is_loop(blocks: Sequence[bytes]) -> bool:
    return len(blocks) >= 2 and blocks[0] in _LOOP and len(blocks[1]) == 3 and blocks[1][0] == 1


def _table_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _table_flags(palette: bytes) -> int:
    if not palette:
        return 0
    depth = (len(palette) // 3).bit_length() - 2
    return 0x80 | depth


def _to_blocks(data: bytes) -> bytes:
    """The minimum code size, then the codes in sub-blocks."""
    parts = [data[:1]]
    for start in range(1, len(data), 255):
        block = data[start : start + 255]
        parts += [bytes([len(block)]), block]
    return b"".join([*parts, b"\0"])
