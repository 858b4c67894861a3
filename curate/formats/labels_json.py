"""Boxes in JSON: COCO's, the one that ImageNet's authors released, and plain lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.errors import CurateError, DataError
from curate.formats.labels import LabelledBox, LabelledImage, describe, parse_box, parse_size


def iter_json_labels(path: Path) -> Iterator[LabelledImage]:
    """Read boxes from JSON; its form is recognised by its keys.

    Raises:
        DataError: if it is no JSON of boxes, or one of its boxes is not a box.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(
            f"{path} is neither Parquet nor JSON ({describe(error)}); "
            "give a Parquet table of faces, COCO JSON, ImageNet's JSON, a JSON list of file "
            "and faces, or WIDER FACE's text"
        ) from None
    try:
        if isinstance(value, Mapping) and "images" in value:
            yield from _iter_coco(value, path)
        elif isinstance(value, list) and all("url" in item and "bboxes" in item for item in value):
            yield from _iter_imagenet(value, path)
        elif isinstance(value, list) and all("file" in item and "faces" in item for item in value):
            yield from _iter_list(value, path)
        else:
            raise DataError(
                f"{path} is no known file of faces; COCO has the keys images and annotations, "
                "ImageNet's is a list of url and bboxes, a plain one a list of file and faces"
            )
    except CurateError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: a key or value is not as it should be: {describe(error)}"
        ) from None


def _iter_coco(value: Mapping[str, Any], path: Path) -> Iterator[LabelledImage]:
    images = {image["id"]: image for image in value["images"]}
    kinds = {kind["id"]: str(kind["name"]) for kind in value.get("categories") or ()}
    boxes: dict[Any, list[LabelledBox]] = {key: [] for key in images}
    for number, annotation in enumerate(value["annotations"]):
        where = f"{path}: annotations[{number}]"
        if annotation["image_id"] not in boxes:
            raise DataError(f"{where} belongs to image {annotation['image_id']!r}, which is absent")
        x, y, width, height = annotation["bbox"]
        fields = dict(annotation.get("attributes") or {})
        fields |= {key: annotation[key] for key in ("iscrowd", "ignore") if key in annotation}
        if "score" in annotation:
            fields["confidence"] = annotation["score"]
        if len(kinds) > 1:
            fields.setdefault("category", kinds.get(annotation.get("category_id")))
        box = parse_box((x, y, x + width, y + height), where)
        boxes[annotation["image_id"]].append(LabelledBox(box, fields))
    for key, image in images.items():
        yield _image(str(image["file_name"]), boxes[key], image)


def _iter_imagenet(value: list[Any], path: Path) -> Iterator[LabelledImage]:
    for number, item in enumerate(value):
        where = f"{path}: [{number}]"
        corners = [[box[key] for key in ("x0", "y0", "x1", "y1")] for box in item["bboxes"]]
        yield _image(
            str(item["url"]), [LabelledBox(parse_box(xyxy, where)) for xyxy in corners], {}
        )


def _iter_list(value: list[Any], path: Path) -> Iterator[LabelledImage]:
    for number, item in enumerate(value):
        boxes = []
        for place, face in enumerate(item["faces"]):
            fields = {key: each for key, each in face.items() if key != "xyxy"}
            where = f"{path}: [{number}].faces[{place}]"
            boxes.append(LabelledBox(parse_box(face["xyxy"], where), fields))
        yield _image(str(item["file"]), boxes, item)


def _image(name: str, boxes: list[LabelledBox], sizes: Mapping[str, Any]) -> LabelledImage:
    width, height = parse_size(sizes.get("width")), parse_size(sizes.get("height"))
    return LabelledImage(name, tuple(boxes), width, height)
