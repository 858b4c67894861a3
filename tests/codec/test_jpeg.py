from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.jpeg.clipping import may_exceed_range
from curate.codec.jpeg.codec import _with_source_headers
from curate.codec.jpeg.coefficients import (
    quantization_tables,
    read_coefficients,
    write_coefficients,
)
from curate.codec.jpeg.segments import DQT, parse_jpeg
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from tests.codec import samples


def with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    extra = [struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in segments]
    return data[:2] + b"".join(extra) + data[2:]


def exif_block(orientation: int) -> bytes:
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(
        ">HHI", orientation, 0, 0
    )


@pytest.mark.parametrize("kind", ["jpeg-420", "jpeg-progressive", "jpeg-arithmetic"])
def test_an_unchanged_jpeg_keeps_its_coded_bytes(kind: str) -> None:
    data = samples.SAMPLES[kind]()
    written = codec.save(codec.load(data), None, [])
    assert written.route is Route.COPIED
    before, after = (
        [segment for segment in parse_jpeg(each).coded if segment.marker != DQT]
        for each in (data, written.data)
    )
    assert after == before


def test_pixels_equal_pillows() -> None:
    for kind in ("jpeg-422", "jpeg-gray", "jpeg-cmyk", "jpeg-rgb"):
        data = samples.SAMPLES[kind]()
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(codec.load(data).frames[0], np.array(image), kind)


def test_orientation_is_kept_and_applied_only_for_the_detector() -> None:
    data = samples.jpeg(90, 70)
    turned = codec.load(with_segments(data, (0xE1, exif_block(6))))
    assert turned.orientation == 6
    np.testing.assert_array_equal(turned.frames[0], codec.load(data).frames[0])
    written = codec.save(turned, None, []).data
    assert Image.open(io.BytesIO(written)).getexif() == {0x0112: 6}


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(value: int) -> None:
    picture = codec.load(with_segments(samples.jpeg(), (0xE1, exif_block(value))))
    assert picture.orientation == 1
    assert b"Exif" not in codec.save(picture, None, []).data


def test_an_orientation_in_xmp_moves_to_exif() -> None:
    packet = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="8" secret="yes"/>'
    picture = codec.load(with_segments(samples.jpeg(), (0xE1, packet)))
    written = codec.save(picture, None, []).data
    assert picture.orientation == codec.load(written).orientation == 8
    assert b"secret" not in written


def test_colors_of_cmyk_survive_both_routes() -> None:
    data = samples.cmyk_jpeg()
    picture = codec.load(data)
    assert picture.mode == "CMYK"
    frames, touched = samples.changed(picture)
    copied = codec.save(picture, None, []).data
    reencoded = codec.save(picture, frames, touched)
    assert reencoded.route is Route.REENCODED
    assert "CMYK" in (reencoded.note or "")
    source = np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    for written, tolerance in ((copied, 0), (reencoded.data, 6)):
        shown = np.array(Image.open(io.BytesIO(written)).convert("RGB")).astype(int)
        difference = np.abs(shown - source)
        difference[touched[0][0].slices] = 0
        assert difference.mean() <= tolerance


def test_a_reencoded_jpeg_keeps_its_quantization_tables() -> None:
    picture = codec.load(samples.cmyk_jpeg())
    written = codec.save(picture, *samples.changed(picture)).data
    before = Image.open(io.BytesIO(samples.cmyk_jpeg())).quantization
    after = Image.open(io.BytesIO(written)).quantization
    assert before[0] == after[0]


@pytest.mark.parametrize("kind", ["jpeg-rgb", "jpeg-progressive", "jpeg-arithmetic", "jpeg-411"])
def test_supported_sampling_is_spliced(kind: str) -> None:
    picture = codec.load(samples.SAMPLES[kind]())
    assert codec.save(picture, *samples.changed(picture)).route is Route.SPLICED


def test_of_color_markers_that_disagree_only_the_first_is_written() -> None:
    adobe = (0xEE, b"Adobe\0\x64\0\0\0\0\0")  # by which the components are R, G and B
    source = with_segments(samples.jpeg(), adobe)
    picture = codec.load(source)
    assert np.array_equal(picture.frames[0], codec.load(samples.jpeg()).frames[0])
    written = codec.save(picture, None, []).data
    assert b"JFIF" in written
    assert b"Adobe" not in written
    assert codec.find_leaks(source)


