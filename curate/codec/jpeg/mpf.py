"""Further images in a JPEG file: the multi-picture format (CIPA DC-007)."""

from __future__ import annotations

import struct

from curate.codec.jpeg.stream import APP2, SOI, JpegStream
from curate.codec.metadata.exif import Entry, read_directory
from curate.core.errors import WithheldError

_MPF = b"MPF\0"
_ENTRIES = 0xB002
_PREVIEWS = (0x010001, 0x010002, 0x010003, 0x010004, 0x010005)  # large thumbnails
_GAIN_MAP_SIGNS = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"urn:iso:std:iso:ts:21496:-1",
    b"urn:com:apple:photo:2020:aux:hdrgainmap",
)


def check_further_images(data: bytes, stream: JpegStream) -> str | None:
    """Refuse a file with further full images; name what is left out otherwise.

    Previews and gain maps are made from the first image, complete without
    them: they are left out like thumbnails. A panorama's, a stereo pair's or
    an unknown image is a frame, and a file of frames is withheld.

    Returns:
        One line saying what was left out, or None.

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
        image = data[base + offset : base + offset + size]
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
    head = image[: 64 << 10].lower()
    return any(sign in head for sign in _GAIN_MAP_SIGNS)
