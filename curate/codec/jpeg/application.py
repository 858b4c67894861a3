"""Application segments of a JPEG: EXIF, XMP, ICC profile, multi-picture index (CIPA DC-007)."""

from __future__ import annotations

import math
import struct

from curate.codec.jpeg.segments import APP0, APP1, APP2, APP14, SOI, JpegStream, Segment
from curate.codec.metadata.allow_list import Metadata, exif_leaks
from curate.codec.metadata.exif import Entry, read_directory
from curate.codec.picture import CodecOptions
from curate.core.errors import WithheldError

EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_ICC, _ICC_CHUNK = b"ICC_PROFILE\0", 65519
_MPF = b"MPF\0"
_ENTRIES = 0xB002
_HEAD = 64 << 10  # bytes of a further image that are examined
_PREVIEWS = (0x010001, 0x010002, 0x010003, 0x010004, 0x010005)  # large thumbnails
_GAIN_MAP_SIGNS = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"urn:iso:std:iso:ts:21496:-1",
    b"urn:com:apple:photo:2020:aux:hdrgainmap",
)


def check_further_images(data: bytes, stream: JpegStream) -> str | None:
    """Raise if a file contains further full images; report what is dropped otherwise.

    Previews and gain maps are derived from the first image and are dropped like
    thumbnails. Images of a panorama, a stereo pair or of unknown type are frames, and
    a file with frames is withheld.

    Returns:
        One line that names what was dropped, or None.

    Raises:
        WithheldError: ``frames``.
    """
    payload = next(
        (s.payload for s in stream.application if s.marker == APP2 and s.payload[:4] == _MPF), None
    )
    if payload is None:
        return "left out what stood behind the image" if stream.tail else None
    listed = _entries(payload[len(_MPF) :])
    if listed is None:
        _no_image_in(stream.tail)
        return None
    base = data.find(payload) + len(_MPF)
    left_out: set[str] = set()
    for attribute, size, offset in listed:
        image = data[base + offset : base + offset + min(size, _HEAD)]
        if offset == 0:
            continue  # the first image
        if not image.startswith(SOI):
            _no_image_in(stream.tail)
        elif attribute & 0xFFFFFF in _PREVIEWS:
            left_out.add("a preview")
        elif _is_gain_map(image):
            left_out.add("a gain map")
        else:
            raise WithheldError("frames", f"{len(listed)} images in one JPEG file")
    return f"left out {' and '.join(sorted(left_out))}" if left_out else None


def _no_image_in(tail: bytes) -> None:
    if SOI in tail:
        raise WithheldError("frames", "further images behind a damaged multi-picture index")


def _entries(block: bytes) -> list[tuple[int, int, int]] | None:
    """Attribute, size and offset of every listed image; None if the index is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    directory = read_directory(block, struct.unpack_from(order + "I", block, 4)[0], order)
    table: Entry | None = directory.get(_ENTRIES)
    if table is None or len(table.raw) % 16:
        return None
    return [
        struct.unpack_from(order + "III", table.raw, start)
        for start in range(0, len(table.raw), 16)
    ]


def _is_gain_map(image: bytes) -> bool:
    head = image.lower()
    return any(sign in head for sign in _GAIN_MAP_SIGNS)


def color_segments(stream: JpegStream) -> tuple[Segment, ...]:
    """Return the JFIF and Adobe segments, which define the color space."""
    return tuple(segment for segment in stream.application if segment.marker in (APP0, APP14))


def application_data(stream: JpegStream, prefix: bytes) -> bytes | None:
    """Return what follows ``prefix`` in the first APP1 segment that starts with it."""
    for segment in stream.application:
        if segment.marker == APP1 and segment.payload.startswith(prefix):
            return segment.payload[len(prefix) :]
    return None


def icc_profile(stream: JpegStream) -> bytes | None:
    """Return the profile assembled from its numbered chunks; None if incomplete."""
    chunks = {
        segment.payload[12]: segment.payload
        for segment in stream.application
        if segment.marker == APP2 and segment.payload.startswith(_ICC) and len(segment.payload) > 14
    }
    numbers = range(1, len(chunks) + 1)
    if not chunks or any(number not in chunks for number in numbers):
        return None
    if any(chunk[13] != len(chunks) for chunk in chunks.values()):
        return None
    return b"".join(chunks[number][14:] for number in numbers)


def metadata_segments(metadata: Metadata) -> tuple[Segment, ...]:
    """Return the segments of an output's EXIF block and color profile."""
    segments = [Segment(APP1, EXIF + metadata.exif)] if metadata.exif else []
    if metadata.icc:
        count = math.ceil(len(metadata.icc) / _ICC_CHUNK)
        for index in range(count):
            chunk = metadata.icc[index * _ICC_CHUNK : (index + 1) * _ICC_CHUNK]
            segments.append(Segment(APP2, _ICC + bytes([index + 1, count]) + chunk))
    return tuple(segments)


def segment_leaks(segment: Segment, options: CodecOptions) -> list[str]:
    """List what an application or comment segment of an output contains beyond the allow-list."""
    marker, payload = segment.marker, segment.payload
    if marker == 0xFE:
        return ["a comment"]
    if marker == APP1 and payload.startswith(EXIF):
        return exif_leaks(payload[len(EXIF) :], options.keep_metadata)
    known = (
        (marker == APP0 and payload.startswith(b"JFIF\0") and len(payload) == 14)
        or (marker == APP2 and payload.startswith(_ICC))
        or (marker == APP14 and payload.startswith(b"Adobe") and len(payload) == 12)
    )
    return [] if known else [f"a metadata segment APP{marker - APP0}"]