def test_component_ids_and_color_markers_are_kept() -> None:
    source = samples.rgb_jpeg()
    picture = codec.load(source)
    written = parse_jpeg(codec.save(picture, *samples.changed(picture)).data)
    before = parse_jpeg(source)
    assert written.frame.components == before.frame.components
    assert written.adobe_transform == before.adobe_transform
    assert written.jfif == before.jfif


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda data: data.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "unsupported"),
        (lambda data: data.replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11"), "unsupported"),
        (lambda data: data[:-2] + b"\0\0\0" + data[-2:], "corrupt"),
        (lambda data: data[:-2], "truncated"),
        (lambda data: data[:20] + b"\0\0" + data[20:], "corrupt"),
        (lambda data: data[: data.index(b"\xff\xda")] + b"\xff\xd9", "corrupt"),
        (lambda data: data[: len(data) - 200] + b"\xff\xd9", "truncated"),
    ],
)
def test_damaged_streams_are_withheld(damage: object, code: str) -> None:
    assert callable(damage)
    broken = damage(samples.jpeg(300, 200))
    with pytest.raises(WithheldError) as caught:
        codec.load(broken)
    assert caught.value.code == code


def test_decoder_warnings_withhold(capfd: pytest.CaptureFixture[str]) -> None:
    """Bits are flipped in the coded data; OpenCV prints what libjpeg warns about."""
    import cv2

    data = samples.jpeg(200, 150)
    start = data.index(b"\xff\xda") + 14
    rng = np.random.default_rng(3)
    warned = 0
    for _ in range(120):
        flipped = bytearray(data)
        flipped[rng.integers(start, len(data) - 2)] ^= 1 << rng.integers(8)
        cv2.imdecode(np.frombuffer(bytes(flipped), np.uint8), cv2.IMREAD_COLOR)
        if "Corrupt JPEG" in capfd.readouterr().err:
            warned += 1
            with pytest.raises(WithheldError):
                codec.load(bytes(flipped))
    assert warned > 5


def test_a_scan_bomb_is_withheld() -> None:
    stream = parse_jpeg(samples.gray_jpeg(16, 16))
    scan = next(segment for segment in stream.coded if segment.marker == 0xDA).to_bytes()
    data = stream.to_bytes()
    with pytest.raises(WithheldError, match="scans"):
        codec.load(data[:-2] + scan * 300 + data[-2:])


def mpo(kind: int, second: bytes) -> bytes:
    """A file of two images, the second of a kind (CIPA DC-007, 5.2.3.3)."""
    first = samples.jpeg()
    head = struct.pack(">2sHIH", b"MM", 42, 8, 3)
    head += struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    head += struct.pack(">HHII", 0xB002, 7, 32, 8 + 2 + 36 + 4) + struct.pack(">I", 0)
    size = 4 + len(head) + 32
    whole = len(first) + 4 + size
    offset = whole - (2 + 4 + 4)  # from the byte-order mark behind SOI, marker, length and MPF
    entries = struct.pack(">IIIHH", 0x030000, whole, 0, 0, 0)
    entries += struct.pack(">IIIHH", kind, len(second), offset, 0, 0)
    return with_segments(first, (0xE2, b"MPF\0" + head + entries)) + second


@pytest.mark.parametrize("kind", [0x020001, 0x020002, 0x020003, 0x000000])
def test_further_images_withhold_the_file(kind: int) -> None:
    data = mpo(kind, samples.jpeg(64, 64))
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 2
    with pytest.raises(WithheldError) as caught:
        codec.load(data)
    assert caught.value.code == "frames"


def test_previews_and_gain_maps_are_dropped_and_noted() -> None:
    small = samples.jpeg(40, 30)
    gain_map = with_segments(small, (0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + b"\0" * 8))
    for kind, second, word in ((0x010002, small, "preview"), (0, gain_map, "gain map")):
        picture = codec.load(mpo(kind, second))
        written = codec.save(picture, None, [])
        assert word in (written.note or "")
        assert written.data.count(b"\xff\xd8\xff") == 1
        assert codec.find_leaks(written.data) == []


def test_a_damaged_index_before_further_images_withholds_the_file() -> None:
    data = mpo(0x020002, samples.jpeg(40, 30))
    with pytest.raises(WithheldError, match="frames"):
        codec.load(data.replace(b"MPF\0MM", b"MPF\0XX"))
    with pytest.raises(WithheldError, match="frames"):
        codec.load(data.replace(samples.jpeg(40, 30), b"pushed along " + samples.jpeg(40, 30)))


