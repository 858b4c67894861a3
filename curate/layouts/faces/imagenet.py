"""Format of the ImageNet face annotations.

A JSON list of ``url`` and ``bboxes``, each with x0, y0, x1, y1 in pixels
(Yang et al., *A Study of Face Obfuscation in ImageNet*, ICML 2022).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts.annotations import iter_items
from curate.layouts.faces.boxes import MAX_ITEM, FoundFaces, GivenFaces, make_box, starts_with
from curate.storage.regular import open_regular

_CORNERS = ("x0", "y0", "x1", "y1")


def recognize(path: Path) -> bool:
    """Return whether a file is a JSON list."""
    return starts_with(path, b"[")


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images of the list, streaming."""
    with open_regular(path, follow_links=True) as file:
        for number, item in enumerate(iter_items(file, "item", str(path), MAX_ITEM)):
            where = f"{path}: [{number}]"
            if not (
                isinstance(item, dict) and "url" in item and isinstance(item.get("bboxes"), list)
            ):
                raise DataError(
                    f"{where} has no url and bboxes, as in the ImageNet face annotations"
                )
            boxes = enumerate(item["bboxes"])
            faces = tuple(_parse_box(box, f"{where}.bboxes[{n}]") for n, box in boxes)
            yield GivenFaces(str(item["url"]), faces)


def _parse_box(box: Any, where: str) -> Box:
    if not isinstance(box, dict) or not box.keys() >= set(_CORNERS):
        raise DataError(f"{where} is not a box: expected an object with {', '.join(_CORNERS)}")
    return make_box([box[key] for key in _CORNERS], where)


def save_faces(images: Iterable[FoundFaces], path: Path) -> None:
    """Write the list, one image per line; ``url`` is the id of the image."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, image in enumerate(images):
            boxes = [dict(zip(_CORNERS, box.xyxy, strict=True)) for box in image.boxes]
            line = json.dumps({"url": image.id, "bboxes": boxes})
            file.write(("," if number else "") + "\n" + line)
        file.write("\n]\n")
