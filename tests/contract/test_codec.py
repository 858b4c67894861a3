"""What every kind of file may expect of the codec."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec.decoding import MAX_FRAMES
from curate.core.entries import Route
from curate.core.errors import UsageError, WithheldError
from curate.core.geometry import Box
from tests.codec import samples
from tests.codec.samples import SAMPLES, changed

CODES = {"empty", "unreadable", "unsupported", "truncated", "corrupt", "bomb", "frames"}
LOSSY = {"jpeg-cmyk", "webp-lossy", "webp-lossy-alpha"}


@pytest.fixture(scope="module", params=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> tuple[str, bytes, codec.Picture]:
    data = SAMPLES[request.param]()
    return request.param, data, codec.load(data)


def load_or_none(data: bytes) -> codec.Picture | None:
    """A picture, or None where the file is withheld for a reason of the list."""
    try:
        return codec.load(data, codec.CodecOptions(max_pixels=1_000_000))
    except WithheldError as error:
        if error.code in CODES and "\n" not in error.detail:
            return None
        raise


Sample = tuple[str, bytes, codec.Picture]


def test_frames_are_what_an_obfuscator_edits(sample: Sample) -> None:
    name, _, picture = sample
    assert picture.format == codec.sniff(sample[1])
    assert picture.frames[0].shape[:2] == (picture.height, picture.width)
    assert len(picture.frames) > 1 or "animated" not in name
    for frame in picture.frames:
        assert frame.dtype in (np.uint8, np.uint16)
        assert frame.ndim in (2, 3)
        assert frame.flags.c_contiguous
        assert frame.flags.writeable


def test_every_frame_renders_as_rgb(sample: Sample) -> None:
    _, _, picture = sample
    for index, frame in enumerate(picture.frames):
        seen = codec.upright_rgb(picture, index)
        assert seen.shape == (*frame.shape[:2], 3)
        assert seen.dtype == np.uint8
        assert seen.flags.c_contiguous
        assert seen.std() > 3 or seen.size < 100


def test_an_unchanged_file_keeps_every_pixel(sample: Sample) -> None:
    _, _, picture = sample
    written = codec.save(picture, None, [[] for _ in picture.frames])
    again = codec.load(written.data)
    assert written.route in (Route.COPIED, Route.LOSSLESS)
    assert again.mode == picture.mode or picture.format == "PNG"
    for before, after in zip(picture.frames, again.frames, strict=True):
        np.testing.assert_array_equal(before, after)


def test_untouched_frames_count_as_unchanged(sample: Sample) -> None:
    _, _, picture = sample
    untouched = [[] for _ in picture.frames]
    same = codec.save(picture, picture.frames, untouched)
    assert same == codec.save(picture, None, untouched)


def test_a_changed_file_keeps_its_pixels_outside_the_boxes(sample: Sample) -> None:
    name, _, picture = sample
    frames, touched = changed(picture)
    written = codec.save(picture, frames, touched)
    again = codec.load(written.data)
    assert again.format == picture.format
    assert (written.route is Route.REENCODED) == (name in LOSSY)
    for new, boxes, after in zip(frames, touched, again.frames, strict=True):
        assert after.shape == new.shape
        if written.route is Route.LOSSLESS and picture.format != "GIF":
            np.testing.assert_array_equal(after, new)
        elif written.route is Route.LOSSLESS:
            outside = np.ones(new.shape[:2], bool)
            outside[boxes[0].slices] = False
            np.testing.assert_array_equal(after[outside], new[outside])
        inside = boxes[0].slices
        assert np.abs(after[inside].astype(int) - new[inside]).mean() < 12


def test_nothing_leaks_from_what_was_written(sample: Sample) -> None:
    _, _, picture = sample
    frames, touched = changed(picture)
    for written in (codec.save(picture, None, []), codec.save(picture, frames, touched)):
        assert codec.find_leaks(written.data) == []


def test_writing_is_deterministic_and_leaves_its_input_alone(sample: Sample) -> None:
    _, data, picture = sample
    frames, touched = changed(picture)
    copies = [frame.copy() for frame in frames]
    first = codec.save(picture, frames, touched)
    assert first == codec.save(codec.load(data), frames, touched)
    for frame, copy in zip(frames, copies, strict=True):
        np.testing.assert_array_equal(frame, copy)


def test_copying_an_output_is_idempotent(sample: Sample) -> None:
    _, _, picture = sample
    once = codec.save(picture, None, [])
    assert codec.save(codec.load(once.data), None, []).data == once.data


def test_an_image_made_from_another_is_upright_clean_and_always_the_same(sample: Sample) -> None:
    _, _, picture = sample
    image = codec.upright_rgb(picture)
    before = image.copy()
    data = codec.encode_rgb(image, picture.format)
    assert data == codec.encode_rgb(np.asfortranarray(image), picture.format)
    np.testing.assert_array_equal(image, before)
    made = codec.load(data)
    assert made.format == ("JPEG" if picture.format == "JPEG" else "PNG")
    assert made.orientation == 1
    assert (made.metadata.exif, made.metadata.icc) == (None, None)
    assert codec.find_leaks(data) == []
    assert codec.save(made, None, []).data == data
    if made.format == "PNG":
        np.testing.assert_array_equal(made.frames[0], image)
        assert codec.suffix_of_rgb(picture.format) == ".png"
    else:
        assert np.abs(made.frames[0].astype(int) - image).mean() < 3
        assert codec.suffix_of_rgb(picture.format) == ".jpg"


def test_an_image_too_long_for_a_jpeg_is_withheld() -> None:
    with pytest.raises(WithheldError, match="65535"):
        codec.encode_rgb(np.zeros((1, 65536, 3), np.uint8), "JPEG")


def test_a_file_cut_anywhere_is_withheld(sample: Sample) -> None:
    _, data, _ = sample
    for share in (0.02, 0.3, 0.6, 0.9):
        with pytest.raises(WithheldError) as caught:
            codec.load(data[: int(len(data) * share)])
        assert caught.value.code in CODES


def test_the_size_is_checked_before_anything_is_decoded(sample: Sample) -> None:
    _, data, picture = sample
    pixels = sum(frame.shape[0] * frame.shape[1] for frame in picture.frames)
    limit = pixels if len(picture.frames) == 1 else 2 * pixels  # frames are in memory at once
    codec.load(data, codec.CodecOptions(max_pixels=limit))
    with pytest.raises(WithheldError, match=r"bomb.*--max-pixels"):
        codec.load(data, codec.CodecOptions(max_pixels=limit - 1))


def test_trailing_bytes_are_dropped_and_reported(sample: Sample) -> None:
    _, _, picture = sample
    written = codec.save(picture, None, []).data
    longer = written + b"tail of something else"
    assert codec.find_leaks(longer) != []
    again = codec.save(codec.load(longer), None, [])
    assert again.data == written


def test_random_damage_is_withheld_or_is_another_image(sample: Sample) -> None:
    _, data, _ = sample
    rng = np.random.default_rng(5)
    for _ in range(12):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        picture = load_or_none(bytes(damaged))
        if picture is not None:
            codec.save(picture, *changed(picture))


def test_frames_that_do_not_fit_are_refused() -> None:
    picture = codec.load(SAMPLES["png-rgb"]())
    boxes = [[Box(0, 0, 4, 4)]]
    with pytest.raises(UsageError, match="shape"):
        codec.save(picture, [picture.frames[0][:-1]], boxes)
    with pytest.raises(UsageError, match="shape"):
        codec.save(picture, [picture.frames[0].astype(np.uint16)], boxes)
    with pytest.raises(UsageError, match="1 frames"):
        codec.save(picture, [*picture.frames, *picture.frames], boxes * 2)


def hidden_in_indices(kind: str) -> bytes:
    """A palette image of one color whose indices draw a picture."""
    palette = np.full((256, 3), 77, np.uint8)
    image = Image.fromarray(samples.photo(40, 30, 0), "P")
    image.putpalette(palette.tobytes())
    options: dict[str, Any] = {"optimize": False} if kind == "GIF" else {}
    if kind == "GIF-transparent":
        options = {"optimize": False, "transparency": 255}
    if kind == "GIF-local":
        options = {"optimize": False, "save_all": True, "append_images": [image.rotate(180)]}
    if kind == "PNG-alpha":
        options = {"transparency": bytes([255] * 256)}
    return samples.encoded(image, kind.split("-")[0], **options)


@pytest.mark.parametrize(
    "kind", ["PNG", "PNG-alpha", "BMP", "TIFF", "GIF", "GIF-transparent", "GIF-local"]
)
def test_indices_of_equal_colors_cannot_hide_a_picture(kind: str) -> None:
    data = hidden_in_indices(kind)
    picture = codec.load(data)
    written = codec.save(picture, None, [])
    assert written.route is not Route.COPIED
    assert codec.find_leaks(written.data) == []
    assert codec.digest_pixels(codec.load(written.data)) == codec.digest_pixels(picture)
    with Image.open(io.BytesIO(written.data)) as image:
        if image.mode == "P":
            assert len(np.unique(np.array(image))) <= 2
    if kind not in ("TIFF", "PNG-alpha"):
        assert codec.find_leaks(data)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_too_many_frames_withhold_the_file(kind: str) -> None:
    first, *rest = [Image.new("L", (1, 1), index % 251) for index in range(MAX_FRAMES + 1)]
    if kind in ("PNG", "WEBP"):
        first, rest = first.convert("RGB"), [image.convert("RGB") for image in rest]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = samples.encoded(first, kind, save_all=True, append_images=rest, duration=40, **options)
    with pytest.raises(WithheldError, match=r"1,001 frames; the limit is 1,000"):
        codec.load(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"not an image", "unreadable"),
        (b"\0\0\0\x20ftypavif" + b"\0" * 40, "unsupported"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "unsupported"),
        (b"\0\0\1\0\1\0" + b"\0" * 40, "unsupported"),
        (b"\0\0\0\x18ftypmsf1" + b"\0" * 40, "unsupported"),
        (b"\xff\x0a" + b"\0" * 40, "unsupported"),  # JPEG XL
        (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 40, "unsupported"),
        (b"P6\n# text\n2 2\n255\n" + b"\0" * 12, "unsupported"),
        (b"P7\nWIDTH 2\nHEIGHT 2\n" + b"\0" * 12, "unsupported"),
        (b"P6 is a road, and P2 another", "unreadable"),
        (b"DDS data in a text", "unreadable"),
        (b"\xff\xd8\xff", "truncated"),
    ],
)
def test_non_images_are_withheld(data: bytes, code: str) -> None:
    with pytest.raises(WithheldError) as caught:
        codec.load(data)
    assert caught.value.code == code


def test_unknown_metadata_names_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="gps"):
        codec.CodecOptions(keep_metadata=frozenset({"thumbnail"}))


@pytest.mark.data
@pytest.mark.slow
def test_odd_files_are_withheld_or_come_out_clean(
    shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen, edges = dict.fromkeys(["written", *CODES], 0), 0
    for path in sorted((shared_data / "tricky").rglob("*.*")):
        data = path.read_bytes()
        try:
            picture = codec.load(data)
        except WithheldError as error:
            seen[error.code] += 1
            continue
        written = [codec.save(picture, None, []), codec.save(picture, *changed(picture))]
        for result in written:
            assert codec.find_leaks(result.data) == [], path.name
            again = codec.load(result.data)
            assert again.orientation == picture.orientation, path.name
            assert [f.shape for f in again.frames] == [f.shape for f in picture.frames], path.name
        seen["written"] += 1
        if written[0].route is Route.REENCODED:  # pixels beyond the edges of a JPEG
            assert picture.format == "JPEG"
            edges += 1
            continue
        pairs = itertools.zip_longest(picture.frames, codec.load(written[0].data).frames)
        assert all(np.array_equal(before, after) for before, after in pairs), path.name
    assert seen["written"] > 150
    assert edges <= 4
    assert capfd.readouterr() == ("", "")
