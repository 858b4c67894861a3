from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.faces import Region
from curate.core.geometry import Box
from curate.obfuscators import make, masks
from tests.obfuscators.pictures import inside, noise, regions_of, with_other_faces

METHODS_WITHOUT_LEAK = ["diffuse", "fill", "mosaic", "gaussian"]
# A mean over a cell of at least 4×4 pixels, or a Gaussian of at least 2 pixels, gives
# no pixel more than 1/16 of itself; one level is for rounding.
MOST_OF_ITSELF = 255 / 16 + 1


@st.composite
def scenes(
    draw: st.DrawFn, channels: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> tuple[Any, list[Region]]:
    """An image and one to five faces that may overlap, touch and cross its borders."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    planes = draw(st.sampled_from(channels))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    boxes = []
    for _ in range(draw(st.integers(1, 5))):
        x = draw(st.floats(-width / 2, width - 0.25))
        y = draw(st.floats(-height / 2, height - 0.25))
        x1 = draw(st.floats(max(x, 0) + 0.1, width * 1.5))
        y1 = draw(st.floats(max(y, 0) + 0.1, height * 1.5))
        boxes.append(Box(x, y, x1, y1))
    margin = draw(st.sampled_from([0.0, 0.15, 0.5]))
    shape = (height, width) if planes == 0 else (height, width, planes)
    image = noise(shape, dtype, draw(st.integers(0, 99)))
    return image, regions_of(boxes, width, height, margin)


@st.composite
def small_beside_large(draw: st.DrawFn) -> tuple[int, int, list[Region]]:
    """A large face and one of 1/1 to 1/20 its size: apart, overlapping, or at a border."""
    large = draw(st.integers(20, 160))
    small = large / draw(st.floats(1, 20))
    width, height = 3 * large, 2 * large
    x, y = draw(st.floats(-0.5 * small, width - 0.5 * small)), draw(st.floats(0, height - small))
    boxes = [Box(large / 2, large / 2, large * 1.5, large * 1.5), Box(x, y, x + small, y + small)]
    return width, height, regions_of(boxes, width, height)


@given(scenes(), st.sampled_from(["diffuse", "fill"]), st.sampled_from([0.0, 0.1, 0.6]))
@settings(max_examples=150, deadline=None)
def test_images_that_differ_only_inside_regions_give_equal_outputs(
    scene: tuple[Any, list[Region]], name: str, feather: float
) -> None:
    image, regions = scene
    method = make(name, {"feather": feather})
    assert np.array_equal(
        method.apply(image, regions), method.apply(with_other_faces(image, regions), regions)
    )


@given(scenes(), st.sampled_from(METHODS_WITHOUT_LEAK), st.sampled_from([0.0, 0.3]))
@settings(max_examples=100, deadline=None)
def test_only_what_reach_names_changes_and_nothing_depends_on_the_order(
    scene: tuple[Any, list[Region]], name: str, feather: float
) -> None:
    image, regions = scene
    height, width = image.shape[:2]
    method = make(name, {"feather": feather})
    output = method.apply(image, regions)
    outside = np.ones((height, width), dtype=bool)
    for box in method.reach(regions, width, height):
        outside[box.slices] = False
    assert np.array_equal(output[outside], image[outside])
    assert np.array_equal(method.apply(image, sorted(regions, key=lambda r: r.face)), output)


@given(
    small_beside_large(),
    st.sampled_from(METHODS_WITHOUT_LEAK),
    st.sampled_from([0.0, 0.15, 0.5]),
)
@settings(max_examples=100, deadline=None)
def test_the_original_has_weight_zero_in_every_region_whatever_the_other_faces(
    scene: tuple[int, int, list[Region]], name: str, feather: float
) -> None:
    width, height, regions = scene
    weights = make(name, {"feather": feather}).blend(regions, width, height)  # type: ignore[attr-defined]
    assert (weights[inside(regions, weights.shape)] == 1).all()


@given(small_beside_large(), st.sampled_from(METHODS_WITHOUT_LEAK), st.data())
@settings(max_examples=100, deadline=None)
def test_no_hidden_pixel_keeps_a_visible_share_of_itself(
    scene: tuple[int, int, list[Region]], name: str, data: st.DataObject
) -> None:
    width, height, regions = scene
    hidden = data.draw(st.sampled_from(regions)).hidden
    x = data.draw(st.integers(int(hidden.x0), int(hidden.x1) - 1))
    y = data.draw(st.integers(int(hidden.y0), int(hidden.y1) - 1))
    options = {"sigma": 0.1} if name == "gaussian" else {"cells": 16} if name == "mosaic" else {}
    method = make(name, {**options, "feather": data.draw(st.sampled_from([0.0, 0.3]))})
    dark, bright = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    bright[y, x] = 255
    change = method.apply(bright, regions).astype(int) - method.apply(dark, regions)
    # Mirrored at a border, a pixel stands for up to four.
    at_border = x in (0, width - 1) or y in (0, height - 1)
    assert change[y, x] <= MOST_OF_ITSELF * (4 if at_border else 1)


def test_the_imagenet_recipe_fails_that_property() -> None:
    large, small = Box(40, 40, 240, 240), Box(400, 150, 420, 170)
    regions = regions_of([large, small], 600, 300, 0.1)
    dark, bright = np.zeros((300, 600), np.uint8), np.zeros((300, 600), np.uint8)
    bright[160, 410] = 255
    method = make("imagenet", {})
    change = method.apply(bright, regions).astype(int) - method.apply(dark, regions)
    assert change[160, 410] > 0.7 * 255
    weights = method.blend(regions, 600, 300)  # type: ignore[attr-defined]
    assert not (weights[inside(regions, weights.shape)] == 1).all()


@given(
    st.floats(-200, 400), st.floats(-200, 400), st.floats(0.01, 500), st.floats(0.01, 500),
    st.sampled_from([0.0, 0.1, 0.15, 1.0]),
)  # fmt: skip
def test_a_region_contains_its_face_and_lies_in_the_image(
    x: float, y: float, w: float, h: float, margin: float
) -> None:
    face = Box(x, y, x + w, y + h)
    if x >= 300 or y >= 200 or x + w <= 0 or y + h <= 0:
        return
    hidden = masks.region(face, margin, 300, 200).hidden
    assert 0 <= hidden.x0 < hidden.x1 <= 300
    assert 0 <= hidden.y0 < hidden.y1 <= 200
    assert hidden.x0 <= max(face.x0, 0)
    assert hidden.y0 <= max(face.y0, 0)
    assert hidden.x1 >= min(face.x1, 300)
    assert hidden.y1 >= min(face.y1, 200)


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 12)] * 2), max_size=9))
def test_clusters_equal_connected_components(corners: list[tuple[int, int, int, int]]) -> None:
    boxes = [Box(x, y, x + w, y + h) for x, y, w, h in corners]
    groups = masks.clusters(boxes)
    assert sorted(box for group in groups for box in group) == sorted(boxes)

    def meet(a: Box, b: Box) -> bool:
        return a.x0 <= b.x1 and b.x0 <= a.x1 and a.y0 <= b.y1 and b.y0 <= a.y1

    for index, group in enumerate(groups):
        reached = [group[0]]
        for box in reached:
            reached += [each for each in group if each not in reached and meet(box, each)]
        assert set(reached) == set(group)
        for other in groups[index + 1 :]:
            assert not any(meet(a, b) for a in group for b in other)
