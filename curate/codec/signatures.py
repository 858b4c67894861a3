"""Names of file formats, told by their content; file names are never consulted."""

from __future__ import annotations

import re

SIGNATURE_BYTES = 348
"""Bytes by which an image is recognized: the longest header is that of NIfTI."""

_IMAGES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0\x10\0\0\0CR\2", "camera raw (CR2)"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"II\xbc", "JPEG XR"),
    (b"8BPS\0", "Photoshop"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"qoif", "QOI"),
    (b"DDS |\0", "DDS"),
    (b"BPG\xfb", "BPG"),
    (b"\x8aMNG\r\n\x1a\n", "MNG"),
    (b"\x8bJNG\r\n\x1a\n", "JNG"),
    (b"gimp xcf ", "GIMP"),
    (b"AT&TFORM", "DjVu"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"IIRO", "camera raw (ORF)"),
    (b"IIRS", "camera raw (ORF)"),
    (b"MMOR", "camera raw (ORF)"),
    (b"IIU\0", "camera raw (RW2)"),
    (b"FUJIFILMCCD-RAW", "camera raw (RAF)"),
    (b"FOVb", "camera raw (X3F)"),
    (b"\0MRM", "camera raw (MRW)"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera raw (CRW)"),
)
"""First bytes of image formats; of two that fit, the first one counts."""
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1", b"miaf"), "HEIF"),
    b"jp2 ": "JPEG 2000",
    b"jxl ": "JPEG XL",
    b"crx ": "camera raw (CR3)",
}
"""Brands of still images in the first box of ISO base media files (ISO/IEC 14496-12)."""
_MAX_BRANDS = 32
_PNM = re.compile(rb"P[1-6]\s(?:\s|#[^\n]*\n)*\d+\s+\d+\s|P7\nWIDTH |P[Ff]\n\d+ \d+\n")

_DRAWINGS = (
    (re.compile(rb"%PDF-"), "PDF"),
    (re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"), "PostScript (EPS)"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:[?!][^>]*>[\s\]>]*<)*svg[\s>]", re.IGNORECASE), "SVG"),
    (re.compile(rb"\xd7\xcd\xc6\x9a|\x01\x00{3}.{36} EMF", re.DOTALL), "Windows metafile"),
    (
        re.compile(  # no color map; a type with at most 32 bits; a size; no reserved bits
            rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{4}(?!\x00\x00)..(?!\x00\x00)..[\x08\x0f\x10\x18\x20][\x00-\x3f]"
            rb"|.\x01[\x01\x09].{4}[\x0f\x10\x18\x20].{4}(?!\x00\x00)..(?!\x00\x00)..\x08[\x00-\x3f]",
            re.DOTALL,
        ),
        "TGA",
    ),
)
"""Formats that hold pictures, of files that are called images; no content makes a file one."""
_OTHERS = (
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)[\s>]", re.IGNORECASE), "a web page"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07"), "an archive"),
    (re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |....moov", re.DOTALL), "a video"),
)


def sniff(data: bytes) -> str | None:
    """Return the name of an image file's format (``JPEG``, ``PNG``, …), or None.

    Formats that the codec cannot write are named too, so that the reason for
    withholding a file can be reported.

    Args:
        data: the file, or at least its first `SIGNATURE_BYTES`.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and len(data) >= 26:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _find_brand(data)
    if _PNM.match(data):
        return "PNM"
    named = next((name for start, name in _IMAGES if data.startswith(start)), None)
    return named or _sniff_header(data)


def describe(data: bytes) -> tuple[str, bool] | None:
    """Describe a file that is called an image and is none that `sniff` knows.

    Returns:
        What it is, and whether that is a format of pictures; None if it is not known.
    """
    for kinds, is_picture in ((_DRAWINGS, True), (_OTHERS, False)):
        for start, name in kinds:
            if start.match(data[:4096]):
                return name, is_picture
    return None


def _find_brand(data: bytes) -> str | None:
    """Name of the first brand of still images: the major one, then the compatible ones."""
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _MAX_BRANDS, len(data))
    brands = (data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4)))
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)


def _sniff_header(data: bytes) -> str | None:
    """Name of a format that is told by several fields of its header."""
    if data[128:132] == b"DICM":
        return "DICOM"
    is_nifti = data[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c") and data[344:348] in (b"n+1\0", b"ni1\0")
    if is_nifti or data[4:8] in (b"n+2\0", b"ni2\0"):
        return "NIfTI"
    if data[:2] == b"\1\xda" and data[2:3] in b"\0\1" and data[3:6] in _SGI:
        return "SGI"
    if (
        data[:1] == b"\n"
        and data[1:2] in b"\0\2\3\4\5"
        and data[2:4] in _PCX
        and data[64:65] == b"\0"
    ):
        return "PCX"
    return None


_SGI = {bytes((depth, 0, sides)) for depth in (1, 2) for sides in (1, 2, 3)}
_PCX = {bytes((1, depth)) for depth in (1, 2, 4, 8)}
