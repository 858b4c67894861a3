from __future__ import annotations

import io
import struct

import pytest
from PIL import Image, TiffImagePlugin

from curate.codec.metadata.allow_list import KEEPABLE, rebuild_exif
from curate.codec.metadata.exif import (
    Entry,
    Exif,
    orientation_of,
    parse_exif,
    read_directory,
    write_exif,
)

EVERYTHING = frozenset(KEEPABLE)


def pillow_exif(**extra: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010F] = "Maker"
    exif[0x0132] = "2024:05:06 07:08:09"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    exif.get_ifd(0x8769)[0x829A] = TiffImagePlugin.IFDRational(1, 125)
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 0.0)
    return exif.tobytes().removeprefix(b"Exif\0\0")


def read(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


def test_by_default_only_the_orientation_is_kept() -> None:
    rebuilt = rebuild_exif(parse_exif(pillow_exif()), frozenset())
    assert rebuilt is not None
    assert dict(read(rebuilt)) == {0x0112: 3}
    assert len(rebuilt) == 26


def test_named_groups_of_tags_are_unchanged() -> None:
    source = read(pillow_exif())
    rebuilt = rebuild_exif(parse_exif(pillow_exif()), EVERYTHING)
    assert rebuilt is not None
    kept = read(rebuilt)
    assert (kept[0x0112], kept[0x010F], kept[0x0132]) == (3, "Maker", "2024:05:06 07:08:09")
    assert kept.get_ifd(0x8769) == source.get_ifd(0x8769)
    assert kept.get_ifd(0x8825) == source.get_ifd(0x8825)


@pytest.mark.parametrize("name", sorted(KEEPABLE))
def test_rebuilding_is_idempotent(name: str) -> None:
    rebuilt = rebuild_exif(parse_exif(pillow_exif()), frozenset({name}))
    assert rebuilt is not None
    assert rebuild_exif(parse_exif(rebuilt), frozenset({name})) == rebuilt


@pytest.mark.parametrize(("across", "down", "is_kept"), [(72, 72, True), (72, 144, False)])
def test_resolutions_that_would_stretch_an_image_are_dropped(
    across: int, down: int, is_kept: bool
) -> None:
    values = {0x011A: across, 0x011B: down}
    main = {tag: Entry(5, 1, struct.pack("<II", value, 1)) for tag, value in values.items()}
    main |= {0x0128: Entry(3, 1, struct.pack("<H", 2))}
    rebuilt = rebuild_exif(Exif("<", main, {}, {}), frozenset({"resolution"}))
    assert (rebuilt is not None) == is_kept


def test_nothing_to_keep_gives_no_exif_block() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    assert rebuild_exif(parse_exif(exif.tobytes()[6:]), frozenset()) is None
    assert rebuild_exif(parse_exif(b""), EVERYTHING) is None


def test_a_text_ends_at_its_first_nul() -> None:
    entry = struct.pack(">HHII", 0x010F, 2, 16, 26)
    block = b"MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0" + b"Maker\0hidden it\0"
    rebuilt = rebuild_exif(parse_exif(block), frozenset({"camera"}))
    assert rebuilt is not None
    assert b"hidden" not in rebuilt
    assert read(rebuilt)[0x010F] == "Maker"


def test_long_values_are_dropped() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 5000
    assert rebuild_exif(parse_exif(exif.tobytes()[6:]), frozenset({"description"})) is None


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_truncated_block_is_read_partially(cut: int) -> None:
    block = pillow_exif()[:cut]
    assert orientation_of(parse_exif(block)) in (1, 3)
    rebuild_exif(parse_exif(block), EVERYTHING)


@pytest.mark.parametrize(
    "block",
    [
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
        b"XX*\0\x08\0\0\0\x01\0",
    ],
)
def test_impossible_directories_do_not_raise(block: bytes) -> None:
    assert orientation_of(parse_exif(block)) in (1, 6)


@pytest.mark.parametrize("kind", [1, 3, 4])
def test_orientation_is_read_from_any_integer_type(kind: int) -> None:
    value = {1: b"\x06\0\0\0", 3: b"\0\x06\0\0", 4: b"\0\0\0\x06"}[kind]
    block = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHI", 0x0112, kind, 1) + value + b"\0" * 4
    assert orientation_of(parse_exif(block)) == 6
    with Image.open(io.BytesIO(_jpeg_with(block))) as image:
        assert image.getexif()[0x0112] in (6, b"\x06")


def _jpeg_with(block: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", exif=b"Exif\0\0" + block)
    return buffer.getvalue()


def _block(directory: int, tag: int, kind: int, count: int, raw: bytes) -> bytes:
    entry = {tag: Entry(kind, count, raw)}
    parts = {0: Exif(">", entry), 0x8769: Exif(">", photo=entry), 0x8825: Exif(">", gps=entry)}
    return write_exif(parts[directory])


@pytest.mark.parametrize(
    ("directory", "tag", "kind", "count", "raw"),
    [
        (0x8825, 27, 7, 4000, b"ASCII\0\0\0" + b"x" * 3992),
        (0x8825, 27, 7, 20, b"\xff\xd8\xff\xe0 some jpeg data"),
        (0x8825, 27, 2, 8, b"a place\0"),
        (0x8825, 2, 7, 24, b"\xff\xd8 a payload of a jpeg"),
        (0x8825, 2, 5, 6, b"\0" * 48),
        (0x8825, 0, 1, 300, b"\2" * 300),
        (0x8769, 0x829A, 7, 900, b"\xff\xd8" * 450),
        (0x8769, 0x829A, 5, 100, b"\0" * 800),
        (0x8769, 0x9003, 7, 20, b"2024:05:06 07:08:09\0"),
        (0x8769, 0xA433, 2, 3000, b"A" * 2999 + b"\0"),
        (0, 0x010F, 1, 5, b"Maker"),
        (0, 0x010F, 2, 9, b"a\x01\x02\x03\x04\x05\x06\x07\0"),
        (0, 0x0128, 3, 400, b"\0\2" * 400),
    ],
)
def test_values_of_another_type_or_size_are_dropped(
    directory: int, tag: int, kind: int, count: int, raw: bytes
) -> None:
    assert rebuild_exif(parse_exif(_block(directory, tag, kind, count, raw)), EVERYTHING) is None


def test_overlapping_values_do_not_multiply_memory() -> None:
    size = 1 << 20
    entries = [struct.pack(">HHII", tag, 7, size, 8 + 2 + 12 * 512 + 4) for tag in range(512)]
    block = b"MM\0*\0\0\0\x08" + struct.pack(">H", 512) + b"".join(entries) + b"\0\0\0\0"
    found = read_directory(block + b"x" * size, 8, ">")
    assert sum(len(entry.raw) for entry in found.values()) <= len(block) + size


def test_a_gps_processing_method_is_kept_without_its_padding() -> None:
    raw = b"ASCII\0\0\0GPS\0\0\0\0\0"
    rebuilt = rebuild_exif(parse_exif(_block(0x8825, 27, 7, len(raw), raw)), frozenset({"gps"}))
    assert rebuilt is not None
    assert parse_exif(rebuilt).gps[27].raw == b"ASCII\0\0\0GPS"
