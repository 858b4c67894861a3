from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from curate import codec
from curate.codec.jpeg.codec import _spliced, _with_ids
from curate.codec.jpeg.coefficients import (
    Coefficients,
    approximate_samples,
    block_shapes,
    forward,
    inverse,
    quantization_tables,
    read_coefficients,
    write_coefficients,
)
from curate.codec.jpeg.segments import FrameHeader, JpegStream, Segment, parse_jpeg
from curate.codec.jpeg.splice import Window, _sample_mask
from curate.core.entries import Route
from curate.core.geometry import Box
from tests.codec import samples

Array = npt.NDArray[np.uint8]

KINDS = [
    *(f"jpeg-{name}" for name in samples.SUBSAMPLINGS),
    "jpeg-odd-size",
    "jpeg-progressive",
    "jpeg-restart",
    "jpeg-gray",
    "jpeg-arithmetic",
    "jpeg-rgb",
]
BOXES = [Box(21, 18, 43, 40), Box(40, 30, 52, 49), Box(0, 0, 7, 5), Box(60, 44, 64, 48)]


def coefficients(data: bytes) -> tuple[list[Coefficients], FrameHeader]:
    stream = parse_jpeg(data)
    return read_coefficients(stream.to_bytes(), stream.frame), stream.frame


def met(frame: FrameHeader, index: int, boxes: list[Box]) -> npt.NDArray[np.bool_]:
    """Blocks of a component whose pixels meet a box."""
    across = 8 * max(c.h for c in frame.components) // frame.components[index].h
    down = 8 * max(c.v for c in frame.components) // frame.components[index].v
    mask = np.zeros(block_shapes(frame)[index], bool)
    for box in boxes:
        mask[
            int(box.y0) // down : -(-int(box.y1) // down),
            int(box.x0) // across : -(-int(box.x1) // across),
        ] = True
    return mask


def with_coefficients(stream: JpegStream, planes: list[Coefficients]) -> bytes:
    """The stream with other coefficients under its own tables."""
    written = parse_jpeg(write_coefficients(planes, stream.frame))
    tables = [segment for segment in stream.coded if segment.marker == 0xDB]
    header = next(s.payload for s in stream.coded if s.marker == stream.frame.marker)
    huffman = [s for s in written.coded if s.marker == 0xC4]
    scans = [_with_ids(s, stream) for s in written.coded if s.marker == 0xDA]
    coded = (*tables, Segment(0xC0, header), *huffman, *scans)
    return replace(stream, coded=coded).to_bytes()


def test_kept_samples_equal_decoded_samples() -> None:
    data = samples.gray_jpeg(96, 96, quality=60)
    (plane,), _ = coefficients(data)
    table = quantization_tables(parse_jpeg(data))[0]
    blocks = inverse(plane.reshape(-1, 64), table).reshape(12, 12, 8, 8)
    image = blocks.swapaxes(1, 2).reshape(96, 96)
    np.testing.assert_array_equal(image, codec.load(data).frames[0])


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_outside_the_boxes_keep_their_coefficients(kind: str) -> None:
    data = samples.SAMPLES[kind]()
    picture = codec.load(data)
    boxes = [box for box in BOXES if box.x1 <= picture.width and box.y1 <= picture.height]
    frame = picture.frames[0].copy()
    for box in boxes:
        frame[box.slices] = 255 - frame[box.slices]
    spliced = codec.save(picture, [frame], [boxes]).data
    before, header = coefficients(data)
    after, _ = coefficients(spliced)
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        touched = met(header, index, boxes)
        np.testing.assert_array_equal(old[~touched], new[~touched])
        assert (old[touched] != new[touched]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_pixel_further_than_a_block_away_changes(kind: str) -> None:
    picture = codec.load(samples.SAMPLES[kind]())
    box = Box(30, 20, 41, 33)
    frame = picture.frames[0].copy()
    frame[box.slices] = 255 - frame[box.slices]
    after = codec.load(codec.save(picture, [frame], [[box]]).data).frames[0]
    far = np.ones(frame.shape[:2], bool)
    far[20 - 16 : 33 + 16, max(30 - 32, 0) : 41 + 32] = False
    np.testing.assert_array_equal(after[far], frame[far])
    assert np.abs(after[box.slices].astype(int) - frame[box.slices]).mean() < 20


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "jpeg-gray"])
def test_sources_that_differ_only_inside_give_the_same_bytes(kind: str) -> None:
    """Blocks strictly inside the box get other coefficients; the outputs must not tell."""
    stream = parse_jpeg(samples.SAMPLES[kind]())
    picture = codec.load(stream.to_bytes())
    box = Box(3, 2, 83, 61)
    if box.x1 > picture.width or box.y1 > picture.height:
        box = Box(3, 2, 64, 48)
    planes = read_coefficients(stream.to_bytes(), stream.frame)
    rng = np.random.default_rng(4)
    changed = 0
    for index, plane in enumerate(planes):
        inner = Box(box.x0 + 2, box.y0 + 2, box.x1 - 2, box.y1 - 2)
        outside = _blocks_outside(stream.frame, index, inner)
        noise = rng.integers(-9, 10, plane.shape, dtype=np.int16)
        plane[~outside] += noise[~outside]
        changed += int((~outside).sum())
    assert changed > 4
    other = codec.load(with_coefficients(stream, planes))
    first, second = picture.frames[0].copy(), other.frames[0].copy()
    assert (first[box.slices] != second[box.slices]).mean() > 0.1
    first[box.slices] = second[box.slices] = 90
    np.testing.assert_array_equal(first, second)
    a = codec.save(picture, [first], [[box]]).data
    b = codec.save(other, [second], [[box]]).data
    assert a == b


