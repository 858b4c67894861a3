"""JPEG segments: parsing without decoding (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from curate.core.errors import WithheldError

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
SOS, DQT, DHT, DAC, DRI = 0xDA, 0xDB, 0xC4, 0xCC, 0xDD
_SUPPORTED_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # sequential, progressive; Huffman, arithmetic
_PROGRESSIVE, _ARITHMETIC = (0xC2, 0xCA), (0xC9, 0xCA)
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xCB, 0xCD, 0xCE, 0xCF, 0xDC, 0xDE, 0xDF)
_JPEG_LS = (0xF7, 0xF8)  # start of frame and parameters of ITU-T T.87
_MAX_SCANS = 200
_MAX_SCANNED_PIXELS = 1 << 32  # over all scans: bounds the time of decoding
_MAY_END_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker segment; a start of scan also has its entropy-coded data."""

    marker: int
    payload: bytes
    scan: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the segment as bytes of a file."""
        size = struct.pack(">BBH", 0xFF, self.marker, len(self.payload) + 2)
        return b"".join((size, self.payload, self.scan))


@dataclass(frozen=True, slots=True)
class Component:
    """One component of the frame header: id, sampling factors, quantization table."""

    id: int
    h: int
    v: int
    table: int


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The start of frame (SOF): size in pixels and components."""

    marker: int
    width: int
    height: int
    components: tuple[Component, ...]

    @property
    def progressive(self) -> bool:
        """Whether the frame is progressive."""
        return self.marker in _PROGRESSIVE


@dataclass(frozen=True, slots=True)
class JpegStream:
    """The segments of one JPEG image.

    Args:
        frame: the frame header.
        coded: the segments that decoding needs, in order.
        application: APPn and comment segments, in order.
        tail: bytes after the end of the image.
    """

    frame: FrameHeader
    coded: tuple[Segment, ...]
    application: tuple[Segment, ...]
    tail: bytes

    @property
    def jfif(self) -> bool:
        """Whether there is a JFIF marker, by which three components are YCbCr."""
        return any(
            s.marker == APP0 and s.payload[:5] == b"JFIF\0" and len(s.payload) >= 14
            for s in self.application
        )

    @property
    def adobe_transform(self) -> int | None:
        """Color transform of the Adobe marker, or None without one."""
        found = [
            segment.payload[11]
            for segment in self.application
            if segment.marker == APP14
            and segment.payload[:5] == b"Adobe"
            and len(segment.payload) >= 12
        ]
        return found[-1] if found else None

    @property
    def color_space(self) -> str:
        """``L``, ``YCbCr``, ``RGB``, ``CMYK`` or ``YCCK``, by libjpeg's rules."""
        if len(self.frame.components) == 1:
            return "L"
        if len(self.frame.components) == 4:
            return "CMYK" if self.adobe_transform in (None, 0) else "YCCK"
        if self.jfif:
            return "YCbCr"
        if self.adobe_transform is not None:
            return "RGB" if self.adobe_transform == 0 else "YCbCr"
        ids = bytes(component.id for component in self.frame.components)
        return "RGB" if ids == b"RGB" else "YCbCr"

    def to_bytes(self, metadata: tuple[Segment, ...] = ()) -> bytes:
        """Return a file of the coded segments and ``metadata``.

        Of the source's application segments only JFIF and Adobe are written, which
        define the color space, without density, thumbnail or flags.
        """
        header = [_JFIF] if self.jfif else []
        header += metadata
        # Of two markers that disagree, decoders follow different ones: only JFIF is written.
        disagree = self.jfif and self.color_space == "YCbCr" and self.adobe_transform == 0
        if self.adobe_transform is not None and not disagree:
            header.append(_adobe(self.adobe_transform))
        return b"".join((SOI, *(s.to_bytes() for s in (*header, *self.coded)), EOI))


