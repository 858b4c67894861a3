from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from curate import codec
from curate.codec.metadata.icc import rebuild_profile
from curate.codec.metadata.rendering import render
from curate.core.errors import WithheldError
from tests.codec import samples


def profile(private: bytes = b"", text: bytes = b"") -> bytes:
    """Pillow's sRGB profile with a private tag and texts of one's own."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack_from(">I", made, 128)[0]
    tags = {}
    for index in range(count):
        name, at, size = struct.unpack_from(">4sII", made, 132 + 12 * index)
        tags[name] = made[at : at + size]
    if private:
        tags[b"caNa"] = b"text\0\0\0\0" + private + b"\0"
        tags[b"desc"] = tags[b"cprt"] = b"text\0\0\0\0" + private + b"\0"
        tags[b"rXYZ"] = tags[b"rXYZ"][:20] + private
        tags[b"dmnd"] = b"desc\0\0\0\0" + private
    if text:
        tags[b"desc"] = b"text\0\0\0\0" + text + b"\0"
    table, body = b"", b""
    at = 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = (
        struct.pack(">I", at + len(body)) + made[4:48] + private[:4].ljust(4, b"\0") + made[52:128]
    )
    return head + struct.pack(">I", len(tags)) + table + body


def test_color_tags_are_kept_and_texts_dropped() -> None:
    source = profile(private=b"OWNER OF A DISPLAY")
    rebuilt = rebuild_profile(source)
    assert rebuilt is not None
    assert b"OWNER" not in rebuilt
    assert b"caNa" not in rebuilt
    adobe_like = Image.fromarray(samples.photo())
    lab = ImageCms.createProfile("LAB")
    before, after = (
        np.array(ImageCms.profileToProfile(adobe_like, io.BytesIO(p), lab, outputMode="LAB"))
        for p in (source, rebuilt)
    )
    np.testing.assert_array_equal(before, after)


def test_rebuilding_is_idempotent() -> None:
    rebuilt = rebuild_profile(profile(private=b"x"))
    assert rebuilt is not None
    assert rebuild_profile(rebuilt) == rebuilt


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:36] + b"nope" + data[40:],
        lambda data: data[:128] + b"\xff\xff\xff\xff" + data[132:],
        lambda data: data[:128] + b"\0\0\0\0" + data[132:],
        lambda data: data.replace(b"XYZ \0\0\0\0", b"ZYX \0\0\0\0"),
        lambda data: b"",
    ],
)
def test_an_invalid_profile_is_dropped(damage: object) -> None:
    assert callable(damage)
    assert rebuild_profile(damage(profile())) is None


def test_an_oversized_profile_is_dropped() -> None:
    data = profile() + b"\0" * (5 << 20)
    assert rebuild_profile(struct.pack(">I", len(data)) + data[4:]) is None


def with_tags(space: bytes = b"RGB ", **tags: bytes) -> bytes:
    """Pillow's sRGB profile with other tags, in another color space."""
    made = profile()
    count = struct.unpack_from(">I", made, 128)[0]
    found = {}
    for index in range(count):
        name, at, size = struct.unpack_from(">4sII", made, 132 + 12 * index)
        found[name] = made[at : at + size]
    found |= {name.encode(): data for name, data in tags.items()}
    table, body, at = b"", b"", 132 + 12 * len(found)
    for name, data in found.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    space += made[20:24] if space != b"CMYK" else b"Lab "
    head = struct.pack(">I", at + len(body)) + made[4:16] + space + made[24:128]
    return head + struct.pack(">I", len(found)) + table + body