def _blocks_outside(frame: FrameHeader, index: int, box: Box) -> npt.NDArray[np.bool_]:
    """Blocks of a component that reach out of a box."""
    across = 8 * max(c.h for c in frame.components) // frame.components[index].h
    down = 8 * max(c.v for c in frame.components) // frame.components[index].v
    rows, columns = np.indices(block_shapes(frame)[index])
    return (
        (columns * across < box.x0)
        | ((columns + 1) * across > box.x1)
        | (rows * down < box.y0)
        | ((rows + 1) * down > box.y1)
    )


def test_a_border_block_does_not_depend_on_old_samples_inside() -> None:
    """Inner samples of blocks across the border differ, the decoded pixels outside do not."""
    stream = parse_jpeg(samples.gray_jpeg(96, 96, quality=100))
    picture = codec.load(stream.to_bytes())
    box = Box(20, 20, 76, 76)
    table = quantization_tables(stream)[0]
    (plane,) = read_coefficients(stream.to_bytes(), stream.frame)
    other = plane.copy()
    inside = np.zeros((96, 96), bool)
    inside[box.slices] = True
    rng = np.random.default_rng(6)
    crossing = 0
    for row, column in np.ndindex(other.shape[:2]):
        part = inside[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].ravel()
        if not part.any() or part.all():
            continue
        shown = inverse(plane[row, column], table)[0]
        for _ in range(200):
            edited = shown.copy()
            edited[part] = np.clip(edited[part] + rng.integers(-40, 41, part.sum()), 0, 255)
            candidate = forward(edited, table)
            if np.array_equal(inverse(candidate, table)[0][~part], shown[~part]):
                other[row, column] = candidate
                crossing += 1
                break
    assert crossing > 5
    twin = codec.load(with_coefficients(stream, [other]))
    first, second = picture.frames[0].copy(), twin.frames[0].copy()
    assert (first[inside] != second[inside]).sum() > 30 * crossing // 2
    np.testing.assert_array_equal(first[~inside], second[~inside])
    first[inside] = second[inside] = 120
    assert codec.save(picture, [first], [[box]]).data == codec.save(twin, [second], [[box]]).data


@pytest.mark.parametrize("kind", ["jpeg-odd-size", "jpeg-411"])
def test_padding_beyond_the_edge_is_recomputed(kind: str) -> None:
    """An encoder fills the last blocks up with copies of the pixels at the edge."""
    stream = parse_jpeg(samples.SAMPLES[kind]())
    picture = codec.load(stream.to_bytes())
    box = Box(2, 2, picture.width, picture.height)
    planes = read_coefficients(stream.to_bytes(), stream.frame)
    for index, plane in enumerate(planes):
        inner = ~_blocks_outside(stream.frame, index, Box(6, 6, 10_000, 10_000))
        plane[inner] = plane[inner][:, ::-1] // 4
    twin = codec.load(with_coefficients(stream, planes))
    first, second = picture.frames[0].copy(), twin.frames[0].copy()
    first[box.slices] = second[box.slices] = 60
    np.testing.assert_array_equal(first, second)
    assert codec.save(picture, [first], [[box]]).data == codec.save(twin, [second], [[box]]).data


