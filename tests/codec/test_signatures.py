"""Files that cannot be processed are withheld with the name of what they are."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image, features

from curate import codec
from curate.codec.metadata.exif import Entry
from curate.codec.signatures import SIGNATURE_BYTES
from curate.codec.tiff.pages import KIND, PHOTOMETRIC, SUB_DIRECTORIES, longs, shorts, write_tiff
from curate.codec.tiff.pages import Page as TiffPage
from curate.core.errors import WithheldError
from curate.layouts.files import is_image_head
from tests.codec import samples

ZEROS = bytes(400)


def pillow(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert(mode).save(file, kind, **options)
    return file.getvalue()


def ftyp(*brands: bytes) -> bytes:
    body = b"".join((brands[0], bytes(4), *brands[1:]))
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + ZEROS


def raw(order: str, *tags: dict[int, Entry]) -> bytes:
    """A TIFF of one strip with the tags of camera raw files."""
    size = {256: longs(order, (8,)), 257: longs(order, (8,)), 258: shorts(order, (8,))}
    page = TiffPage(
        order, {key: value for each in (size, *tags) for key, value in each.items()}, (bytes(64),)
    )
    return write_tiff(order, [page])


def without_strips(data: bytes) -> bytes:
    """Offsets of strips under another tag, as thumbnails of ARW have none."""
    return data.replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 513, 4))


IMAGES = {
    "AVIF": [ftyp(b"avif", b"avif", b"mif1"), ftyp(b"avis"), ftyp(b"MA1B", b"isom", b"avif")],
    "HEIC": [ftyp(b"heic", b"mif1"), ftyp(b"heix"), ftyp(b"hevc"), ftyp(b"xxxx", b"heic")],
    "HEIF": [ftyp(b"mif1", b"heic"), ftyp(b"msf1"), ftyp(b"mif2")],
    "camera raw (CR3)": [ftyp(b"crx ", b"crx ", b"isom")],
    "JPEG XL": [b"\xff\x0a\xfa\x1f" + ZEROS, b"\0\0\0\x0cJXL \r\n\x87\n" + ftyp(b"jxl ")],
    "JPEG XR": [b"II\xbc\x01\x20\0\0\0" + ZEROS],
    "Photoshop": [b"8BPS\0\1" + ZEROS, b"8BPS\0\2" + ZEROS],
    "OpenEXR": [b"v/1\x01\2\0\0\0" + ZEROS],
    "Radiance HDR": [b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", b"#?RGBE\n\n-Y 4 +X 4\n"],
    "FITS": [b"SIMPLE  =                    T" + b" " * 400],
    "NIfTI": [
        struct.pack("<i", 348) + bytes(340) + b"n+1\0" + ZEROS,
        struct.pack(">i", 348) + bytes(340) + b"ni1\0" + ZEROS,
        struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + ZEROS,
    ],
    "DICOM": [bytes(128) + b"DICM\2\0\0\0UL" + ZEROS],
    "QOI": [b"qoif\0\0\0\4\0\0\0\4\3\0" + ZEROS],
    "BPG": [b"BPG\xfb\x20\0" + ZEROS],
    "MNG": [b"\x8aMNG\r\n\x1a\n" + ZEROS],
    "JNG": [b"\x8bJNG\r\n\x1a\n" + ZEROS],
    "GIMP": [b"gimp xcf v011\0" + ZEROS],
    "DjVu": [b"AT&TFORM\0\0\0\0DJVU" + ZEROS],
    "Sun raster": [b"\x59\xa6\x6a\x95\0\0\0\4" + ZEROS],
    "camera raw (CR2)": [b"II*\0\x10\0\0\0CR\2\0" + ZEROS],
    "camera raw (ORF)": [start + ZEROS for start in (b"IIRO\x08\0", b"IIRS\x08\0", b"MMOR\0\0")],
    "camera raw (RW2)": [b"IIU\0\x18\0\0\0" + ZEROS],
    "camera raw (RAF)": [b"FUJIFILMCCD-RAW 0201" + ZEROS],
    "camera raw (X3F)": [b"FOVb\0\0\3\0" + ZEROS],
    "camera raw (MRW)": [b"\0MRM\0\0\1\0" + ZEROS],
    "camera raw (CRW)": [b"II\x1a\0\0\0HEAPCCDR" + ZEROS],
    "ICO": [pillow("ICO")],
    "PCX": [pillow("PCX", mode) for mode in ("1", "L", "P", "RGB")],
    "SGI": [pillow("SGI", mode) for mode in ("L", "RGB", "RGBA")],
    "DDS": [pillow("DDS")],
    "PNM": [pillow("PPM"), pillow("PPM", "L"), pillow("PPM", "1")],
}  # fmt: skip

NAMED = {
    "JPEG-LS": [
        b"\xff\xd8\xff\xf7\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0" + ZEROS,
        b"\xff\xd8\xff\xe8\0\4HP\xff\xf7\0\x0b\x08\0\x10\0\x10\1\1\x11\0" + ZEROS,
        b"\xff\xd8\xff\xf8\0\x0d\1\0\xff\0\3\0\7\0\x15\0\x40" + ZEROS,
    ],
    "camera raw (DNG, NEF, ARW, …)": [
        raw("<", {50706: Entry(1, 4, b"\1\4\0\0")}),  # DNG, linear or with a thumbnail
        raw(">", {KIND: longs(">", (1,)), SUB_DIRECTORIES: longs(">", (8, 8))}),  # NEF
        without_strips(raw("<", {KIND: longs("<", (1,)), SUB_DIRECTORIES: longs("<", (8,))})),
        raw("<", {PHOTOMETRIC: shorts("<", (32803,))}),  # PEF
    ],
    "SVG": [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="4">',
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd" [\n]>\n<svg>',
    ],
    "PDF": [pillow("PDF"), b"%PDF-1.7\n" + ZEROS],
    "PostScript (EPS)": [pillow("EPS"), b"\xc5\xd0\xd3\xc6\x20\0\0\0" + ZEROS],
    "Windows metafile": [
        b"\xd7\xcd\xc6\x9a" + ZEROS,
        b"\1\0\0\0\x6c\0\0\0" + bytes(32) + b" EMF" + ZEROS,
    ],
    "TGA": [pillow("TGA", mode) for mode in ("L", "P", "RGB", "RGBA")]
    + [pillow("TGA", mode, compression="tga_rle") for mode in ("L", "P", "RGB", "RGBA")],
}  # fmt: skip

OTHERS = {
    "a web page": [
        b"<!DOCTYPE html>\n<html>",
        b"\n <html lang=en>",
        b"\xef\xbb\xbf<!doctype HTML >",
    ],
    "an archive": [b"PK\3\4\x14\0" + ZEROS, b"\x1f\x8b\x08\0" + ZEROS],
    "a video": [ftyp(b"isom", b"mp42"), ftyp(b"qt  "), b"\x1aE\xdf\xa3" + ZEROS],
}


def cases(table: dict[str, list[bytes]]) -> list[object]:
    return [
        pytest.param(name, data, id=f"{name} {number}")
        for name, found in table.items()
        for number, data in enumerate(found)
    ]


@pytest.mark.parametrize(("name", "data"), cases(IMAGES))
def test_images_of_other_formats_are_recognized_and_withheld(name: str, data: bytes) -> None:
    assert codec.sniff(data) == name
    assert is_image_head(data[:SIGNATURE_BYTES])
    check_unsupported(name, data)


@pytest.mark.parametrize(("name", "data"), cases(NAMED))
def test_files_that_are_called_images_are_withheld_with_their_name(name: str, data: bytes) -> None:
    check_unsupported(name, data)
    if name in ("SVG", "PDF", "PostScript (EPS)", "TGA"):
        assert not is_image_head(data[:SIGNATURE_BYTES])  # PDFs beside images are no images


@pytest.mark.parametrize(("name", "data"), cases(OTHERS))
def test_files_that_are_no_pictures_are_unreadable(name: str, data: bytes) -> None:
    with pytest.raises(WithheldError) as caught:
        codec.load(data)
    assert (caught.value.code, caught.value.detail) == ("unreadable", f"it is {name}, not an image")
    assert not is_image_head(data[:SIGNATURE_BYTES])


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without OpenJPEG")
@pytest.mark.parametrize("no_jp2", [True, False])
def test_jpeg_2000_is_recognized_as_a_codestream_and_in_a_file(no_jp2: bool) -> None:
    data = pillow("JPEG2000", no_jp2=no_jp2)
    assert codec.sniff(data) == "JPEG 2000"
    check_unsupported("JPEG 2000", data)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without libavif")
def test_an_avif_of_an_encoder_is_recognized() -> None:
    check_unsupported("AVIF", pillow("AVIF"))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"P6 is a road", b"SIMPLE, as they say", b"\x01\xda\x05\x05\x00\x01", b"BM",
        b"\n\x05\x01\x03",
        b"a,b\n1,2\n", b"\0" * 400, b"\n\n# A list\n", b'{"a": 1}', b"<note>svg</note>", b"<svgs/>",
        b"\0\0\1\x5c" + bytes(400), b"ftypheic", b"\0\0\0\x18ftyp",
    ],
)  # fmt: skip
def test_other_files_have_no_name(data: bytes) -> None:
    assert codec.sniff(data) is None
    with pytest.raises(WithheldError) as caught:
        codec.load(data)
    assert caught.value.code in ("empty", "unreadable")
    assert "it is" not in caught.value.detail or b"ftyp" in data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_supported_formats_are_recognized_by_their_first_bytes(kind: str) -> None:
    data = samples.encoded(Image.new("RGB", (40, 30)), kind)
    assert codec.sniff(data[:SIGNATURE_BYTES]) == kind
    assert codec.load(data).format == kind


def check_unsupported(name: str, data: bytes) -> None:
    with pytest.raises(WithheldError) as caught:
        codec.load(data)
    expected = f"{name} files are not supported; convert them to PNG"
    assert (caught.value.code, caught.value.detail) == ("unsupported", expected)
