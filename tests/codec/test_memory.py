"""Memory per pixel of large images, as far as Python and NumPy take it."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from curate import codec
from curate.codec import decoding
from curate.codec.decoding import to_frame
from curate.core.entries import Route
from curate.core.geometry import Box

SIDE = 1536


def photo() -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(40, 215, (SIDE // 8, SIDE // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((SIDE, SIDE)))


def peak_of(work: Callable[[], object]) -> float:
    """Bytes per pixel that a call takes at its peak, besides what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / SIDE**2
    finally:
        tracemalloc.stop()


def test_a_splice_has_one_copy_of_the_coefficients() -> None:
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, "JPEG", quality=90, subsampling=0)
    picture = codec.load(file.getvalue())
    box = Box(400, 300, 500, 420)
    hidden = picture.frames[0].copy()
    hidden[box.slices] = 128
    codec.save(picture, [hidden], [[box]])  # tables that are made once
    made = []
    peak = peak_of(lambda: made.append(codec.save(picture, [hidden], [[box]])))
    assert made[0].route is Route.SPLICED
    assert peak < 10  # 6 of coefficients, and bands; more than 12 with a copy of them


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        *(("L", None), ("RGB", None), ("RGBA", None), ("CMYK", None), ("LAB", None), ("1", None)),
        *(("1", "L"), ("P", "RGB"), ("P", "RGBA"), ("RGB", "RGBA"), ("LA", None), ("I;16", None)),
    ],
)
@pytest.mark.parametrize("band", [1, 100, 1000, 1 << 20])
def test_pixels_are_the_same_in_bands(
    mode: str, wanted: str | None, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (37, 53, 4), np.uint8)
    if mode == "I;16":
        image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
    elif mode == "LAB":
        image = Image.frombytes("LAB", (53, 37), levels[..., :3].tobytes())
    elif mode == "CMYK":
        image = Image.fromarray(levels, "CMYK")
    else:
        image = Image.fromarray(levels).convert(mode)
    if (mode, wanted) == ("P", "RGBA"):
        image.info["transparency"] = bytes(range(256))
    expected = np.array(image if wanted is None else image.convert(wanted))
    monkeypatch.setattr(decoding, "_BAND", band)
    frame = to_frame(image, wanted)
    assert (frame.dtype, frame.shape) == (expected.dtype, expected.shape)
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    assert np.array_equal(frame, expected)


def test_pixels_are_not_copied_as_a_whole_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_BAND", 1 << 16)
    image = Image.fromarray(photo())
    assert peak_of(lambda: to_frame(image)) < 4  # 3 of the frame; 9 with Pillow's copies
