"""Known bytes in every container of metadata that the formats offer; none may come out."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.metadata.allow_list import KEEPABLE
from curate.codec.metadata.exif import Entry, write_directory
from curate.codec.png.chunks import parse_chunks, write_png
from curate.codec.tiff import codec as tiff
from curate.codec.tiff import pages as tiff_stream
from curate.codec.tiff.pixels import DecodedPage
from curate.core.errors import WithheldError
from tests.codec import samples
from tests.codec.test_icc import profile
from tests.codec.test_jpeg import mpo, with_segments

CANARY = b"CANARYcanary"
WIDE = CANARY.decode().encode("utf-16-be")


def exif(order: str = ">") -> bytes:
    """EXIF with a canary in every directory, the maker note and a thumbnail."""

    def text(value: bytes = CANARY) -> Entry:
        return Entry(2, len(value) + 1, value + b"\0")

    def rational(*values: int) -> Entry:
        packed = b"".join(struct.pack(order + "II", value, 1) for value in values)
        return Entry(5, len(values), packed)

    main = {tag: text() for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298, 0xC614)}
    main[0x9C9B] = Entry(1, len(CANARY), CANARY)
    photo = {tag: text() for tag in (0x9003, 0xA420, 0xA430, 0xA431, 0xA433, 0xA434, 0xA435)}
    photo |= {tag: Entry(7, len(CANARY), CANARY) for tag in (0x927C, 0x9286)}
    gps = {1: text(b"N"), 2: rational(51, 30, 7), 0x1B: Entry(7, len(CANARY), CANARY)}
    thumbnail = samples.jpeg(40, 30)[:-2] + CANARY + b"\xff\xd9"
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    pointers = {0x8769: Entry(4, 1, b"\0" * 4), 0x8825: Entry(4, 1, b"\0" * 4)}
    size = len(write_directory(order, main | pointers, 8))
    photo_at = 8 + size
    gps_at = photo_at + len(write_directory(order, photo, 0))
    next_at = gps_at + len(write_directory(order, gps, 0))
    main[0x8769] = Entry(4, 1, struct.pack(order + "I", photo_at))
    main[0x8825] = Entry(4, 1, struct.pack(order + "I", gps_at))
    second = {0x0103: Entry(3, 1, struct.pack(order + "H", 6))}
    second[0x0202] = Entry(4, 1, struct.pack(order + "I", len(thumbnail)))
    second[0x0201] = Entry(4, 1, b"\0" * 4)
    thumbnail_at = next_at + len(write_directory(order, second, 0))
    second[0x0201] = Entry(4, 1, struct.pack(order + "I", thumbnail_at))
    parts = [head, write_directory(order, main, 8, next_at)]
    parts += [write_directory(order, photo, photo_at), write_directory(order, gps, gps_at)]
    parts += [write_directory(order, second, next_at), thumbnail, CANARY]
    return b"".join(parts)


def jpeg_containers() -> dict[str, bytes]:
    data = samples.jpeg()
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + CANARY
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + b"\0" * 8 + CANARY
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0c" + CANARY
    icc = b"ICC_PROFILE\0\x01\x01" + profile(private=CANARY)
    jfxx = b"JFXX\0\x10" + samples.jpeg(30, 20) + CANARY
    jfif = b"JFIF\0\x01\x02\0\0\x01\0\x01\x02\x02" + CANARY
    thumbnail_app0 = data.replace(
        data[2 : 4 + int.from_bytes(data[4:6], "big")],
        struct.pack(">BBH", 0xFF, 0xE0, len(jfif) + 2) + jfif,
    )
    adobe = b"Adobe\0\x64\0\0\0\0\x01" + CANARY
    everything = [(0xE0 + n, CANARY + bytes([n])) for n in range(16)]
    return {
        "exif": with_segments(data, (0xE1, b"Exif\0\0" + exif())),
        "exif-little": with_segments(data, (0xE1, b"Exif\0\0" + exif("<"))),
        "two exif blocks": with_segments(
            data, (0xE1, b"Exif\0\0" + exif()), (0xE1, b"Exif\0\0" + exif("<"))
        ),
        "xmp": with_segments(data, (0xE1, xmp), (0xE1, extended)),
        "iptc": with_segments(data, (0xED, iptc)),
        "comment": with_segments(data, (0xFE, CANARY)),
        "every APPn": with_segments(data, *everything),
        "icc": with_segments(data, (0xE2, icc)),
        "jfif thumbnail": thumbnail_app0,
        "jfxx": with_segments(data, (0xE0, jfxx)),
        "adobe": with_segments(data, (0xEE, adobe)),
        "tail": data + CANARY,
        "second image in the tail": data + samples.jpeg(20, 20) + CANARY,
        "mpf preview": mpo(0x010001, with_segments(samples.jpeg(40, 30), (0xFE, CANARY))),
        "comment behind the frame header": data.replace(
            b"\xff\xda", b"\xff\xfe\0\x0e" + CANARY + b"\xff\xda", 1
        ),
        "comment behind the scan": data[:-2] + b"\xff\xfe\0\x0e" + CANARY + data[-2:],
        "progressive": with_segments(samples.jpeg(progressive=1), (0xFE, CANARY)),
        "cmyk": with_segments(samples.cmyk_jpeg(), (0xE1, xmp), (0xFE, CANARY)),
    }


def png_containers() -> dict[str, bytes]:
    plain = samples.png(samples.photo())
    (header, *body), _ = parse_chunks(plain)
    text = [
        (b"tEXt", b"Comment\0" + CANARY),
        (b"zTXt", b"Comment\0\0" + zlib.compress(CANARY)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + CANARY),
        (b"iTXt", b"Comment\0\x01\0\0\0" + zlib.compress(CANARY)),
        (b"tIME", b"\x07\xe9\1\2\3\4\5"),
        (b"pHYs", CANARY[:9]),
        (b"sPLT", CANARY + b"\0\x08"),
        (b"hIST", CANARY),
        (b"bKGD", CANARY[:6]),
        (b"caNa", CANARY),
        (b"gAMA", CANARY),
        (b"dSIG", CANARY),
    ]
    palette = parse_chunks(samples.encoded(samples.palette_image(), "PNG"))[0]
    stuffed = [(k, p.ljust(699, b"\1") + CANARY if k == b"PLTE" else p) for k, p in palette]
    idat = next(payload for kind, payload in body if kind == b"IDAT")
    rows = zlib.decompress(idat)
    animation, _ = parse_chunks(samples.animated("PNG", "RGBA"))
    return {
        "chunks": write_png([header, *text, *body[:-1], *text]),
        "exif": write_png([header, (b"eXIf", exif()), *body[:-1]]),
        "icc": write_png(
            [
                header,
                (b"iCCP", CANARY + b"\0\0" + zlib.compress(profile(private=CANARY))),
                *body[:-1],
            ]
        ),
        "tail": plain + CANARY,
        "palette": write_png(stuffed[:-1]),
        "palette of a true-color image": write_png([header, (b"PLTE", CANARY), *body[:-1]]),
        "behind the rows": write_png([header, (b"IDAT", zlib.compress(rows + CANARY * 3))]),
        "behind the stream": write_png([header, (b"IDAT", idat + CANARY)]),
        "animation": write_png([animation[0], *text, *animation[1:-1]]) + CANARY,
    }


def webp_containers() -> dict[str, bytes]:
    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack("<4sI", kind, len(payload)) + payload + b"\0" * (len(payload) % 2)

    def extended(data: bytes, size: tuple[int, int], *chunks: bytes) -> bytes:
        head = struct.pack("<I", 0x2C) + b"".join((n - 1).to_bytes(3, "little") for n in size)
        body = b"WEBP" + chunk(b"VP8X", head) + b"".join(chunks[:1]) + data[12:]
        body += b"".join(chunks[1:])
        return b"RIFF" + struct.pack("<I", len(body)) + body

    found = {}
    for name in ("webp-lossy", "webp-lossless"):
        data = samples.SAMPLES[name]()
        found[name] = extended(
            data,
            (90, 70),
            chunk(b"ICCP", profile(private=CANARY)),
            chunk(b"EXIF", exif("<")),
            chunk(b"XMP ", CANARY),
            chunk(b"CaNa", CANARY),
        )
        found[name + "-tail"] = data + CANARY
    moving = samples.animated("WEBP", lossless=True, exif=exif(), xmp=CANARY)
    found["animated"] = moving + CANARY
    return found


def gif_containers() -> dict[str, bytes]:
    still = samples.encoded(samples.palette_image(), "GIF")
    moving = samples.animated("GIF", loop=0)
    block = bytes([len(CANARY)]) + CANARY + b"\0"
    extensions = b"".join(
        [
            b"\x21\xfe" + block,
            b"\x21\xff\x0bXMP DataXMP" + block,
            b"\x21\xff\x0bICCRGBG1012" + block,
            b"\x21\xff\x0bCANARYcanar" + block,
            b"\x21\x01\x0c" + b"\0" * 12 + block,
            b"\x21\x99" + block,
        ]
    )
    found = {}
    for name, data in (("still", still), ("moving", moving)):
        start = 13 + (3 << ((data[10] & 7) + 1))
        found[name] = data[:start] + extensions + data[start:-1] + extensions + b";" + CANARY
    size = 3 << ((still[10] & 7) + 1)
    assert size == 192
    found["unused colors"] = still[: 13 + 180] + CANARY + still[13 + 192 :]
    # behind the end code, inside the last sub-block of image data
    found["behind the codes"] = still[:-2] + block[:-1] + b"\0;"
    return found


def bmp_containers() -> dict[str, bytes]:
    data = samples.encoded(Image.fromarray(samples.photo()), "BMP")
    start = int.from_bytes(data[10:14], "little")
    gap = bytearray(data[:start] + CANARY + data[start:])
    gap[10:14] = (start + len(CANARY)).to_bytes(4, "little")
    padded = samples.encoded(Image.fromarray(samples.photo(89)), "BMP")
    row = 89 * 3
    rows = [padded[start + 268 * n :][:row] + b"C" for n in range(70)]
    reserved = data[:6] + CANARY[:4] + data[10:]
    return {
        "tail": data + CANARY,
        "gap": bytes(gap),
        "padding of rows": padded[:start] + b"".join(rows),
        "reserved": reserved,
    }


def tiff_containers() -> dict[str, bytes]:
    found = {}
    for order in "<>":
        entries, data = tiff._encode(DecodedPage("RGB", samples.photo(60, 50), None), order)
        text = Entry(2, len(CANARY) + 1, CANARY + b"\0")
        blob = Entry(7, len(CANARY), CANARY)
        texts = dict.fromkeys((269, 270, 271, 272, 285, 305, 306, 315, 316, 33432), text)
        blobs = dict.fromkeys((700, 33723, 34377, 37724, 50341, 65000), blob)
        icc = {34675: Entry(7, len(profile(private=CANARY)), profile(private=CANARY))}
        page = tiff_stream.Page(order, entries | texts | blobs | icc, (data,))
        photo = {0x9003: text, 0x927C: blob, 0x9286: blob, 0xA430: text}
        gps = {0x1B: blob}
        whole = tiff_stream.write_tiff(order, [page, page], (photo, gps))
        found[f"tags {order}"] = whole + CANARY
        first = struct.unpack_from(order + "I", whole, 4)[0]
        moved = bytearray(whole + CANARY + b"\0" * (len(whole) % 2) + whole[first:])
        at = len(whole) + len(CANARY) + len(whole) % 2
        # the first directory is taken from a copy at the end: its old place becomes slack
        count = struct.unpack_from(order + "H", whole, first)[0]
        copy = whole[first : first + 2 + 12 * count + 4]
        moved[at : at + len(copy)] = copy
        struct.pack_into(order + "I", moved, 4, at)
        found[f"slack {order}"] = bytes(moved)
    piece = samples.pillow_tiff("RGB", description=CANARY.decode(), software=CANARY.decode())
    return found | {"pillow": piece}


CONTAINERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "jpeg": jpeg_containers,
    "png": png_containers,
    "webp": webp_containers,
    "gif": gif_containers,
    "bmp": bmp_containers,
    "tiff": tiff_containers,
}


def unpacked(data: bytes) -> bytes:
    """A file with everything that is deflated inside it laid open behind it."""
    parts = [data]
    at = -1
    while (at := data.find(b"\x78", at + 1)) >= 0:
        try:
            parts.append(zlib.decompressobj().decompress(data[at:]))
        except zlib.error:
            continue
    return b"\n".join(parts)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_no_canary_survives_in_any_format(kind: str) -> None:
    written_once = False
    for name, data in CONTAINERS[kind]().items():
        assert CANARY in unpacked(data) or name in ("padding of rows", "reserved"), name
        try:
            picture = codec.load(data)
        except WithheldError as error:
            assert (kind, name, error.code) in WITHHELD  # noqa: PT017
            continue
        frames, touched = samples.changed(picture)
        for written in (codec.save(picture, None, []), codec.save(picture, frames, touched)):
            opened = unpacked(written.data)
            for form in (CANARY, CANARY.lower(), WIDE, CANARY[:6], CANARY[6:]):
                assert form not in opened, name
            assert codec.find_leaks(written.data) == [], name
            assert len(written.data) < len(data) + 60_000
            written_once = True
        assert codec.find_leaks(data) != [], f"{name} is a leak that find_leaks must see"
    assert written_once


WITHHELD = {
    ("jpeg", "comment behind the scan", "corrupt"),
}
"""Files that are so odd that they are withheld."""


@pytest.mark.parametrize("name", sorted(KEEPABLE))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_only_the_named_metadata_is_kept(kind: str, name: str) -> None:
    options = codec.CodecOptions(keep_metadata=frozenset({name}))
    containers = CONTAINERS[kind]()
    data = containers["exif" if kind in ("jpeg", "png") else next(iter(containers))]
    written = codec.save(codec.load(data, options), None, [], options).data
    tags = KEEPABLE[name]
    with Image.open(io.BytesIO(written)) as image:
        found = image.getexif()
    allowed = tags.main | {0x8769, 0x8825} if kind != "tiff" else set(found)
    assert set(found) <= allowed
    assert set(found.get_ifd(0x8769)) <= tags.photo
    assert set(found.get_ifd(0x8825)) <= tags.gps
    assert b"\xff\xd8\xff" not in written[2:]
    assert codec.find_leaks(written, options) == []
    if CANARY in written:
        assert codec.find_leaks(written) != []


def test_kept_gps_is_unchanged() -> None:
    options = codec.CodecOptions(keep_metadata=frozenset({"gps"}))
    for data in (jpeg_containers()["exif"], jpeg_containers()["exif-little"]):
        written = codec.save(codec.load(data, options), None, [], options).data
        gps = Image.open(io.BytesIO(written)).getexif().get_ifd(0x8825)
        assert (gps[1], [float(value) for value in gps[2]]) == ("N", [51.0, 30.0, 7.0])


def test_dropping_metadata_keeps_pixels() -> None:
    data = jpeg_containers()["every APPn"]
    plain = codec.load(samples.jpeg())
    np.testing.assert_array_equal(codec.load(data).frames[0], plain.frames[0])
