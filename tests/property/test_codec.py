"""Properties of the codec over random boxes, sizes and contents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import codec
from curate.codec.gif.blocks import parse_gif, walk_codes
from curate.codec.jpeg.coefficients import forward, inverse
from curate.codec.metadata.allow_list import KEEPABLE, rebuild_exif
from curate.codec.metadata.exif import parse_exif
from curate.codec.metadata.icc import rebuild_profile
from curate.codec.png.chunks import deflate, is_exact
from curate.core.entries import Route
from curate.core.geometry import Box
from tests.codec import samples

QUICK = settings(max_examples=25, deadline=None)
KINDS = ["jpeg-420", "jpeg-422", "jpeg-440", "jpeg-411", "jpeg-444", "jpeg-gray", "jpeg-odd-size"]


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int) -> list[Box]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        found.append(Box(x0, y0, x1, y1))
    return found


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_only_blocks_near_a_box_change(kind: str, data: st.DataObject) -> None:
    picture = codec.load(samples.SAMPLES[kind]())
    touched = data.draw(boxes(picture.width, picture.height))
    seed = data.draw(st.integers(0, 2**32 - 1))
    fill = np.random.default_rng(seed).integers(0, 256, picture.frames[0].shape, dtype=np.uint8)
    final = picture.frames[0].copy()
    for box in touched:
        final[box.slices] = fill[box.slices]
    written = codec.save(picture, [final], [touched])
    assert written.route is Route.SPLICED
    assert codec.find_leaks(written.data) == []
    again = codec.load(written.data)
    far = np.ones(final.shape[:2], bool)
    for box in touched:
        rows = slice(max(int(box.y0) - 17, 0), int(box.y1) + 17)
        far[rows, max(int(box.x0) - 33, 0) : int(box.x1) + 33] = False
    np.testing.assert_array_equal(again.frames[0][far], final[far])


@QUICK
@given(seed=st.integers(0, 2**32 - 1), quality=st.integers(1, 100))
def test_coefficients_of_shown_samples_come_back(seed: int, quality: int) -> None:
    rng = np.random.default_rng(seed)
    step = max(1, 100 - quality)
    table = rng.integers(step, step + 9, 64).astype(np.float64)
    low = np.zeros((9, 64), np.int16)
    low[:, 0] = rng.integers(-400 // step, 400 // step + 1, 9)
    low[:, [1, 8, 9]] = rng.integers(-60 // step, 60 // step + 1, (9, 3))
    samples_shown = inverse(low, table)
    if (samples_shown > 0).all() and (samples_shown < 255).all() and step > 6:
        np.testing.assert_array_equal(forward(samples_shown, table), low)


@QUICK
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    channels=st.sampled_from([0, 2, 3, 4]),
    deep=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_png_frame_comes_back(
    width: int, height: int, channels: int, deep: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width, channels) if channels else (height, width)
    kind = np.uint16 if deep else np.uint8
    frame = rng.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    picture = codec.load(samples.png(frame))
    np.testing.assert_array_equal(picture.frames[0], frame)
    size = height * (1 + width * max(channels, 1) * kind().itemsize)
    assert is_exact(deflate(frame), size)


@QUICK
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    colors=st.integers(1, 256),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_gif_code_is_followed(width: int, height: int, colors: int, seed: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(seed)
    indices = rng.integers(0, colors, (height, width), dtype=np.uint8)
    data = samples.encoded(Image.fromarray(indices), "GIF", optimize=False)
    exact, used = walk_codes(parse_gif(data).images[0])
    assert exact
    assert used == set(np.unique(indices).tolist())


@QUICK
@given(
    block=st.binary(max_size=300), head=st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"])
)
def test_any_exif_is_rebuilt_to_a_fixed_point(block: bytes, head: bytes) -> None:
    for keep in (frozenset[str](), frozenset(KEEPABLE)):
        rebuilt = rebuild_exif(parse_exif(head + block), keep)
        if rebuilt is not None:
            assert rebuild_exif(parse_exif(rebuilt), keep) == rebuilt


@QUICK
@given(data=st.data())
def test_any_damaged_profile_is_dropped_or_rebuilt_to_a_fixed_point(data: st.DataObject) -> None:
    from tests.codec.test_icc import profile

    damaged = bytearray(profile(private=b"secret of the owner"))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    rebuilt = rebuild_profile(bytes(damaged))
    if rebuilt is not None:
        assert b"secret" not in rebuilt
        assert rebuild_profile(rebuilt) == rebuilt
