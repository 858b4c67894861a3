"""What a JPEG holds beside its coefficients: none of it comes out, and verify reports it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.jpeg.coefficients import read_coefficients, zigzag
from curate.codec.jpeg.segments import DHT, DQT, DRI, JpegStream, Segment, parse_jpeg, tables_of
from curate.core.entries import Route
from tests.codec import samples

TEXT = b"CANARY Jane Doe, 12 Baker St, ID 12345 " * 9


def with_text_in_steps(data: bytes) -> tuple[bytes, int]:
    """A JPEG with a text in the steps that no coefficient uses, and how many these are."""
    stream = parse_jpeg(data)
    planes = read_coefficients(stream.to_bytes(), stream.frame)
    text, free = iter(TEXT), 0
    coded = []
    for segment in stream.coded:
        if segment.marker == DQT:
            payload = b""
            for name, table in tables_of(segment):
                changed = bytearray(table)
                used = np.zeros(64, np.bool_)
                for component, plane in zip(stream.frame.components, planes, strict=True):
                    if component.table == name:
                        used |= (plane != 0).any(axis=(0, 1))[zigzag()]
                used[0] = True
                for at in np.flatnonzero(~used):
                    changed[1 + at] = next(text)
                    free += 1
                payload += bytes(changed)
            segment = replace(segment, payload=payload)
        coded.append(segment)
    return replace(stream, coded=tuple(coded)).to_bytes(), free


LOW = {
    "420": lambda: samples.jpeg(quality=25),
    "444": lambda: samples.jpeg(subsampling="444", quality=30),
    "gray": lambda: samples.gray_jpeg(quality=20),
    "progressive": lambda: samples.jpeg(progressive=1, quality=25),
    "restart": lambda: samples.jpeg(restart=2, quality=25),
    "cmyk": samples.cmyk_jpeg,
}


@pytest.mark.parametrize("kind", LOW)
def test_steps_that_no_coefficient_uses_hold_nothing(kind: str) -> None:
    plain = LOW[kind]()
    if kind == "cmyk":
        image = Image.new("CMYK", (40, 30), (200, 30, 90, 10))
        plain = samples.encoded(image, "JPEG", quality=90)
    data, free = with_text_in_steps(plain)
    assert free > 5
    assert codec.find_leaks(data)
    picture = codec.load(data)
    copied = codec.save(picture, None, [])
    assert copied.data == codec.save(codec.load(plain), None, []).data
    assert codec.digest_pixels(codec.load(copied.data)) == codec.digest_pixels(picture)
    for written in (copied, codec.save(picture, *samples.changed(picture))):
        assert codec.find_leaks(written.data) == []
        assert TEXT[:8] not in written.data
        left, still_free = with_text_in_steps(written.data)
        assert (left != written.data) == (still_free > 0)


def test_steps_of_sixteen_bits_are_filled_too() -> None:
    stream = parse_jpeg(samples.gray_jpeg(quality=20))
    wide = []
    for segment in stream.coded:
        if segment.marker == DQT:
            ((_, table),) = tables_of(segment)
            steps = np.frombuffer(table, np.uint8, 64, 1).astype(">u2")
            steps[-1] = 0x4142
            segment = replace(segment, payload=b"\x10" + steps.tobytes())
        elif segment.marker == stream.frame.marker:
            segment = replace(segment, marker=0xC1)
        wide.append(segment)
    picture = codec.load(replace(stream, coded=tuple(wide)).to_bytes())
    written = codec.save(picture, None, []).data
    assert b"AB" not in written
    assert codec.find_leaks(written) == []
    assert codec.digest_pixels(codec.load(written)) == codec.digest_pixels(picture)


def with_segment(stream: JpegStream, segment: Segment) -> JpegStream:
    return replace(stream, coded=(segment, *stream.coded))


def odd_files() -> dict[str, tuple[bytes, bytes]]:
    """Files with free bits, by kind, and the same without."""
    plain = samples.jpeg()
    optimized = samples.encoded(Image.fromarray(samples.photo()), "JPEG", optimize=True)
    stream = parse_jpeg(optimized)
    coded = list(stream.coded)
    at = next(n for n, s in enumerate(coded) if s.marker == DHT and s.payload[0] >> 4 == 1)
    tables = tables_of(coded[at])
    counts = bytearray(tables[0][1][1:17])
    counts[15] += 2  # codes of 16 bits that no scan contains
    longer = tables[0][1][:1] + bytes(counts) + tables[0][1][17:] + b"\x0b\x5c"
    coded[at] = replace(coded[at], payload=longer + b"".join(t for _, t in tables[1:]))
    return {
        "restart markers": (samples.jpeg(restart=2), plain),
        "an interval without restarts": (
            with_segment(stream, Segment(DRI, b"\x4a\x44")).to_bytes(),
            optimized,
        ),
        "symbols of no meaning": (replace(stream, coded=tuple(coded)).to_bytes(), optimized),
    }


@pytest.mark.parametrize("kind", sorted(odd_files()))
def test_files_with_free_bits_are_coded_again(kind: str) -> None:
    data, plain = odd_files()[kind]
    picture = codec.load(data)
    assert codec.digest_pixels(picture) == codec.digest_pixels(codec.load(plain))
    written = codec.save(picture, None, [])
    assert written.route is Route.LOSSLESS
    assert codec.find_leaks(data)
    assert codec.find_leaks(written.data) == []
    again, before = parse_jpeg(written.data), parse_jpeg(data)
    assert DRI not in [segment.marker for segment in again.coded]
    for new, old in zip(
        read_coefficients(again.to_bytes(), again.frame),
        read_coefficients(before.to_bytes(), before.frame),
        strict=True,
    ):
        np.testing.assert_array_equal(new, old)
    assert codec.save(codec.load(written.data), None, []).route is Route.COPIED
