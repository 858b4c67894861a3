from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.metadata.exif import Entry
from curate.codec.tiff.pages import (
    KIND,
    SUB_DIRECTORIES,
    Page,
    longs,
    parse_tiff,
    shorts,
    write_tiff,
)
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from tests.codec import samples


def with_tags(data: bytes, *tags: dict[int, Entry]) -> bytes:
    pages = parse_tiff(data)
    located = {273, 279, 324, 325}
    changed = [
        Page(
            page.order,
            {tag: e for tag, e in page.entries.items() if tag not in located} | extra,
            page.pieces,
        )
        for page, extra in zip(pages, tags, strict=True)
    ]
    return write_tiff(pages[0].order, changed)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_other_decoders_read_equal_pixels(mode: str) -> None:
    data = samples.pillow_tiff(mode)
    written = codec.save(codec.load(data), None, []).data
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(written)) as after:
        assert after.mode == before.mode
        np.testing.assert_array_equal(np.array(before), np.array(after))
        assert before.getpalette() is None or _colors(before) == _colors(after)


def _colors(image: Image.Image) -> list[tuple[int, bytes]]:
    counted = image.convert("RGB").getcolors(10_000)
    assert counted is not None
    return sorted((count, bytes(color)) for count, color in counted)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBa"])
def test_sixteen_bits_in_color_stay_exact(mode: str) -> None:
    import cv2

    data = samples.deep_tiff(mode)
    picture = codec.load(data)
    assert picture.mode == mode
    np.testing.assert_array_equal(picture.frames[0], samples.deep(len(mode)))
    written = codec.save(picture, *samples.changed(picture)).data
    assert cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert codec.load(written).mode == mode


def test_pixels_are_stored_coordinates_and_orientation_is_kept() -> None:
    plain = samples.pillow_tiff("RGB")
    turned = with_tags(plain, {274: shorts("<", (6,))})
    picture = codec.load(turned)
    assert picture.orientation == 6
    np.testing.assert_array_equal(picture.frames[0], codec.load(plain).frames[0])
    assert codec.upright_rgb(picture).shape == (60, 50, 3)
    assert codec.load(codec.save(picture, None, []).data).orientation == 6


def test_pages_of_several_sizes_and_kinds_are_all_kept() -> None:
    picture = codec.load(samples.multipage_tiff())
    assert [frame.shape for frame in picture.frames] == [(30, 40, 3), (30, 48), (30, 56, 3)]
    frames = [frame.copy() for frame in picture.frames]
    frames[1][:5] = 9
    again = codec.load(codec.save(picture, frames, [[], [Box(0, 0, 48, 5)], []]).data)
    for before, after in zip(frames, again.frames, strict=True):
        np.testing.assert_array_equal(before, after)


def test_thumbnails_of_other_pages_are_dropped() -> None:
    data = with_tags(samples.multipage_tiff(), {}, {KIND: longs("<", (1,))}, {})
    picture = codec.load(data)
    assert len(picture.frames) == 2
    assert "thumbnail" in (codec.save(picture, None, []).note or "")


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({SUB_DIRECTORIES: longs("<", (8,))}, "frames"),
        ({KIND: longs("<", (1,))}, "frames"),
        ({339: shorts("<", (3, 3, 3))}, "unsupported"),
        ({259: shorts("<", (6,))}, "unsupported"),
        ({256: longs("<", (0,))}, "corrupt"),
        ({256: longs("<", (1 << 30,))}, "bomb"),
        ({257: longs("<", (4000,))}, "truncated"),
        ({322: longs("<", (1 << 20,)), 323: longs("<", (1 << 20,))}, "bomb"),
    ],
)
def test_unsupported_tiffs_are_withheld(tags: dict[int, Entry], code: str) -> None:
    with pytest.raises(WithheldError) as caught:
        codec.load(with_tags(samples.pillow_tiff("RGB"), tags))
    assert caught.value.code in (code, "corrupt")


def test_pages_that_disagree_are_withheld() -> None:
    turned = with_tags(samples.multipage_tiff(), {}, {274: shorts("<", (3,))}, {})
    with pytest.raises(WithheldError, match="orientation"):
        codec.load(turned)


def test_pages_in_a_circle_are_withheld() -> None:
    data = bytearray(codec.save(codec.load(samples.pillow_tiff("L")), None, []).data)
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    with pytest.raises(WithheldError, match="circle"):
        codec.load(bytes(data))


