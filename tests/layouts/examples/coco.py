from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.layouts.examples.example import (
    Example,
    add,
    cut,
    jpeg,
    png,
    remove,
    replace,
    rgb_png,
    write,
)

INSTANCES = "annotations/instances_train2017.json"
CAPTIONS = "annotations/captions_val2017.json"
PANOPTIC = "annotations/panoptic_val2017.json"
MAP = "annotations/panoptic_val2017/c.png"
SEGMENTS = (3_226_956, 70_000)
AREAS = {SEGMENTS[0]: 416, SEGMENTS[1]: 684}


def panoptic_pixels() -> np.ndarray[Any, Any]:
    numbers = np.zeros((40, 48), np.int64)
    numbers[4:20, 4:30] = SEGMENTS[0]
    numbers[22:, 10:] = SEGMENTS[1]
    return np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], axis=2).astype(np.uint8)


def build(root: Path) -> None:
    write(root, "train2017/a.jpg", jpeg(1))
    write(root, "train2017/b.png", png(2))
    write(root, "val2017/c.jpg", jpeg(3))
    train = [{"id": 1, "file_name": "a.jpg", "width": 48, "height": 40, "extra": {"é": [None]}}]
    train += [{"id": 2, "file_name": "b.png", "width": 40, "height": 32}]
    anns = [
        {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2.5, 3, 4], "iscrowd": 0,
         "area": 12, "segmentation": [[1, 2, 4, 2, 4, 6]], "keypoints": [1, 2, 2]},
        {"id": 8, "image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1, "area": 81,
         "segmentation": {"size": [32, 40], "counts": [0, 1280]}},
    ]  # fmt: skip
    categories = [{"id": 1, "name": "dog"}]
    whole = {"info": {}, "images": train, "annotations": anns, "categories": categories}
    write(root, INSTANCES, json.dumps(whole, indent=1, ensure_ascii=False))
    val = [{"id": 3, "file_name": "c.jpg", "width": 48, "height": 40}]
    said = [{"id": 1, "image_id": 3, "caption": "A dog."}]
    write(root, CAPTIONS, json.dumps({"annotations": said, "images": val}))
    segments = [{"area": AREAS[number], "id": number, "category_id": 1} for number in SEGMENTS]
    panoptic = [{"image_id": 3, "file_name": "c.png", "segments_info": segments}]
    write(root, PANOPTIC, json.dumps({"images": val, "annotations": panoptic}))
    write(root, MAP, rgb_png(panoptic_pixels()))


def load(root: Path) -> Any:
    """What pycocotools reads of the files that it can, and the panoptic map's segments."""
    from pycocotools.coco import COCO

    read: list[Any] = []
    for name in (INSTANCES, CAPTIONS):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(root / name))
        read += [coco.dataset, coco.loadAnns(coco.getAnnIds()), coco.loadImgs(coco.getImgIds())]
    read.append(json.loads((root / PANOPTIC).read_text()))
    images = [path.read_bytes() for path in sorted(root.glob("*2017/*"))]
    maps = [path.read_bytes() for path in root.glob(MAP)]
    return [*read, maps, images]


def crowd(root: Path, count: int) -> None:
    write(root, "a.jpg", jpeg(1))
    with (root / "instances.json").open("w") as file:
        file.write('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [')
        for number in range(count):
            file.write(
                f'{"," if number else ""}{{"id": {number}, "image_id": 1, "bbox": [1,2,3,4]}}'
            )
        file.write("]}")


EXAMPLE = Example(
    layout="coco",
    build=build,
    splits={"train2017/a.jpg": "train", "train2017/b.png": "train", "val2017/c.jpg": "val"},
    copied=frozenset({INSTANCES, CAPTIONS, PANOPTIC, MAP}),
    rows={"train2017/a.jpg": [{"category": "dog"}], "train2017/b.png": [{"category": "dog"}]},
    aliases=frozenset({("1", "train2017/a.jpg"), ("2", "train2017/b.png"), ("3", "val2017/c.jpg")}),
    load=load,
    malformed={
        "cut off": (cut(INSTANCES), r"instances_train2017\.json is not valid JSON"),
        "no images": (replace(INSTANCES, '"images"', '"pictures"'), "images is missing"),
        "images no list": (
            add(INSTANCES, '{"images": {}, "annotations": [{"image_id": 1}]}'),
            "images is not a list",
        ),
        "an image no object": (
            add(INSTANCES, '{"images": [[1]], "annotations": []}'),
            r"images\[0\] is not an object",
        ),
        "ids twice": (replace(INSTANCES, '"id": 2', '"id": 1'), r"images\[1\]\.id is 1, which"),
        "labels twice": (replace(INSTANCES, '"id": 8', '"id": 7'), r"annotations\[1\]\.id is 7"),
        "no id": (replace(INSTANCES, '"id": 2', '"ix": 2'), r"images\[1\]\.id is None"),
        "id no scalar": (replace(INSTANCES, '"id": 2', '"id": [2]'), r"images\[1\]\.id is neither"),
        "no name": (
            replace(INSTANCES, '"file_name": "b.png"', '"x": 1'),
            r"\[1\]\.file_name is No",
        ),
        "escapes": (replace(INSTANCES, "b.png", "../b.png"), r"file_name.*leaves its folder"),
        "absolute": (replace(INSTANCES, "b.png", "/data/b.png"), "relative to the dataset"),
        "a NUL": (replace(INSTANCES, "b.png", "b\\u0000.png"), "names no file"),
        "a box of words": (
            replace(INSTANCES, "2.5", '"x"'),
            r"annotations\[0\]\.bbox contains a value that is not a num",
        ),
        "no image_id": (replace(CAPTIONS, '"image_id": 3, ', ""), r"\[0\]\.image_id is None"),
    },
    odd={
        "an absent image": (remove("train2017/a.jpg"), r"1 of its 2 images.*'a\.jpg'"),
        "a label of no image": (
            replace(CAPTIONS, '"image_id": 3', '"image_id": 9'),
            "refer to 1 images.*such as 9",
        ),
        "an image without a label": (
            replace(INSTANCES, '"image_id": 2', '"image_id": 1'),
            "1 images have no annotation.*id 2",
        ),
        "an image of no JSON": (add("val2017/z.jpg", jpeg(9)), r"1 images.*'val2017/z\.jpg'"),
    },
    crowd=crowd,
)
