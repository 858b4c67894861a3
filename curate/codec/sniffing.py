"""A file's real format, by its first bytes and never by its name."""

from __future__ import annotations

_TIFF_SIGNS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}


def sniff(data: bytes) -> str | None:
    """The format's name (``JPEG``, ``PNG``, …), or None where it is not an image known here.

    Formats are named that the codec cannot write, so that the reason for
    withholding a file can be told.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in _TIFF_SIGNS:
        return "TIFF"
    if data[:2] == b"BM" and len(data) >= 26:
        return "BMP"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    if data[:4] == b"\0\0\1\0":
        return "ICO"
    if data[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or data[:4] == b"\xff\x4f\xff\x51":
        return "JPEG2000"
    return None