def test_overlapping_strips_are_withheld() -> None:
    """Few bytes that many strips point to would unpack to far more than they are."""
    page = parse_tiff(samples.pillow_tiff("L"))[0]
    data = write_tiff(page.order, [Page(page.order, page.entries, (page.pieces[0], b"") * 9)])
    offsets, sizes = (parse_tiff(data)[0].entries[tag].raw for tag in (273, 279))
    shared = data.replace(offsets, offsets[:4] * 18).replace(sizes, sizes[:4] * 18)
    with pytest.raises(WithheldError, match="overlap"):
        codec.load(shared)


def test_pages_that_share_their_data_are_withheld() -> None:
    data = bytearray(samples.pillow_tiff("RGB"))
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    directory = bytes(data[first : first + 2 + 12 * count])
    for _ in range(200):
        at = len(data) + len(data) % 2
        data[first + 2 + 12 * count : first + 6 + 12 * count] = struct.pack("<I", at)
        data += b"\0" * (len(data) % 2) + directory + b"\0\0\0\0"
        first = at
    with pytest.raises(WithheldError, match="share their data"):
        codec.load(bytes(data))


def test_missing_strips_are_withheld() -> None:
    """Decoders paint them black and say nothing."""
    page = parse_tiff(samples.pillow_tiff("RGB"))[0]
    with pytest.raises(WithheldError, match="truncated"):
        codec.load(write_tiff(page.order, [Page(page.order, page.entries, (page.pieces[0][:-9],))]))
    taller = dict(page.entries) | {257: longs("<", (90,)), 278: longs("<", (50,))}
    with pytest.raises(WithheldError, match="truncated"):
        codec.load(write_tiff(page.order, [Page(page.order, taller, page.pieces)]))


def test_libtiff_warnings_withhold(
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = samples.pillow_tiff("1", compression="group4")
    page = parse_tiff(data)[0]
    rng = np.random.default_rng(1)
    withheld = 0
    for _ in range(40):
        piece = bytearray(page.pieces[0])
        piece[rng.integers(len(piece))] ^= 0xFF
        try:
            codec.load(write_tiff(page.order, [Page(page.order, page.entries, (bytes(piece),))]))
        except WithheldError:
            withheld += 1
    assert withheld > 20
    assert capfd.readouterr() == ("", "")


def test_other_messages_pass_through(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    from curate.codec.decoding import decoder_messages

    with decoder_messages() as messages:
        os.write(2, b"Fax4Decode: Bad code word at line 3.\n")
        os.write(2, b"  3 %|#   | 5/90\n")
    assert messages == ["Fax4Decode: Bad code word at line 3."]
    assert capfd.readouterr().err == "  3 %|#   | 5/90\n"


@pytest.mark.parametrize("samples_per_pixel", [3, 4])
@pytest.mark.parametrize("rows_per_strip", [40, 7])
def test_planar_sixteen_bit_color_is_exact(samples_per_pixel: int, rows_per_strip: int) -> None:
    """Decoders exist that leave memory uninitialized here, so that other photos shine through."""
    pixels = np.random.default_rng(5).integers(0, 2**16, (40, 30, samples_per_pixel), np.uint16)
    pieces = tuple(
        pixels[top : top + rows_per_strip, :, plane].astype("<u2").tobytes()
        for plane in range(samples_per_pixel)
        for top in range(0, 40, rows_per_strip)
    )
    values = {256: 30, 257: 40, 259: 1, 262: 2, 277: samples_per_pixel, 278: rows_per_strip, 284: 2}
    entries = {tag: shorts("<", (value,)) for tag, value in values.items()}
    entries[258] = shorts("<", (16,) * samples_per_pixel)
    if samples_per_pixel == 4:
        entries[338] = shorts("<", (2,))
    data = write_tiff("<", [Page("<", entries, pieces)])
    for _ in range(3):
        assert (codec.load(data).frames[0] == pixels).all()
    saved = codec.save(codec.load(data), None, [])
    assert (codec.load(saved.data).frames[0] == pixels).all()


def test_every_page_of_the_tricky_files_is_decoded_alike_twice(shared_data: Path) -> None:
    for path in sorted((shared_data / "tricky/formats").glob("*.tif*")):
        data = path.read_bytes()
        try:
            once = codec.load(data).frames
        except WithheldError:
            continue
        litter = [np.full((200, 200), value, np.uint16) for value in range(50)]
        del litter
        twice = codec.load(data).frames
        assert all((a == b).all() for a, b in zip(once, twice, strict=True)), path.name