@pytest.mark.parametrize(
    "segment",
    [
        (0xFE, b"a comment"),
        (0xE0, b"JFXX\0\x10thumbnail"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        (0xE2, b"MPF\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        (0xED, b"Photoshop 3.0\0"),
        (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x04Cam\0\0\0\0\0"),
        (0xE2, b"ICC_PROFILE\0\x01\x01not a profile"),
        (0xEB, b"anything"),
    ],
)
def test_every_foreign_segment_is_a_leak(segment: tuple[int, bytes]) -> None:
    clean = codec.save(codec.load(samples.jpeg()), None, []).data
    assert codec.find_leaks(clean) == []
    assert codec.find_leaks(with_segments(clean, segment)) != []


def test_bytes_between_segments_are_a_leak() -> None:
    clean = codec.save(codec.load(samples.jpeg()), None, []).data
    assert codec.find_leaks(clean[:2] + b"\xff" * 8 + clean[2:]) != []


def test_an_incomplete_progressive_file_is_not_spliced() -> None:
    """A decoder smooths what the missing scans would have refined."""
    stream = parse_jpeg(samples.jpeg(120, 90, progressive=1))
    scans = [index for index, s in enumerate(stream.coded) if s.marker == 0xDA]
    cut = stream.coded[: scans[len(scans) // 2]]
    data = b"\xff\xd8" + b"".join(segment.to_bytes() for segment in cut) + b"\xff\xd9"
    picture = codec.load(data)
    frame = picture.frames[0].copy()
    frame[8:40, 8:40] = 77
    written = codec.save(picture, [frame], [[Box(8, 8, 40, 40)]])
    assert written.route is Route.REENCODED
    assert np.abs(codec.load(written.data).frames[0].astype(int) - frame).mean() < 6


def test_an_ambiguous_stream_is_not_spliced(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """libjpeg's fast path takes an unassigned code for an empty block without a word."""
    routes = set()
    data = samples.jpeg(400, 300, quality=40)
    start = data.index(b"\xff\xda") + 14
    rng = np.random.default_rng(8)
    for _ in range(150):
        damaged = bytearray(data)
        at = rng.integers(start, len(data) - 4)
        damaged[at : at + 2] = b"\xfe\xfe"
        try:
            picture = codec.load(bytes(damaged))
        except WithheldError:
            continue
        frame = picture.frames[0].copy()
        frame[100:140, 100:140] = 128
        written = codec.save(picture, [frame], [[Box(100, 100, 140, 140)]])
        routes.add(written.route)
        if written.route is Route.SPLICED:
            shown = codec.load(written.data).frames[0]
            difference = (shown != picture.frames[0]).any(axis=2)
            difference[94:162, 94:162] = False
            assert not difference.any()
    assert Route.SPLICED in routes
    assert capfd.readouterr() == ("", "")


def test_out_of_range_coefficients_are_reencoded() -> None:
    picture = codec.load(samples.gray_jpeg(64, 64))
    stream = picture.stored
    table = next(s for s in stream.coded if s.marker == 0xDB)
    scan = stream.to_bytes()
    assert table.payload[1] > 0
    # a DC difference of eleven bits in every block runs past ten bits at once
    huffman = b"\xff\xc4\x00\x14\x00" + b"\x01" + b"\0" * 15 + b"\x0b"
    huffman += b"\xff\xc4\x00\x14\x10" + b"\x01" + b"\0" * 15 + b"\x00"
    head = scan[: scan.index(b"\xff\xc4")]
    bits = "".join("0" + "10000000001" + "0" for _ in range(8)) + "".join(
        "0" + "01111111110" + "0" for _ in range(56)
    )
    bits += "1" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    data = head + huffman + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + packed + b"\xff\xd9"
    strange = codec.load(data)
    frame = strange.frames[0].copy()
    frame[10:20, 10:20] = 99
    written = codec.save(strange, [frame], [[Box(10, 10, 20, 20)]])
    assert written.route is Route.REENCODED


def test_the_color_marker_is_kept() -> None:
    """Components called R, G and B are YCbCr where a JFIF marker says so."""
    data = samples.jpeg(subsampling="444")
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    renamed = bytearray(data)
    for index, name in enumerate(b"RGB"):
        renamed[frame + 10 + 3 * index] = renamed[scan + 5 + 2 * index] = name
    picture = codec.load(bytes(renamed))
    np.testing.assert_array_equal(picture.frames[0], codec.load(data).frames[0])
    for written in (
        codec.save(picture, None, []).data,
        codec.save(picture, picture.frames, [[Box(0, 0, 8, 8)]]).data,
    ):
        shown = np.array(Image.open(io.BytesIO(written)))
        assert np.abs(shown.astype(int) - picture.frames[0])[8:, 8:].max() == 0
        assert written.count(b"JFIF") == 1


def test_many_scans_of_a_large_image_are_a_bomb() -> None:
    data = samples.jpeg(progressive=1)
    at = data.rindex(b"\xff\xda")
    frame = data.index(b"\xff\xc2") + 5
    large = data[:frame] + struct.pack(">HH", 9000, 9000) + data[frame + 4 : at]
    with pytest.raises(WithheldError, match="bomb"):
        codec.load(large + data[at:-2] * 60 + data[-2:])


CANARY = b"CANARY: a payload of 64 bytes that no decoder has a use for ...."
UNUSED_TABLES = {
    "quantization table of another slot": (0xDB, b"\x03" + CANARY),
    "wide quantization table": (0xDB, b"\x13" + CANARY * 2),
    "quantization table that is defined again": (0xDB, b"\x00" + CANARY),
    "DC table of another slot": (0xC4, b"\x03" + b"\0" * 6 + b"\x40" + b"\0" * 9 + CANARY),
    "AC table of another slot": (0xC4, b"\x13" + b"\0" * 6 + b"\x40" + b"\0" * 9 + CANARY),
    "Huffman table that is defined again": (0xC4, b"\0" * 7 + b"\x40" + b"\0" * 9 + CANARY),
    "arithmetic conditioning": (0xCC, CANARY),
}


@pytest.mark.parametrize("kind", ["jpeg-420", "jpeg-progressive"])
@pytest.mark.parametrize("table", sorted(UNUSED_TABLES))
def test_unused_tables_are_dropped_and_reported(kind: str, table: str) -> None:
    data = samples.SAMPLES[kind]()
    clean = codec.save(codec.load(data), None, []).data
    dirty = with_segments(data, UNUSED_TABLES[table])
    assert codec.find_leaks(with_segments(clean, UNUSED_TABLES[table]))
    picture = codec.load(dirty)
    assert codec.save(picture, None, []).data == clean
    frames, touched = samples.changed(picture)
    assert CANARY[:16] not in codec.save(picture, frames, touched).data


@pytest.mark.parametrize("name", ["Huffman", "quantization"])
def test_unused_tables_between_scans_are_dropped(name: str) -> None:
    data = samples.jpeg(progressive=1)
    clean = codec.save(codec.load(data), None, []).data
    payload = UNUSED_TABLES["AC table of another slot"]
    if name == "quantization":
        payload = UNUSED_TABLES["quantization table that is defined again"]
    segment = struct.pack(">BBH", 0xFF, payload[0], len(payload[1]) + 2) + payload[1]
    at = data.rindex(b"\xff\xda")
    assert codec.save(codec.load(data[:at] + segment + data[at:]), None, []).data == clean


def test_a_huffman_table_with_a_symbol_twice_is_withheld() -> None:
    data = samples.SAMPLES["jpeg-420"]()
    at = data.index(b"\xff\xc4") + 4 + 17
    with pytest.raises(WithheldError):
        codec.load(data[:at] + data[at + 1 : at + 2] + data[at + 1 :])


def with_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header states another size; its blocks are unchanged."""
    at = next(data.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize(("width", "height"), [(83, 64), (96, 53), (82, 50), (87, 63)])
def test_pixels_beyond_a_smaller_size_do_not_survive(
    width: int, height: int, subsampling: str
) -> None:
    flags, across, down = {"420": (2, 16, 16), "422": (1, 16, 8), "444": (0, 8, 8)}[subsampling]
    whole = -(-height // down) * down, -(-width // across) * across, 3
    noise = np.random.default_rng(3).integers(0, 256, whole, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=90, subsampling=flags)
    data = with_size(buffer.getvalue(), width, height)
    picture = codec.load(data)
    frames, touched = samples.changed(picture)
    assert any("beyond the edges" in leak for leak in codec.find_leaks(data))
    for written in (codec.save(picture, None, []), codec.save(picture, frames, touched)):
        assert codec.find_leaks(written.data) == []
        assert written.route is Route.REENCODED
    kept = codec.load(codec.save(picture, None, []).data).frames[0]
    inner = slice(0, height // 16 * 16 - 1), slice(0, width // 16 * 16 - 1)
    assert np.array_equal(kept[inner], picture.frames[0][inner])


@pytest.mark.parametrize("kind", [name for name in samples.SAMPLES if name.startswith("jpeg")])
def test_blocks_that_encoders_fill_are_copied(kind: str) -> None:
    written = codec.save(codec.load(samples.SAMPLES[kind]()), None, [])
    assert written.route is (Route.LOSSLESS if kind == "jpeg-restart" else Route.COPIED)


def with_scans(*planes: np.ndarray[tuple[int, int], np.dtype[np.uint8]], ids: bytes) -> bytes:
    """A sequential JPEG of three components, with one scan for each plane."""
    parts = [parse_jpeg(samples.encoded(Image.fromarray(p), "JPEG", quality=90)) for p in planes]
    height, width = planes[0].shape
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    coded = [s.to_bytes() for s in parts[0].coded if s.marker in (0xDB, 0xC4)]
    coded.append(struct.pack(">BBH", 0xFF, 0xC0, len(frame) + 2) + frame)
    for part, id_ in zip(parts, ids, strict=True):
        scan = next(s for s in part.coded if s.marker == 0xDA)
        coded.append(b"\xff\xda\0\x08\x01" + bytes([id_]) + scan.payload[2:] + scan.scan)
    return b"\xff\xd8" + b"".join(coded) + b"\xff\xd9"


@pytest.mark.parametrize("ids", [b"\1\1\2\3", b"\1\2\3\1", b"\1\2\1\3", b"\1\2\2\3", b"\1\2\3\3"])
def test_a_component_that_is_scanned_twice_withholds(ids: bytes) -> None:
    planes = [samples.photo(channels=0, seed=seed) for seed in range(len(ids))]
    assert codec.load(with_scans(*planes[:3], ids=b"\1\2\3")).format == "JPEG"
    with pytest.raises(WithheldError, match="more than once"):
        codec.load(with_scans(*planes, ids=ids))


@pytest.mark.parametrize("kind", ["jpeg-gray", "jpeg-420", "jpeg-progressive", "jpeg-arithmetic"])
def test_repeated_scans_withhold(kind: str) -> None:
    stream = parse_jpeg(samples.SAMPLES[kind]())
    numbers = [number for number, s in enumerate(stream.coded) if s.marker == 0xDA]
    for first in numbers:
        for at in (first, len(stream.coded)):
            coded = (*stream.coded[:at], stream.coded[first], *stream.coded[at:])
            data = b"\xff\xd8" + b"".join(s.to_bytes() for s in coded) + b"\xff\xd9"
            with pytest.raises(WithheldError, match="corrupt"):
                codec.load(data)
            assert codec.find_leaks(data)


def raised(data: bytes, levels: int, rows: slice, *planes: int) -> bytes:
    """A JPEG whose blocks, in some rows of blocks, are brighter by ``levels``."""
    stream = parse_jpeg(data)
    tables = quantization_tables(stream)
    coefficients = read_coefficients(data, stream.frame)
    for plane in planes:
        shifted = coefficients[plane][rows, :, 0] + round(8 * levels / tables[plane][0])
        coefficients[plane][rows, :, 0] = np.clip(shifted, -1000, 1000)
    written = parse_jpeg(write_coefficients(coefficients, stream.frame))
    return replace(stream, coded=_with_source_headers(stream, written)).to_bytes()


@pytest.mark.parametrize("levels", [330, -330])
@pytest.mark.parametrize("rows", [slice(None), slice(2, 5)])
@pytest.mark.parametrize("kind", ["jpeg-gray", "jpeg-420", "jpeg-444", "jpeg-rgb"])
def test_a_photo_behind_clipped_pixels_does_not_survive(
    kind: str, rows: slice, levels: int
) -> None:
    planes = (0, 1, 2) if kind == "jpeg-rgb" else (0,)
    data = raised(samples.SAMPLES[kind](), levels, rows, *planes)
    picture = codec.load(data)
    assert any("coefficients" in leak for leak in codec.find_leaks(data))
    for written in (
        codec.save(picture, None, []),
        codec.save(picture, *samples.changed(picture)),
    ):
        assert written.route is Route.REENCODED
        assert "coefficients" in (written.note or "")
        assert codec.find_leaks(written.data) == []
        lowered = parse_jpeg(raised(written.data, -levels, rows, *planes))
        shown = codec.load(lowered.to_bytes()).frames[0]
        source = codec.load(samples.SAMPLES[kind]()).frames[0]
        assert np.abs(shown[20:32, 48:80].astype(int) - source[20:32, 48:80]).mean() > 15


@pytest.mark.parametrize(("side", "blocks"), [(16, 4), (16, 1), (13, 1), (64, 1), (64, 64)])
@pytest.mark.parametrize("contrast", [0, 20, 45])
@pytest.mark.parametrize("mean", [275, 300, -25])
def test_few_and_textured_blocks_beyond_the_range_do_not_survive(
    side: int, blocks: int, contrast: int, mean: int
) -> None:
    plain = np.full((side, side), 128, np.uint8)
    data = samples.encoded(Image.fromarray(plain), "JPEG", quality=95)
    stream = parse_jpeg(data)
    table = quantization_tables(stream)[0]
    (plane,) = read_coefficients(data, stream.frame)
    flat = plane.reshape(-1, 64)
    flat[-blocks:, 0] = round(8 * (mean - 128) / table[0])
    flat[-blocks:, 1] = round(8 * contrast / table[1])
    written = parse_jpeg(write_coefficients([plane], stream.frame))
    data = replace(stream, coded=_with_source_headers(stream, written)).to_bytes()
    assert any("coefficients" in leak for leak in codec.find_leaks(data))
    kept = codec.save(codec.load(data), None, [])
    assert kept.route is Route.REENCODED
    assert codec.find_leaks(kept.data) == []


def test_a_photo_behind_one_clipped_channel_does_not_survive() -> None:
    red = np.full((64, 64, 3), (200, 120, 120), np.uint8)
    red[..., 0] = 160 + samples.photo(64, 64, 0) // 3
    data = samples.encoded(Image.fromarray(red), "JPEG", quality=95, subsampling=0)
    # brighter red by 100 levels, in Y and Cr; the others are as they were
    bright = raised(raised(data, 30, slice(None), 0), 50, slice(None), 2)
    bright = raised(bright, -17, slice(None), 1)
    picture = codec.load(bright)
    assert picture.frames[0][..., 0].min() > 250
    assert codec.save(picture, None, []).route is Route.REENCODED


@pytest.mark.parametrize("color", [0, 255, (255, 0, 0), (0, 255, 255)])
@pytest.mark.parametrize("quality", [5, 30, 75, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_photos_with_clipped_areas_are_copied(
    color: object, quality: int, subsampling: int
) -> None:
    pixels = samples.photo(120, 90)
    pixels[20:60, 30:80] = color
    options = {"quality": quality, "subsampling": subsampling}
    data = samples.encoded(Image.fromarray(pixels), "JPEG", **options)
    written = codec.save(codec.load(data), None, [])
    assert written.route is Route.COPIED
    assert codec.find_leaks(written.data) == []


@pytest.mark.parametrize("rows", [slice(8, 40), slice(8, 16), slice(40, 45)])
def test_cmyk_with_clipped_areas_is_reencoded(rows: slice) -> None:
    pixels = 20 + samples.photo(61, 45, 4) // 2
    assert not may_exceed_range(pixels)
    pixels[rows, 8:16] = 0
    picture = codec.load(samples.encoded(Image.fromarray(pixels, "CMYK"), "JPEG", quality=95))
    written = codec.save(picture, None, [])
    assert written.route is Route.REENCODED
    assert np.abs(codec.load(written.data).frames[0].astype(int) - pixels).mean() < 6


@pytest.mark.parametrize(
    ("kind", "at", "value"),
    [("jpeg-420", 1, 9), ("jpeg-progressive", -3, 9), ("jpeg-progressive", -2, 64)],
)
def test_scans_that_are_not_valid_withhold(kind: str, at: int, value: int) -> None:
    stream = parse_jpeg(samples.SAMPLES[kind]())
    number = next(number for number, s in enumerate(stream.coded) if s.marker == 0xDA)
    scan = stream.coded[number]
    payload = bytearray(scan.payload)
    payload[at] = value
    coded = [*stream.coded]
    coded[number] = replace(scan, payload=bytes(payload))
    data = b"\xff\xd8" + b"".join(s.to_bytes() for s in coded) + b"\xff\xd9"
    with pytest.raises(WithheldError, match="corrupt: the scans of the JPEG are not valid"):
        codec.load(data)
