from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.core.errors import UsageError
from curate.impact.models.preprocess import MEAN, STD, Preprocess, parse_preprocess
from curate.impact.models.request import parse_request
from tests.detectors.pictures import astronaut

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "range": 255.0}
SIDES = st.integers(1, 400)


def image(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:height, :width])


def cropped_by_hand(pixels: np.ndarray, resize: int, size: int) -> np.ndarray:
    """What torchvision does: resize the shorter side, then crop whole pixels at the center."""
    height, width = pixels.shape[:2]
    if width <= height:
        target = (resize, int(resize * height / width))
    else:
        target = (int(resize * width / height), resize)
    whole = Image.fromarray(pixels).resize(target, Image.Resampling.BILINEAR)
    left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return np.asarray(whole.crop((left, top, left + size, top + size)), dtype=np.float32)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (512, 201), (90, 90), (40, 300)])
def test_window_equals_resize_and_crop(height: int, width: int) -> None:
    preprocess = Preprocess(height=64, width=64, resize=72, **PLAIN)
    found = preprocess.apply(image(height, width)).transpose(1, 2, 0)
    wanted = cropped_by_hand(image(height, width), 72, 64)
    assert np.abs(found - wanted).max() <= 1  # rounding between the two passes


@given(height=SIDES, width=SIDES, fit=st.sampled_from(["shorter", "crop", "stretch"]))
def test_the_window_lies_in_the_image(height: int, width: int, fit: str) -> None:
    preprocess = Preprocess(height=64, width=64, resize=72, fit=fit)
    x0, y0, x1, y1 = preprocess.window(width, height)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    if fit != "stretch":
        assert (x1 - x0) == pytest.approx(y1 - y0, rel=0.02, abs=0.01)
        pixel = max(1, min(height, width) / 72)  # of the resized image, of which half are cropped
        assert (x0 + x1) / 2 == pytest.approx(width / 2, abs=pixel)


def test_a_very_long_image_takes_no_more_memory_than_its_pixels() -> None:
    long = np.zeros((1, 300_000, 3), dtype=np.uint8)
    assert Preprocess().apply(long).shape == (3, 224, 224)


def test_range_mean_std_and_channel_order() -> None:
    one = np.full((9, 9, 3), [255, 0, 51], dtype=np.uint8)
    small = {"height": 4, "width": 4, "resize": 4}
    usual = Preprocess(**small).apply(one)[:, 0, 0]
    expected = (np.array([1.0, 0.0, 0.2]) - MEAN) / STD
    assert usual == pytest.approx(expected, abs=1e-5)
    swapped = Preprocess(
        **small, order="bgr", range=255.0, mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0)
    ).apply(one)[:, 0, 0]
    assert swapped == pytest.approx([25.0, -1.0, 126.0])


def test_stretching_shows_all_of_the_image() -> None:
    assert parse_preprocess({"fit": "stretch", "size": "32"}).window(90, 30) == (0, 0, 90, 30)
    part = parse_preprocess({"fit": "stretch", "size": "32", "resize": "64"})
    assert part.window(90, 30) == (22.5, 7.5, 67.5, 22.5)


def test_defaults_are_imagenets() -> None:
    assert parse_preprocess({}) == Preprocess()
    assert parse_preprocess({"size": "299"}).resize == 342
    found = parse_preprocess({"size": "100x200", "mean": "0.5", "std": "1/2/3"})
    assert (found.height, found.width, found.resize) == (100, 200, 229)
    assert found.mean == (0.5, 0.5, 0.5)
    assert found.std == (1.0, 2.0, 3.0)
    assert found.to_dict()["std"] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"fit": "pad"}, "fit cannot be 'pad'; choose one of: shorter"),
        ({"size": "5000"}, "size must be 1 to 4096"),
        ({"std": "1/1/0"}, "std must be above 0"),
        ({"mean": "inf"}, "must be numbers"),
        ({"mean": "1/2/3/4"}, "is not valid"),
        ({"size": "10x20x30"}, "is not valid"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, str], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        parse_preprocess(settings)


def test_specification_is_parsed() -> None:
    request = parse_request("onnx:/home/me/a,b=.onnx,size=96,mean=0.5/0.5/0.5")
    assert (request.kind, request.what) == ("onnx", "/home/me/a")
    assert dict(request.settings) == {"b": ".onnx", "size": "96", "mean": "0.5/0.5/0.5"}
    other = parse_request("onnx:/home/me/a,1.onnx,size=96")
    assert (other.what, other.public_spec) == ("/home/me/a,1.onnx", "onnx:a,1.onnx,size=96")
    assert parse_request("python:a.b:c").what == "a.b:c"
    assert parse_request("hf:owner/name").public_spec == "hf:owner/name"
