from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

import curate
from curate import Recipe, Session

CANARY = b"CANARYxYELLOWx7731"
TEXT = CANARY.decode()


def plant(photos: Path, folder: Path) -> None:
    """Photos with the canary in what surrounds the pixels, and beside them."""
    with Image.open(photos / "train/people/portrait.jpg") as portrait:
        image = portrait.copy()
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x8298] = TEXT
    exif[0x9286] = CANARY
    extra = b"\xff\xfe\x00\x14" + CANARY + b"\xff\xed" + bytes([0, 30]) + b"Photoshop\0" + CANARY
    for name in ("face.jpg", "cut_off.jpg"):
        image.save(folder / name, exif=exif, comment=CANARY, quality=90)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:2] + extra[:22] + data[2:] + CANARY)
    whole = (folder / "cut_off.jpg").read_bytes()
    (folder / "cut_off.jpg").write_bytes(whole[: len(whole) // 2])
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", TEXT)
    info.add_text("Zipped", TEXT * 9, zip=True)
    info.add_itxt("XML:com.adobe.xmp", TEXT)
    image.save(folder / "face.png", pnginfo=info, exif=exif)
    image.save(folder / "face.webp", exif=exif, xmp=CANARY, lossless=True)
    image.save(folder / "face.tif", exif=exif, description=TEXT)
    image.convert("P").save(folder / "face.gif", comment=CANARY)
    image.save(folder / "face.bmp")
    with (folder / "face.bmp").open("ab") as file:
        file.write(CANARY)


def everything(out: Path) -> Iterator[tuple[Path, bytes]]:
    for path in out.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield path, data
            start = 0
            while (start := data.find(b"\x78", start)) >= 0:  # zlib streams inside
                with contextlib.suppress(zlib.error):
                    yield path, zlib.decompressobj().decompress(data[start:])
                start += 1


def test_no_canary_leaves_its_source(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, temporary = tmp_path / "source", tmp_path / "tmp"
    source.mkdir()
    temporary.mkdir()
    plant(photos, source)
    monkeypatch.setenv("TMPDIR", str(temporary))
    summary = curate.blur(source, tmp_path / "out", Recipe(profile="fast"), Session(workers=1))
    assert summary.reasons == {"truncated": 1}
    assert summary.faces == 6
    for place in (tmp_path / "out", temporary):
        leaking = {str(path) for path, data in everything(place) if CANARY in data}
        assert leaking == set()
