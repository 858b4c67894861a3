from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curate.core.errors import CurateError, DataError, UsageError, WithheldError
from curate.core.faces import Detection, Face
from curate.core.geometry import Box
from curate.obfuscators.apply import obfuscate
from curate.obfuscators.diffuse import Diffuse
from curate.obfuscators.imagenet import ImageNet
from tests.obfuscators.pictures import noise, regions_of


def test_faces_may_be_faces_boxes_or_numbers() -> None:
    image = noise((60, 80, 3))
    box = Box(20, 10, 50, 45)
    expected = Diffuse().apply(image, regions_of([box], 80, 60))
    claim = Detection(box, 0.5, "centerface")
    numbers = [(20, 10, 50, 45), [20.0, 10, 50, 45], np.array(box.xyxy)]
    faces: list[Any] = [Face(box), claim, box, *numbers]
    for face in faces:
        assert np.array_equal(obfuscate(image, [face]), expected)


def test_faces_may_be_an_array() -> None:
    image = noise((60, 80))
    boxes = np.array([[5, 5, 20, 25], [40, 10, 60, 40]])
    expected = obfuscate(image, [Box(5, 5, 20, 25), Box(40, 10, 60, 40)])
    assert np.array_equal(obfuscate(image, boxes), expected)


def test_margin_and_options_reach_the_method() -> None:
    image = noise((60, 80, 3))
    output = obfuscate(image, [(20, 10, 50, 40)], "fill", margin=0, color="0")
    assert (output[10:40, 20:50] == 0).all()
    assert np.array_equal(output[:, :20], image[:, :20])


def test_each_method_has_its_own_margin() -> None:
    image = noise((60, 80, 3))
    expected = ImageNet().apply(image, regions_of([Box(20, 10, 50, 40)], 80, 60, margin=0.1))
    assert np.array_equal(obfuscate(image, [(20, 10, 50, 40)], "imagenet"), expected)


def test_no_face_gives_an_equal_copy() -> None:
    image = noise((60, 80, 3))
    output = obfuscate(image, [])
    assert np.array_equal(output, image)
    assert output is not image


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"image": [[1, 2], [3, 4]]}, UsageError, "give a NumPy array"),
        ({"image": np.zeros(5, np.uint8)}, UsageError, "give H×W or H×W×C"),
        ({"image": np.zeros((60, 80, 3))}, WithheldError, "float64"),
        ({"faces": [(1, 2, 3)]}, UsageError, "cannot be read"),
        ({"faces": [None]}, UsageError, "cannot be read"),
        ({"faces": (20, 10, 50, 40)}, UsageError, "cannot be read"),
        ({"faces": [(50, 10, 20, 40)]}, DataError, "corners reversed"),
        ({"faces": [(20, 10, float("nan"), 40)]}, DataError, "not a finite number"),
        ({"faces": [(200, 10, 240, 40)]}, WithheldError, "covers no pixel"),
        ({"margin": -0.1}, UsageError, "margin cannot be -0.1"),
        ({"margin": float("nan")}, UsageError, "margin cannot be nan"),
        ({"margin": "wide"}, UsageError, "margin cannot be 'wide'"),
        ({"method": "pixelate"}, UsageError, "choose one of: diffuse"),
        ({"strength": 9}, UsageError, "no option 'strength'"),
    ],
)
def test_invalid_arguments_raise(
    change: dict[str, Any], kind: type[CurateError], message: str
) -> None:
    arguments: dict[str, Any] = {"image": noise((60, 80, 3)), "faces": [(20, 10, 50, 40)]}
    with pytest.raises(kind, match=message):
        obfuscate(**(arguments | change))


@pytest.mark.parametrize("faces", [None, "1234", 5, ["1234"], [b"1234"]])
def test_invalid_faces_raise(faces: Any) -> None:
    with pytest.raises(UsageError, match="face"):
        obfuscate(noise((60, 80, 3)), faces)


def test_the_margin_may_be_any_real_number() -> None:
    image = noise((60, 80, 3))
    face = [(20, 10, 50, 45)]
    expected = obfuscate(image, face, margin=0.25)
    assert np.array_equal(obfuscate(image, face, margin=np.float32(0.25)), expected)
