"""What every obfuscator promises, run over all that are registered."""

from __future__ import annotations

import pickle
from typing import Any

import cv2
import numpy as np
import pytest

from curate.core.errors import UsageError, WithheldError
from curate.core.faces import Region
from curate.core.geometry import Box
from curate.core.protocols import Obfuscator
from curate.obfuscators import OBFUSCATORS, make
from tests.obfuscators.pictures import SHAPES, inside, noise, regions_of, with_other_faces

EIGHT_BIT_ONLY = {"imagenet"}
KEEPS_NOTHING = {"diffuse", "fill"}
LEAKS = {"imagenet"}  # the one method that keeps pixels of faces, and says so

VARIANTS = [
    ("diffuse", {}),
    ("diffuse", {"feather": 0.2}),
    ("fill", {}),
    ("fill", {"feather": 0.2}),
    ("fill", {"color": "#804000"}),
    ("mosaic", {}),
    ("mosaic", {"smooth": True, "feather": 0.2}),
    ("gaussian", {}),
    ("gaussian", {"sigma": 0.1, "feather": 0.2}),
    ("imagenet", {}),
]

LAYOUTS = {
    "one": [Box(20, 12, 36, 30)],
    "fractional": [Box(20.3, 12.7, 35.2, 29.9)],
    "overlapping": [Box(10, 10, 28, 30), Box(20, 16, 44, 36)],
    "adjacent": [Box(10, 10, 20, 20), Box(23, 10, 33, 20)],
    "at the border": [Box(-6, -4, 14, 12), Box(50, 30, 70, 60)],
    "large and small": [Box(2, 2, 38, 40), Box(52, 20, 56, 24)],
    "one pixel": [Box(63.2, 47.1, 63.9, 47.8)],
    "fills the image": [Box(0, 0, 64, 48)],
}


def named(variant: tuple[str, dict[str, Any]]) -> str:
    return " ".join([variant[0], *(f"{key}={value}" for key, value in variant[1].items())])


@pytest.fixture(params=VARIANTS, ids=named)
def method(request: pytest.FixtureRequest) -> Obfuscator:
    name, options = request.param
    return make(name, options)


def only(names: set[str]) -> pytest.MarkDecorator:
    """Run a test over the variants of these methods."""
    chosen = [variant for variant in VARIANTS if variant[0] in names]
    return pytest.mark.parametrize("method", chosen, ids=named, indirect=True)


@pytest.fixture(params=LAYOUTS)
def regions(request: pytest.FixtureRequest, method: Obfuscator) -> list[Region]:
    margin = 0.1 if method.name == "imagenet" else 0.15
    return regions_of(LAYOUTS[request.param], 64, 48, margin)


def images(method: Obfuscator) -> list[Any]:
    kinds = [np.uint8] if method.name in EIGHT_BIT_ONLY else [np.uint8, np.uint16]
    return [noise(shape, kind) for kind in kinds for shape in SHAPES]


def test_every_registered_method_is_tested() -> None:
    assert {name for name, _ in VARIANTS} == set(OBFUSCATORS)


def test_input_is_left_unchanged_and_output_has_its_shape_and_dtype(
    method: Obfuscator, regions: list[Region]
) -> None:
    for image in images(method):
        before = image.copy()
        output = method.apply(image, regions)
        assert np.array_equal(image, before)
        assert output.shape == image.shape
        assert output.dtype == image.dtype
        assert not np.shares_memory(output, image)


def test_nothing_outside_reach_changes(method: Obfuscator, regions: list[Region]) -> None:
    boxes = method.reach(regions, 64, 48)
    outside = np.ones((48, 64), dtype=bool)
    for box in boxes:
        assert all(value == int(value) for value in box.xyxy)
        assert 0 <= box.x0 < box.x1 <= 64
        assert 0 <= box.y0 < box.y1 <= 48
        outside[box.slices] = False
    for image in images(method):
        assert np.array_equal(method.apply(image, regions)[outside], image[outside])


def test_every_hidden_region_changes(method: Obfuscator, regions: list[Region]) -> None:
    for image in images(method):
        output = method.apply(image, regions)
        for each in regions:
            at = each.hidden.slices
            if method.name not in LEAKS or each.hidden.area > 1:
                assert not np.array_equal(output[at], image[at])


