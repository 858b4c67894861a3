from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image, PngImagePlugin

import curate
from curate import Recipe, Session
from curate.layouts import open_source
from curate.layouts.label_maps import MAX_SEGMENTS, is_panoptic_map, is_voc_map, voc_palette
from curate.pipeline.verify import iter_problems
from tests.codec.samples import photo
from tests.contract.test_layouts import build, save_no_faces
from tests.layouts.examples import coco, voc
from tests.layouts.examples.example import indexed_png, jpeg, rgb_png

PANOPTIC = rgb_png(coco.panoptic_pixels())
SIZE = (48, 40)


def with_text(png: bytes) -> bytes:
    """The same pixels with a comment."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a name")
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_the_color_map_is_vocs() -> None:
    palette = voc_palette()
    assert palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette[20].tolist() == [0, 64, 128]
    assert palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


def test_a_panoptic_map_is_proven() -> None:
    assert is_panoptic_map(PANOPTIC, coco.AREAS, SIZE)
    assert is_panoptic_map(PANOPTIC, coco.AREAS | {99: 0}, SIZE)


@pytest.mark.parametrize(
    ("data", "areas"),
    [
        (PANOPTIC, {coco.SEGMENTS[0]: 416}),
        (PANOPTIC, {}),
        (PANOPTIC, coco.AREAS | dict.fromkeys(range(MAX_SEGMENTS), 0)),
        (PANOPTIC, dict.fromkeys(coco.SEGMENTS)),
        (PANOPTIC, coco.AREAS | {99: 5}),
        (PANOPTIC, coco.AREAS | {coco.SEGMENTS[0]: 417}),
        (PANOPTIC + b"tail", coco.AREAS),
        (PANOPTIC[:-30], coco.AREAS),
        (with_text(PANOPTIC), coco.AREAS),
        (rgb_png(photo(48, 40)), coco.AREAS),
        (jpeg(1), coco.AREAS),
        (b"", coco.AREAS),
        (rgb_png(np.full((40, 48), 7, np.uint8)), {7: 1920, 7 << 8: 0}),
    ],
)
def test_other_images_are_not_proven_panoptic_maps(data: bytes, areas: Any) -> None:
    assert not is_panoptic_map(data, areas, SIZE)


@pytest.mark.parametrize("size", [(40, 48), (48, 41), (None, None)])
def test_a_map_of_another_size_than_its_image_is_not_proven(size: Any) -> None:
    assert not is_panoptic_map(PANOPTIC, coco.AREAS, size)


@pytest.mark.parametrize(
    ("values", "classes", "proven"),
    [
        ((15, 255, 3), True, True),
        ((), True, True),
        ((21,), True, False),
        ((1, 2, 255), False, True),
        ((1, 3), False, False),
        ((2,), False, False),
    ],
)
def test_a_voc_map_is_proven_by_its_values(
    values: tuple[int, ...], classes: bool, proven: bool
) -> None:
    assert is_voc_map(indexed_png(voc.map_of(*values), voc_palette()), classes) is proven


def test_a_voc_map_is_proven_by_its_palette_and_what_surrounds_it() -> None:
    data = indexed_png(voc.map_of(1, 2), voc_palette())
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    for other in (
        indexed_png(voc.map_of(1, 2), gray),
        with_text(data),
        data + b"tail",
        data[:-30],
        rgb_png(voc_palette()[voc.map_of(1, 2)]),
        rgb_png(photo(40, 32)),
        jpeg(1),
    ):
        assert not is_voc_map(other, classes=True)


@pytest.mark.parametrize("levels", [3, 6, 16, 21])
def test_a_photo_with_the_values_of_a_map_is_not_proven(levels: int) -> None:
    for name in ("astronaut", "camera", "coffee", "chelsea", "rocket"):
        photograph = getattr(skimage.data, name)()
        gray = photograph if photograph.ndim == 2 else photograph.mean(axis=2)
        values = (gray.astype(int) * levels // 256).astype(np.uint8)
        assert not is_voc_map(indexed_png(values, voc_palette()), classes=True)
        ids = np.arange(1, levels + 1) * 1000
        numbers = ids[values]
        areas = dict(
            zip(*map(np.ndarray.tolist, np.unique(numbers, return_counts=True)), strict=True)
        )
        pixels = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], axis=2)
        assert not is_panoptic_map(rgb_png(pixels.astype(np.uint8)), areas, values.shape[::-1])


def test_regions_of_any_shape_are_proven() -> None:
    y, x = np.mgrid[:240, :320]
    for number in range(20):
        rng = np.random.default_rng(number)
        values = np.zeros((240, 320), np.uint8)
        for label in range(1, 9):
            across, down, radius = rng.integers(0, 320), rng.integers(0, 240), rng.integers(4, 60)
            wave = 1 + 0.3 * np.sin(5 * np.arctan2(y - down, x - across) + number)
            values[np.hypot(x - across, y - down) < radius * wave] = label
        used = np.unique(values)
        values = np.searchsorted(used, values).astype(np.uint8)
        assert is_voc_map(indexed_png(values, voc_palette()), classes=False)


@pytest.mark.parametrize(
    ("example", "path"), [(coco.EXAMPLE, coco.MAP), (voc.EXAMPLE, voc.CLASSES)]
)
def test_a_photo_with_the_path_of_a_map_is_an_image(
    example: Any, path: str, tmp_path: Path
) -> None:
    source = build(example, tmp_path)
    (source / path).write_bytes(rgb_png(photo(40, 32)))
    opened = open_source(str(source))
    assert path in [record.id for record in opened.records()]
    assert opened.find(path) is not None
    assert path not in [str(other.path) for other in opened.sidecars()]


@pytest.mark.parametrize(
    ("example", "path"), [(coco.EXAMPLE, coco.MAP), (voc.EXAMPLE, voc.CLASSES)]
)
def test_a_photo_that_is_put_into_an_output_as_a_map_is_a_leak(
    example: Any, path: str, tmp_path: Path
) -> None:
    source = build(example, tmp_path)
    faces = save_no_faces(example.splits, tmp_path / "faces.parquet")
    out = tmp_path / "out"
    curate.blur(source, out, Recipe(), Session(faces=faces, workers=1))
    assert open_source(str(source)).find(path) is None
    (out / "data" / path).write_bytes(rgb_png(photo(40, 32)))
    found = {(problem.kind, problem.path) for problem in iter_problems(out, None, 1)}
    assert {("changed", f"data/{path}"), ("leak", f"data/{path}")} <= found


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["annotations"][0]["segments_info"].pop(),
        lambda value: value["annotations"][0]["segments_info"][0].pop("area"),
        lambda value: value["annotations"][0]["segments_info"][1].update(area=1),
        lambda value: value["images"][0].update(width=47),
        lambda value: value["images"][0].pop("height"),
        lambda value: value["images"][0].update(id=4),
    ],
)
def test_a_map_whose_json_is_another_is_not_proven(change: Any, tmp_path: Path) -> None:
    source = build(coco.EXAMPLE, tmp_path)
    value = json.loads((source / coco.PANOPTIC).read_text())
    change(value)
    (source / coco.PANOPTIC).write_text(json.dumps(value))
    assert coco.MAP in [record.id for record in open_source(str(source)).records()]


def smooth_photo(levels: int) -> Any:
    """Values of a photo in few gray levels without details, as flat as a label map."""
    astronaut = skimage.data.astronaut().mean(axis=2)[:400:10, 60:540:10].astype(int)
    return cv2.resize((astronaut * levels // 256).astype(np.uint8), (48, 40))


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (voc.CLASSES, voc.map_of(15, 3)),  # two classes, one object
        (voc.OBJECTS, voc.map_of(1, 2, 255)),
        (voc.CLASSES, voc.map_of(15)[:39]),
        (voc.OBJECTS, np.pad(voc.map_of(1), ((0, 0), (0, 1)))),
        (voc.CLASSES, np.full((40, 48), 15, np.uint8)),  # beyond the box of the object
        (voc.OBJECTS, np.full((40, 48), 1, np.uint8)),
    ],
)
def test_a_segmentation_must_fit_the_objects_of_its_image(
    path: str, values: Any, tmp_path: Path
) -> None:
    source = build(voc.EXAMPLE, tmp_path)
    assert path not in [record.id for record in open_source(str(source)).records()]
    (source / path).write_bytes(indexed_png(np.ascontiguousarray(values), voc_palette()))
    assert path in [record.id for record in open_source(str(source)).records()]


def test_a_flat_photo_is_an_image(tmp_path: Path) -> None:
    source = build(voc.EXAMPLE, tmp_path)
    for path, levels in ((voc.CLASSES, 2), (voc.OBJECTS, 2), (voc.CLASSES, 4)):
        flat = smooth_photo(levels)
        (source / path).write_bytes(indexed_png(flat, voc_palette()))
        assert path in [record.id for record in open_source(str(source)).records()]


def test_a_segmentation_without_an_annotation_is_an_image(tmp_path: Path) -> None:
    source = build(voc.EXAMPLE, tmp_path)
    (source / voc.XML).unlink()
    ids = [record.id for record in open_source(str(source)).records()]
    assert {voc.CLASSES, voc.OBJECTS} <= set(ids)