_JFIF = Segment(APP0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")  # no density, no thumbnail


def _adobe(transform: int) -> Segment:
    return Segment(APP14, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def parse_jpeg(data: bytes) -> JpegStream:
    """Parse a JPEG file without decoding it.

    Raises:
        WithheldError: ``truncated``, ``corrupt``, ``unsupported`` or ``bomb``.
    """
    coded: list[Segment] = []
    application: list[Segment] = []
    frames: list[FrameHeader] = []
    scans, end = 0, 2
    for segment, at in _segments(data):
        end = at
        if 0xE0 <= segment.marker <= 0xEF or segment.marker == 0xFE:
            if not scans:  # color markers after the first scan are ignored
                application.append(segment)
        elif segment.marker != EOI[1]:
            if segment.marker in _SUPPORTED_FRAMES:
                frames.append(_parse_frame(segment))
            scans += segment.marker == SOS
            _check(segment, frames)
            coded.append(segment)
    if len(frames) != 1 or not scans:
        raise WithheldError("corrupt", "the JPEG has no image data")
    if scans > _MAX_SCANS:
        raise WithheldError("bomb", f"the JPEG has more than {_MAX_SCANS} scans")
    if scans * frames[0].width * frames[0].height > _MAX_SCANNED_PIXELS:
        raise WithheldError("bomb", f"the JPEG decodes its pixels in {scans} scans")
    _check_scans(coded, frames[0])
    needed = drop_unused_tables(coded, frames[0])
    return JpegStream(frames[0], needed, tuple(application), data[end:])


def _segments(data: bytes) -> Iterator[tuple[Segment, int]]:
    """Yield every segment after SOI up to EOI, with the offset of its end."""
    at = 2
    while True:
        marker, at = _next_marker(data, at)
        if marker == EOI[1]:
            yield Segment(marker, b""), at
            return
        size = int.from_bytes(data[at : at + 2], "big")
        payload, at = data[at + 2 : at + size], at + size
        if size < 2:
            raise WithheldError("corrupt", "a JPEG segment has an impossible length")
        if at > len(data):
            raise WithheldError("truncated", "the JPEG ends inside a segment")
        if marker != SOS:
            yield Segment(marker, payload), at
            continue
        end = _end_of_scan(data, at)
        yield Segment(marker, payload, data[at : _end_of_codes(data, at, end)]), end
        at = end


def _end_of_scan(data: bytes, at: int) -> int:
    """Offset of the next marker that is neither a stuffed byte nor a restart marker."""
    while found := _MAY_END_SCAN.search(data, at):
        at = found.start()
        while data[at : at + 1] == b"\xff":  # any number of fill bytes may come first
            at += 1
        if at < len(data) and data[at] != 0 and not 0xD0 <= data[at] <= 0xD7:
            return found.start()
    raise WithheldError("truncated", "the JPEG ends inside its image data")


def _end_of_codes(data: bytes, at: int, end: int) -> int:
    """Offset behind the codes of a scan: decoders skip any restart markers after the last one."""
    while end - at >= 2:
        if data[end - 1] == 0xFF:
            end -= 1
        elif data[end - 2] == 0xFF and 0xD0 <= data[end - 1] <= 0xD7:
            end -= 2
        else:
            break
    return end


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    if at < len(data) and data[at] != 0xFF:
        raise WithheldError("corrupt", "there are stray bytes between JPEG segments")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at + 1 > len(data):
        raise WithheldError("truncated", "the JPEG has no end marker")
    marker = data[at]
    if marker in (0x00, 0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
        raise WithheldError("corrupt", "a JPEG marker stands where none may")
    return marker, at + 1


def _parse_frame(segment: Segment) -> FrameHeader:
    payload = segment.payload
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
        raise WithheldError("corrupt", "the JPEG frame header is damaged")
    precision, height, width, count = struct.unpack_from(">BHHB", payload)
    if precision != 8:
        raise WithheldError("unsupported", f"JPEG with {precision} bits per sample")
    if not width or not height:
        raise WithheldError("unsupported", "JPEG without its size in the header")
    if count not in (1, 3, 4):
        raise WithheldError("unsupported", f"JPEG with {count} components")
    components = tuple(
        Component(payload[i], payload[i + 1] >> 4, payload[i + 1] & 15, payload[i + 2])
        for i in range(6, len(payload), 3)
    )
    if not all(1 <= c.h <= 4 and 1 <= c.v <= 4 and c.table <= 3 for c in components):
        raise WithheldError("corrupt", "the JPEG frame header is damaged")
    return FrameHeader(segment.marker, width, height, components)


def _check(segment: Segment, frames: list[FrameHeader]) -> None:
    """Check that a segment belongs to one image and that its payload has its exact size."""
    marker, payload = segment.marker, segment.payload
    if marker in _OTHER_FRAMES:
        raise WithheldError("unsupported", f"lossless or hierarchical JPEG (0x{marker:02X})")
    if marker in _JPEG_LS:
        raise WithheldError("unsupported", "JPEG-LS files are not supported; convert them to PNG")
    if marker == DQT:
        sound = _fills(payload, lambda at: 65 + 64 * (payload[at] >> 4))
    elif marker == DHT:
        sound = _fills(payload, lambda at: 17 + sum(payload[at + 1 : at + 17]))
    elif marker == DRI:
        sound = len(payload) == 2
    elif marker == DAC:
        sound = len(payload) % 2 == 0
    elif marker == SOS:
        sound = bool(frames and payload) and len(payload) == 4 + 2 * payload[0]
    else:
        sound = marker in _SUPPORTED_FRAMES and len(frames) == 1
    if not sound:
        raise WithheldError("corrupt", f"the JPEG segment 0x{marker:02X} is damaged")


def _check_scans(coded: Sequence[Segment], frame: FrameHeader) -> None:
    """Check that no scan replaces what another scan holds: decoders show the last only.

    A component has one sequential scan. In progressive files each coefficient has one first
    scan; every further one adds the next lower bit (T.81, G.1.1.1).
    """
    ids = {component.id for component in frame.components}
    lowest: dict[tuple[int, int], int] = {}  # bit position, by component and coefficient
    valid, once = len(ids) == len(frame.components), True
    for segment in (each for each in coded if each.marker == SOS):
        count = segment.payload[0]
        scanned = segment.payload[1 : 1 + 2 * count : 2]
        start, stop, approximation = segment.payload[1 + 2 * count :]
        high, low = approximation >> 4, approximation & 15
        if not frame.progressive:
            start, stop, high, low = 0, 63, 0, 0
        once = once and len(set(scanned)) == count
        valid = valid and ids.issuperset(scanned)
        valid = valid and start <= stop <= 63 and (not high or low == high - 1)
        for key in ((id_, number) for id_ in scanned for number in range(start, stop + 1)):
            once = once and lowest.get(key) == (high or None)
            lowest[key] = low
    if not valid:
        raise WithheldError("corrupt", "the scans of the JPEG are not valid")
    if not once:
        raise WithheldError("corrupt", "a JPEG component is scanned more than once")


def drop_unused_tables(coded: Sequence[Segment], frame: FrameHeader) -> tuple[Segment, ...]:
    """Return the segments without quantization, Huffman and arithmetic tables that no scan uses.

    A definition is used by the scans between it and the next definition of the same
    table; a component takes its quantization table at its first scan (T.81, B.2.4.1).

    Raises:
        WithheldError: ``corrupt`` if a Huffman table that is used has a symbol twice.
    """
    entropy = DAC if frame.marker in _ARITHMETIC else DHT
    current: dict[tuple[int, int], tuple[int, int]] = {}  # table to segment and number
    used: set[tuple[int, int]] = set()
    started: set[int] = set()
    for at, segment in enumerate(coded):
        if segment.marker in (DQT, entropy):
            for number, (name, _) in enumerate(tables_of(segment)):
                current[segment.marker, name] = (at, number)
        elif segment.marker == SOS:
            for key in _tables_of_scan(segment, frame, entropy, started):
                used.update({current[key]} if key in current else ())
    kept: list[Segment] = []
    for at, segment in enumerate(coded):
        if segment.marker in (DQT, DHT, DAC):
            tables = [t for n, (_, t) in enumerate(tables_of(segment)) if (at, n) in used]
            if any(segment.marker == DHT and len(set(t[17:])) < len(t[17:]) for t in tables):
                raise WithheldError("corrupt", "a JPEG Huffman table has a symbol twice")
            segment = replace(segment, payload=b"".join(tables))
            if not tables:
                continue
        kept.append(segment)
    return tuple(kept)


def tables_of(segment: Segment) -> list[tuple[int, bytes]]:
    """Return destination (class and number) and bytes of every table of a segment."""
    tables: list[tuple[int, bytes]] = []
    payload, at = segment.payload, 0
    while at < len(payload):
        size = 2
        if segment.marker == DQT:
            size = 65 + 64 * (payload[at] >> 4)
        elif segment.marker == DHT:
            size = 17 + sum(payload[at + 1 : at + 17])
        name = payload[at] & 15 if segment.marker == DQT else payload[at]
        tables.append((name, payload[at : at + size]))
        at += size
    return tables


def _tables_of_scan(
    scan: Segment, frame: FrameHeader, entropy: int, started: set[int]
) -> Iterator[tuple[int, int]]:
    """Marker and destination of the tables that a scan uses (T.81, B.2.3, and G.1.1)."""
    count = scan.payload[0]
    start, _, approximation = scan.payload[1 + 2 * count :]
    tables = {component.id: component.table for component in frame.components}
    for id_, selected in zip(
        scan.payload[1 : 1 + 2 * count : 2], scan.payload[2 : 2 + 2 * count : 2], strict=True
    ):
        if id_ not in started and id_ in tables:
            started.add(id_)
            yield DQT, tables[id_]
        is_dc = start == 0 and not (frame.progressive and approximation >> 4)
        if is_dc or not frame.progressive:
            yield entropy, selected >> 4
        if start or not frame.progressive:
            yield entropy, 16 + (selected & 15)


def _fills(payload: bytes, size_at: Callable[[int], int]) -> bool:
    """Whether a payload consists of whole tables."""
    at = 0
    while at < len(payload):
        at += size_at(at)
    return at == len(payload)