@only(KEEPS_NOTHING)
def test_methods_that_keep_nothing_do_not_depend_on_hidden_pixels(
    method: Obfuscator, regions: list[Region]
) -> None:
    for image in images(method):
        output = method.apply(image, regions)
        for seed in (1, 2):
            other = with_other_faces(image, regions, seed)
            assert np.array_equal(method.apply(other, regions), output)


@only(set(OBFUSCATORS) - LEAKS)
def test_weight_of_the_original_is_zero_in_every_hidden_region(
    method: Obfuscator, regions: list[Region]
) -> None:
    weights = method.blend(regions, 64, 48)  # type: ignore[attr-defined]
    assert weights.shape == (48, 64)
    assert weights.dtype == np.float32
    assert (weights[inside(regions, (48, 64))] == 1).all()
    assert weights.min() >= 0
    assert weights.max() == 1


def test_order_and_repetition_of_faces_do_not_matter(
    method: Obfuscator, regions: list[Region]
) -> None:
    image = noise((48, 64, 3))
    output = method.apply(image, regions)
    assert np.array_equal(method.apply(image, regions[::-1]), output)
    assert np.array_equal(method.apply(image, regions + regions), output)


def test_memory_layout_and_threads_do_not_matter(method: Obfuscator, regions: list[Region]) -> None:
    image = noise((48, 64, 3))
    output = method.apply(image, regions)
    assert np.array_equal(method.apply(np.asfortranarray(image), regions), output)
    assert np.array_equal(
        method.apply(np.ascontiguousarray(image[::-1, :, ::-1])[::-1, :, ::-1], regions), output
    )
    frozen = image.copy()
    frozen.flags.writeable = False
    again = method.apply(frozen, regions)
    assert np.array_equal(again, output)
    assert again.flags.writeable
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        assert np.array_equal(method.apply(image, regions), output)
    finally:
        cv2.setNumThreads(threads)


def test_no_face_changes_nothing(method: Obfuscator) -> None:
    for image in images(method):
        assert np.array_equal(method.apply(image, []), image)
    assert method.reach([], 64, 48) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9), (9, 1, 3), (2, 3, 4), (3, 200, 3)])
def test_any_size_of_image(method: Obfuscator, shape: tuple[int, ...]) -> None:
    image = noise(shape)
    height, width = shape[:2]
    for box in (Box(0, 0, width, height), Box(0, 0, width / 2, height), Box(0, 0, 0.5, 0.5)):
        chosen = regions_of([box], width, height)
        assert method.apply(image, chosen).shape == shape


def test_a_box_that_is_not_in_the_image_is_refused(method: Obfuscator) -> None:
    image, face = noise((48, 64, 3)), Box(10, 10, 20, 20)
    for hidden in (
        Box(10, 10, 65, 20),
        Box(-1, 10, 20, 20),
        Box(10, 10, 20, 10),
        Box(10, 10, 20.5, 20),
    ):
        with pytest.raises(WithheldError, match="whole pixels"):
            method.apply(image, [Region(face, hidden)])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 64, 3), dtype=np.float32),
        np.zeros((48, 64, 5), dtype=np.uint8),
        np.zeros((2, 48, 64, 3), dtype=np.uint8),
        np.zeros((0, 64, 3), dtype=np.uint8),
        np.zeros((48, 64), dtype=bool),
    ],
    ids=["float", "five channels", "batch", "empty", "bool"],
)
def test_an_image_of_another_kind_is_refused(method: Obfuscator, image: Any) -> None:
    with pytest.raises(WithheldError) as error:
        method.apply(image, regions_of([Box(10, 10, 20, 20)], 64, 48))
    assert error.value.code == "unsupported"


def test_name_version_and_parameters_rebuild_the_method(method: Obfuscator) -> None:
    assert OBFUSCATORS.resolve(method.name) is type(method)
    assert method.version
    assert (method.keeps == "nothing") == (method.name in KEEPS_NOTHING)
    assert method.keeps == "nothing" or len(method.keeps.split()) > 8
    assert all(isinstance(value, (str, int, float, bool)) for value in method.parameters.values())
    assert pickle.loads(pickle.dumps(method)) == method  # noqa: S301
    if method.name != "imagenet":
        assert make(method.name, method.parameters) == method


def test_an_unknown_option_names_the_known_ones(method: Obfuscator) -> None:
    with pytest.raises(UsageError, match="no option 'strength'"):
        make(method.name, {"strength": 3})