def curve(values: object) -> bytes:
    numbers = np.clip(np.asarray(values), 0, 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", numbers.size) + numbers.tobytes()


def three(data: bytes) -> dict[str, bytes]:
    return {"rTRC": data, "gTRC": data, "bTRC": data}


GAMMA = np.linspace(0, 1, 1024) ** 2.2 * 65535
PHOTO = samples.photo(60, 50, 0).ravel().astype(int) * 257
FALLING = {
    "inverted": curve(GAMMA[::-1]),
    "permuted": curve(GAMMA[np.arange(256) * 77 % 256 * 4]),
    "a photo": curve(PHOTO),
    "a file": curve(np.frombuffer(samples.jpeg()[: 2 * 600], ">u2")),
    "flat": curve(np.full(256, 9000)),
    "long and fine": curve(np.repeat([0, 30000, 65535], [3000, 1, 3000])[::-1]),
    "parametric": b"para\0\0\0\0\0\3\0\0" + struct.pack(">5i", 65536, -65536, 65536, 0, 0),
    "no exponent": b"curv\0\0\0\0\0\0\0\1\0\0\0\0",
}


@pytest.mark.parametrize("name", FALLING)
@pytest.mark.parametrize("space", [b"RGB ", b"GRAY"])
def test_a_curve_that_does_not_rise_drops_the_profile(name: str, space: bytes) -> None:
    tags = {"kTRC": FALLING[name]} if space == b"GRAY" else {"gTRC": FALLING[name]}
    made = with_tags(space, **tags)
    assert rebuild_profile(made) is None
    pixels = samples.photo(channels=0 if space == b"GRAY" else 3)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        if kind == "WEBP" and space == b"GRAY":
            continue
        data = samples.encoded(Image.fromarray(pixels), kind, icc_profile=made)
        written = codec.save(codec.load(data), None, [])
        assert "color profile" in (written.note or "")
        assert "icc_profile" not in Image.open(io.BytesIO(written.data)).info
        assert codec.find_leaks(written.data) == []


@pytest.mark.parametrize("count", [1025, 4096, 47_000])
def test_long_curves_are_resampled(count: int) -> None:
    long = curve(np.linspace(0, 1, count) ** 2.2 * 65535)
    rebuilt = rebuild_profile(with_tags(**three(long)))
    assert rebuilt is not None
    assert len(rebuilt) < 3000
    assert rebuild_profile(rebuilt) == rebuilt
    expected = rebuild_profile(with_tags(**three(curve(GAMMA))))
    pixels = samples.photo()
    assert expected is not None
    assert np.abs(render(pixels, rebuilt).astype(int) - render(pixels, expected)).max() <= 1


def test_curves_that_cannot_be_resampled_drop_the_profile() -> None:
    steps = curve(np.repeat(np.arange(0, 65536, 4369), 300))
    assert rebuild_profile(with_tags(**three(steps))) is None


@pytest.mark.parametrize("name", ["A2B0", "B2A1", "D2B0", "gamt", "pre0"])
@pytest.mark.parametrize("kind", [b"mft1", b"mft2", b"mAB ", b"mBA ", b"mpet"])
def test_tables_of_rgb_profiles_are_dropped(name: str, kind: bytes) -> None:
    payload = kind + samples.jpeg()
    clean, dirty = rebuild_profile(profile()), rebuild_profile(with_tags(**{name: payload}))
    assert clean is not None
    assert dirty == clean


def press(grid: int = 9, hidden: float = 0, entries: int = 256, wide: bool = True) -> bytes:
    """A profile of CMYK with a table of plausible colors, in which a photo may be hidden."""
    axis = np.linspace(0, 1, grid)
    c, m, y, k = np.meshgrid(*[axis] * 4, indexing="ij")
    light = (1 - 0.5 * c) * (1 - 0.5 * m) * (1 - 0.1 * y) * (1 - 0.9 * k)
    tones = [light, 0.5 + (0.3 * m - 0.15 * c) * (1 - k), 0.5 + (0.35 * y - 0.15 * c) * (1 - k)]
    table = np.stack(tones, axis=-1)
    photo = samples.photo(grid * grid, grid * grid, 0).reshape((grid,) * 4) / 255
    table = table * (1 - hidden) + hidden * photo.swapaxes(1, 2)[..., None]
    kind, top = (">u2", 65535) if wide else ("u1", 255)
    steps = (np.linspace(0, 1, entries if wide else 256) * top).astype(kind).tobytes()
    head = (b"mft2" if wide else b"mft1") + b"\0\0\0\0\4\3" + bytes([grid, 0])
    head += struct.pack(">9I", *(0x10000 * (n % 4 == 0) for n in range(9)))
    head += struct.pack(">HH", entries, entries) if wide else b""
    data = head + steps * 4 + (table * top).astype(kind).tobytes() + steps * 3
    return with_tags(b"CMYK", A2B0=data, B2A0=data + samples.jpeg(), A2B1=data)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("grid", [5, 9, 13, 17])
def test_a_smooth_table_of_a_cmyk_profile_is_kept_alone(grid: int, wide: bool) -> None:
    made = press(grid, wide=wide)
    rebuilt = rebuild_profile(made)
    assert rebuilt is not None
    assert rebuild_profile(rebuilt) == rebuilt
    assert samples.jpeg()[:40] not in rebuilt
    assert len(rebuilt) < 520_000
    pixels = samples.photo(channels=4)
    np.testing.assert_array_equal(render(pixels, rebuilt), _shown(pixels, made))


def _shown(pixels: samples.Array, made: bytes) -> samples.Array:
    image = Image.frombytes("CMYK", pixels.shape[1::-1], pixels.tobytes())
    opened = ImageCms.ImageCmsProfile(io.BytesIO(made))
    shown = ImageCms.profileToProfile(
        image, opened, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return np.array(shown)


@pytest.mark.parametrize("grid", [5, 9, 13, 17])
def test_a_photo_in_a_table_of_a_cmyk_profile_drops_it(grid: int) -> None:
    assert rebuild_profile(press(grid, hidden=0.5)) is None


def test_tables_of_other_sizes_drop_a_cmyk_profile() -> None:
    assert rebuild_profile(press(entries=2000)) is None
    assert rebuild_profile(press(18)) is None
    assert rebuild_profile(press()[:-2000]) is None


def lifted(first: int, last: int) -> bytes:
    """A curve by which the levels between two fill the whole range."""
    rising = np.clip((np.arange(256) - first) / (last - first), 0, 1)
    return curve(rising**2.2 * 65535)


@pytest.mark.parametrize(("first", "last"), [(0, 8), (239, 255), (100, 120), (20, 90)])
@pytest.mark.parametrize("space", [b"RGB ", b"GRAY"])
def test_what_only_a_profile_shows_is_an_appearance(first: int, last: int, space: bytes) -> None:
    photo = samples.photo(channels=0)
    faint = (first + photo.astype(int) * (last - first) // 255).astype(np.uint8)
    data = lifted(first, last)
    made = with_tags(space, **(three(data) if space == b"RGB " else {"kTRC": data}))
    for pixels, kind in ((faint, "PNG"), (np.repeat(faint[..., None], 3, axis=2), "TIFF")):
        if kind == "TIFF" and space == b"GRAY":
            continue
        picture = codec.load(samples.encoded(Image.fromarray(pixels), kind, icc_profile=made))
        assert picture.metadata.icc is not None
        contrast = [float(image.std()) for image in codec.appearances(picture)]
        assert max(contrast) > 0.8 * photo.std()


def test_channels_that_a_profile_exchanges_are_an_appearance() -> None:
    made = profile()
    count = struct.unpack_from(">I", made, 128)[0]
    found = [struct.unpack_from(">4sII", made, 132 + 12 * index) for index in range(count)]
    tags = {name: made[at : at + size] for name, at, size in found}
    turned = with_tags(rXYZ=tags[b"bXYZ"], bXYZ=tags[b"rXYZ"])
    photo = samples.photo()
    picture = codec.load(samples.encoded(Image.fromarray(photo), "PNG", icc_profile=turned))
    shown = codec.appearances(picture)
    assert min(np.abs(image.astype(int) - photo[..., ::-1]).mean() for image in shown) < 2


def power(exponent: float) -> bytes:
    return b"curv\0\0\0\0\0\0\0\1" + struct.pack(">HH", round(exponent * 256), 0)


def primaries(*columns: tuple[float, float, float]) -> dict[str, bytes]:
    names = ("rXYZ", "gXYZ", "bXYZ")
    return {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in column))
        for name, column in zip(names, columns, strict=True)
    }


P3 = primaries((0.515, 0.241, -0.001), (0.292, 0.692, 0.042), (0.157, 0.067, 0.784))
ADOBE = primaries((0.610, 0.311, 0.019), (0.205, 0.626, 0.061), (0.149, 0.063, 0.745))
PROPHOTO = primaries((0.798, 0.288, 0), (0.135, 0.712, 0), (0.031, 0, 0.825))
COMMON = {
    "sRGB": {},
    "sRGB as a table": three(curve(GAMMA)),
    "Display P3": P3,
    "Adobe RGB": ADOBE | three(power(2.2)),
    "ProPhoto RGB": PROPHOTO | three(power(1.8)),
    **{f"exponent {value}": three(power(value)) for value in (1.8, 2.0, 2.2, 2.4, 2.6)},
}


@pytest.mark.parametrize("name", COMMON)
def test_common_color_spaces_have_one_appearance(name: str) -> None:
    made = with_tags(**COMMON[name])
    picture = codec.load(samples.encoded(Image.fromarray(samples.photo()), "PNG", icc_profile=made))
    assert picture.metadata.icc is not None
    assert len(codec.appearances(picture)) == 1


@pytest.mark.parametrize("exponent", [1.8, 2.2, 2.6])
def test_common_gray_profiles_have_one_appearance(exponent: float) -> None:
    made = with_tags(b"GRAY", kTRC=power(exponent))
    gray = Image.fromarray(samples.photo(channels=0))
    picture = codec.load(samples.encoded(gray, "PNG", icc_profile=made))
    assert picture.metadata.icc is not None
    assert len(codec.appearances(picture)) == 1


def test_profiles_of_other_colors_than_the_pixels_are_dropped() -> None:
    gray, color = with_tags(b"GRAY", kTRC=power(2.2)), with_tags()
    for made, pixels, mode in (
        (gray, samples.photo(), "RGB"),
        (press(), samples.photo(), "RGB"),
        (color, samples.photo(channels=4), "CMYK"),
        (gray, samples.photo(channels=4), "CMYK"),
    ):
        image = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
        picture = codec.load(samples.encoded(image, "TIFF", icc_profile=made))
        assert picture.metadata.icc is None
        assert "color profile" in (picture.note or "")


def test_a_cmyk_profile_is_an_appearance() -> None:
    pixels = samples.photo(channels=4)
    image = Image.frombytes("CMYK", pixels.shape[1::-1], pixels.tobytes())
    picture = codec.load(samples.encoded(image, "TIFF", icc_profile=press()))
    expected = _shown(pixels, press())
    assert any(np.array_equal(image, expected) for image in codec.appearances(picture))


def test_pages_with_different_profiles_withhold() -> None:
    first, second = (Image.fromarray(samples.photo(seed=seed)) for seed in range(2))
    second.encoderinfo = {"icc_profile": with_tags(**three(power(2.2)))}
    data = samples.encoded(
        first, "TIFF", save_all=True, append_images=[second], icc_profile=with_tags()
    )
    with pytest.raises(WithheldError, match="profiles"):
        codec.load(data)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (b"gAMA", (5_000_000).to_bytes(4, "big")),
        (b"gAMA", (1).to_bytes(4, "big")),
        (b"cHRM", b"\xff\xd8\xff\xe0" * 8),
        # Red is as white as white: only the red channel is shown, as gray.
        (b"cHRM", struct.pack(">8I", *(31270, 32900) * 2, 30000, 60000, 15000, 6000)),
        (b"sRGB", b"\xff"),
        (b"cICP", bytes([1, 16, 0, 1])),
        (b"cICP", bytes([10, 13, 0, 1])),
        (b"cICP", bytes([1, 13, 1, 1])),
    ],
)
def test_unusual_color_chunks_are_dropped(kind: bytes, payload: bytes) -> None:
    data = samples.png(samples.photo(), ((kind, payload),))
    assert codec.find_leaks(data)
    written = codec.save(codec.load(data), None, [])
    assert kind not in written.data
    assert "color chunks" in str(written.note)
    usual = samples.png(samples.photo(), ((b"gAMA", (45455).to_bytes(4, "big")),))
    kept = codec.save(codec.load(usual), None, [])
    assert b"gAMA" in kept.data
    assert kept.note is None


@pytest.mark.parametrize(
    "values",
    [
        (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),  # sRGB
        (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600),  # BT.2020
        (34567, 35850, 73470, 26530, 15960, 84040, 3660, 10),  # ProPhoto
    ],
)
def test_primaries_of_displays_are_kept(values: tuple[int, ...]) -> None:
    data = samples.png(samples.photo(), ((b"cHRM", struct.pack(">8I", *values)),))
    assert b"cHRM" in codec.save(codec.load(data), None, []).data
