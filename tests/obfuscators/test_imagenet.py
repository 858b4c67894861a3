"""The published recipe, against an independent reading of it, and what it leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.obfuscators.imagenet import ImageNet
from tests.obfuscators.pictures import inside, noise, pattern, regions_of


def as_published(image: Any, boxes: list[Box]) -> Any:
    """Appendix of Yang et al. 2022: grow by 0.1 d, one sigma of 0.1 max d, composite."""
    picture = Image.fromarray(image)
    keep = Image.new("L", picture.size, 255)
    largest = max(max(box.width, box.height) for box in boxes)
    for box in boxes:
        d = max(box.width, box.height)
        corners = (box.x0 - 0.1 * d, box.y0 - 0.1 * d, box.x1 + 0.1 * d, box.y1 + 0.1 * d)
        ImageDraw.Draw(keep).rectangle(corners, fill=0)
    blur = ImageFilter.GaussianBlur(0.1 * largest)
    return np.asarray(Image.composite(picture, picture.filter(blur), keep.filter(blur)))


SCENES = {
    "one": [Box(60.4, 50.9, 130.2, 140.6)],
    "small beside large": [Box(20, 20, 140, 150), Box(220.5, 100.1, 236, 118.7)],
    "overlapping": [Box(50, 50, 120, 130), Box(100, 90, 180, 170)],
    "at the border": [Box(-20.7, -9.3, 60, 70), Box(250, 150, 330, 240)],
    "tiny": [Box(100, 100, 104, 105)],
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("shape", [(), (3,), (4,)])
def test_the_result_is_the_published_recipes(scene: str, shape: tuple[int, ...]) -> None:
    image = pattern(200, 300, shape[0] if shape else 1, np.uint8)
    image = image if shape else image[..., 0]
    output = ImageNet().apply(image, regions_of(SCENES[scene], 300, 200, margin=0.1))
    assert np.abs(output.astype(int) - as_published(image, SCENES[scene])).max() <= 1


@pytest.mark.data
def test_the_result_is_the_published_recipes_on_photographs(shared_data: Path) -> None:
    photos = json.loads((shared_data / "wider" / "faces.json").read_text())
    boxes_of = {
        photo["file"]: [Box(*face["xyxy"]) for face in photo["faces"] if any(face["xyxy"])]
        for photo in photos
    }
    with_faces = [(file, boxes) for file, boxes in boxes_of.items() if boxes]
    for file, boxes in with_faces[:12]:
        image = np.asarray(Image.open(shared_data / "wider" / file).convert("RGB"))
        height, width = image.shape[:2]
        output = ImageNet().apply(image, regions_of(boxes, width, height, margin=0.1))
        assert np.abs(output.astype(int) - as_published(image, boxes)).max() <= 1


@pytest.mark.parametrize(
    ("ratio", "over_the_face", "at_its_center"),
    [(2, 0.15, 0.0), (4, 0.40, 0.25), (5, 0.51, 0.41), (10, 0.81, 0.80)],
)
def test_a_small_face_beside_a_large_one_keeps_its_own_pixels(
    ratio: int, over_the_face: float, at_its_center: float
) -> None:
    d, width, height = 200, 800, 400
    side = d // ratio
    large = Box(60, 60, 60 + d, 60 + d)
    small = Box(600, 200, 600 + side, 200 + side)
    regions = regions_of([large, small], width, height, margin=0.1)
    original = 1 - ImageNet().blend(regions, width, height)
    assert original[small.slices].mean() == pytest.approx(over_the_face, abs=0.015)
    assert original[200 + side // 2, 600 + side // 2] == pytest.approx(at_its_center, abs=0.015)


def test_the_output_depends_on_hidden_pixels() -> None:
    regions = regions_of([Box(60, 60, 260, 260), Box(600, 200, 650, 250)], 800, 400, margin=0.1)
    weights = ImageNet().blend(regions, 800, 400)
    assert weights[inside(regions, weights.shape)].min() < 0.3
    image = noise((400, 800))
    output = ImageNet().apply(image, regions)
    face = np.s_[200:250, 600:650]
    likeness = np.corrcoef(image[face].ravel(), output[face].ravel())[0, 1]
    assert likeness > 0.9


def test_sixteen_bits_are_refused_rather_than_cut() -> None:
    image = noise((50, 50, 3), np.uint16)
    with pytest.raises(WithheldError, match="8-bit") as error:
        ImageNet().apply(image, regions_of([Box(10, 10, 30, 30)], 50, 50))
    assert error.value.code == "unsupported"