def test_new_blocks_do_not_depend_on_old_pixels_through_padding() -> None:
    """Only the given frame decides what is inside a box, whatever the source shows there."""
    picture = codec.load(samples.jpeg(subsampling="420"))
    box = Box(16, 16, 48, 48)
    frame = picture.frames[0].copy()
    frame[box.slices] = (10, 200, 60)
    shown = codec.load(codec.save(picture, [frame], [[box]]).data).frames[0]
    inner = shown[20:44, 20:44].astype(int)
    assert np.abs(inner - (10, 200, 60)).max() < 12


def test_the_result_does_not_depend_on_how_boxes_are_listed() -> None:
    picture = codec.load(samples.jpeg(200, 160))
    boxes = [Box(10, 10, 60, 50), Box(40, 30, 90, 80), Box(150, 100, 170, 130), Box(85, 10, 99, 70)]
    frame = picture.frames[0].copy()
    for box in boxes:
        frame[box.slices] = 128
    first = codec.save(picture, [frame], [boxes]).data
    assert codec.save(picture, [frame], [boxes[::-1]]).data == first
    assert codec.save(picture, [frame], [[*boxes, Box(20, 20, 30, 30)]]).data == first


def test_bands_of_a_large_box_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = codec.load(samples.jpeg(200, 160))
    frame = picture.frames[0].copy()
    box = Box(5, 5, 190, 150)
    frame[box.slices] = 255 - frame[box.slices]
    whole = codec.save(picture, [frame], [[box]]).data
    monkeypatch.setattr("curate.codec.jpeg.splice._BAND", 1)
    assert codec.save(picture, [frame], [[box]]).data == whole


def test_empty_boxes_and_boxes_outside_change_nothing() -> None:
    picture = codec.load(samples.jpeg())
    stream: JpegStream = picture.stored
    planes, _ = coefficients(stream.to_bytes())
    boxes = [Box(5, 5, 5, 20), Box(-30, -30, -2, -2), Box(500, 0, 600, 9)]
    spliced = _spliced(picture, picture.frames[0], boxes)
    assert spliced is not None
    after, _ = coefficients(spliced.to_bytes())
    for old, new in zip(planes, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    picture = codec.load(samples.jpeg())
    codec.save(picture, *samples.changed(picture))
    monkeypatch.delattr(os, "memfd_create")
    fallback = codec.save(picture, *samples.changed(picture))
    assert os.listdir(str(tmp_path)) == []  # noqa: PTH208
    monkeypatch.undo()
    assert fallback == codec.save(picture, *samples.changed(picture))


@pytest.mark.parametrize(
    ("fx", "apron", "kept_until", "made_until"), [(1, 0, 16, 32), (2, 1, 7, 17), (4, 2, 3, 9)]
)
def test_chroma_interpolated_into_a_box_is_recomputed(
    fx: int, apron: int, kept_until: int, made_until: int
) -> None:
    window = Window(0, 0, 64, 8 * fx, ((16, 0, 32, 8 * fx),))
    mask = _sample_mask((8, 64 // fx), window, fx, fx, (apron, apron))
    replaced = np.flatnonzero(mask.all(axis=0))
    assert (replaced[0], replaced[-1] + 1) == (kept_until, made_until)


def test_coefficients_of_another_picture_are_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """If jpeglib reads a stream otherwise than the detector's decoder, it is not spliced."""
    picture = codec.load(samples.jpeg())
    frames, touched = samples.changed(picture)

    def read_wrongly(data: bytes, frame: FrameHeader) -> list[Coefficients]:
        planes = read_coefficients(data, frame)
        planes[0][-1, -1, 0] += 3
        return planes

    monkeypatch.setattr("curate.codec.jpeg.codec.read_coefficients", read_wrongly)
    assert codec.save(picture, frames, touched).route is Route.REENCODED


def test_approximate_samples_are_within_one_level_and_flat_where_blocks_are() -> None:
    random = np.random.default_rng(5)
    table = random.integers(1, 100, 64).astype(np.float64)
    blocks = forward(random.integers(0, 256, (500, 64)).astype(np.float64), table)
    assert np.abs(approximate_samples(blocks, table) - inverse(blocks, table)).max() <= 1
    flat = np.zeros((400, 64), np.int16)
    flat[:, 0] = random.integers(-1023, 1024, 400)
    assert not np.ptp(approximate_samples(flat, table), axis=1).any()
