"""Small hostile image files: each is withheld with its reason, in bounded memory and time."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from curate import load_manifest
from tests.process.test_bombs import measure

SIDE = 8000
"""Of images that are 1,000 times as large as their file, and below the limit of pixels."""
SMALL = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


def encode(image: Image.Image, name: str, **options: object) -> bytes:
    image.save(file := io.BytesIO(), name, **options)
    return file.getvalue()


JPEG = encode(Image.fromarray(SMALL), "JPEG")


def png(*chunks: tuple[bytes, bytes], width: int = 16, height: int = 16, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        parts += [struct.pack(">I", len(data)), kind, data, checksum]
    return b"".join(parts)


def animated_png(frames: int) -> bytes:
    control = struct.pack(">IIIIHHBB", 1, 1, 0, 0, 0, 1, 0, 0)
    data = zlib.compress(b"\0\0")
    chunks = [(b"acTL", struct.pack(">II", frames, 0))]
    chunks += [(b"fcTL", struct.pack(">I", 0) + control[:-1] + b"\0"), (b"IDAT", data)]
    for number in range(1, 2 * frames - 1, 2):
        chunks.append((b"fcTL", struct.pack(">I", number) + control))
        chunks.append((b"fdAT", struct.pack(">I", number + 1) + data))
    return png(*chunks, width=1, height=1)


def gif(frames: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return screen + frame * frames + b";"


def webp(width: int, height: int) -> bytes:
    data = bytearray(encode(Image.fromarray(SMALL), "WEBP"))
    at = data.index(b"\x9d\x01\x2a")
    data[at + 3 : at + 7] = struct.pack("<HH", width, height)
    return bytes(data)


def animated_webp(frames: int) -> bytes:
    two = [Image.new("RGB", (1, 1), color) for color in ("red", "blue")]
    data = encode(two[0], "WEBP", save_all=True, append_images=two[1:])
    at = data.index(b"ANMF")
    frame = data[at : at + 8 + -(-struct.unpack_from("<I", data, at + 4)[0] // 2) * 2]
    body = data[8:at] + frame * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", height, width) + JPEG[at + 9 :]


def progressive(scans: int) -> bytes:
    data = encode(Image.fromarray(SMALL), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * scans + data[-2:]


def tiff(
    width: int, height: int, data: bytes = b"\0" * 200, pages: int = 1, next_: int = 0
) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: 8 + 114 * pages, 277: 1}
    tags |= {278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    file = b"II*\0" + struct.pack("<I", 8)
    for page in range(1, pages + 1):
        follows = 8 + 114 * page if page < pages else next_
        file += struct.pack("<H", len(tags)) + entries + struct.pack("<I", follows)
    return file + data


def sparse(head: bytes) -> Callable[[Path], None]:
    """Twenty gigabytes that take no space on the disk."""

    def save(path: Path) -> None:
        path.write_bytes(head)
        os.truncate(path, 20 << 30)

    return save


ZEROS = zlib.compress(bytes(16 * 17), 9)
BOMBS: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "empty.png": (
        png((b"IDAT", zlib.compress(bytes((SIDE // 8 + 1) * SIDE), 9)),
            width=SIDE, height=SIDE, depth=1),
        "bomb: 64,000,000 pixels from",
    ),
    "claims.png": (png((b"IDAT", ZEROS), width=65_535, height=65_535), "bomb: 4,294,836,225"),
    "short.png": (png((b"IDAT", ZEROS), width=3000, height=3000), "truncated"),
    "chunks.png": (png(*[(b"IDAT", b"")] * 300_000, (b"IDAT", ZEROS)), "bomb: the PNG has more"),
    "frames.png": (animated_png(5000), "bomb: 5,000 frames"),
    "claims.jpg": (jpeg(65_500, 65_500), "bomb: 4,290,250,000 pixels"),
    "empty.jpg": (jpeg(SIDE, SIDE), "bomb: 64,000,000 pixels from"),
    "scans.jpg": (progressive(1000), "bomb: the JPEG has more than 200 scans"),
    "many_scans.jpg": (progressive(100_000), "bomb: the JPEG has more than 200 scans"),
    "empty.gif": (encode(Image.new("P", (SIDE, SIDE)), "GIF"), "bomb: 64,000,000 pixels from"),
    "frames.gif": (gif(100_000), "bomb: 100,000 frames"),
    "claims.webp": (webp(16_383, 16_383), "bomb: 268,402,689 pixels"),
    "empty.webp": (webp(SIDE, SIDE), "bomb: 64,000,000 pixels from"),
    "frames.webp": (animated_webp(50_000), "bomb: 50,000 frames"),
    "claims.tif": (tiff(65_535, 65_535), "bomb: 4,294,836,225"),
    "empty.tif": (tiff(SIDE, SIDE, zlib.compress(bytes(SIDE * SIDE))), "bomb: 64,000,000 pixels"),
    "circle.tif": (tiff(9, 9, next_=8), "corrupt: the TIFF's pages run in a circle"),
    "pages.tif": (tiff(9, 9, zlib.compress(bytes(81)), pages=5000), "bomb: "),
    "claims.bmp": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 65_535, 65_535, 1, 24, *[0] * 6),
        "bomb: 4,294,836,225",
    ),
    "sparse.jpg": (sparse(JPEG), "bomb: its file has 20,480 MB"),
    "sparse.png": (sparse(png((b"IDAT", ZEROS))), "bomb: its file has 20,480 MB"),
    "sparse.gif": (sparse(gif(2)), "bomb: its file has 20,480 MB"),
}  # fmt: skip
SOUND = {
    "text.png": png((b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 28), 9)), (b"IDAT", ZEROS)),
    "tail.png": png((b"IDAT", zlib.compress(bytes(1 << 28), 9))),
    "comments.jpg": JPEG[:2] + b"\xff\xfe\0\3x" * 300_000 + JPEG[2:],
    "tables.jpg": JPEG[:2] + (b"\xff\xdb\0\x43" + bytes(range(65))) * 50_000 + JPEG[2:],
    "restarts.jpg": JPEG[:-2] + b"\xff\xd0\xff\xd5" * 1_000_000 + JPEG[-2:],
    "profile.jpg": JPEG[:2]
    + (b"\xff\xe2\x75\x30ICC_PROFILE\0\1\1" + b"a" * 29_984) * 900
    + JPEG[2:],
    "sound.jpg": JPEG,
}
"""Of which what expands is not kept."""


def test_images_are_withheld_in_bounded_memory(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, (save, _) in BOMBS.items():
        save(folder / name) if callable(save) else (folder / name).write_bytes(save)
    for name, data in SOUND.items():
        (folder / name).write_bytes(data)
    faces = [{"file": name, "faces": []} for name in (*BOMBS, *SOUND)]
    (tmp_path / "faces.json").write_text(json.dumps(faces))
    options = ["--faces", str(tmp_path / "faces.json"), "--method", "mosaic", "--workers", "1"]
    main = "from curate.cli.main import main; main()"
    code, lines = measure(main, "blur", folder, out, *options)
    assert code == 3, lines
    reasons = {entry.id: str(entry.reason) for entry in load_manifest(out).withheld()}
    assert reasons.keys() == BOMBS.keys()
    for name, (_, reason) in BOMBS.items():
        assert reasons[name].startswith(reason), name
    written = {path.name: path.stat().st_size for path in (out / "data").iterdir()}
    assert written.keys() == SOUND.keys()
    assert max(written.values()) <= 2 * len(JPEG)
