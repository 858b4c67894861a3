"""Face boxes in YOLO labels: a folder with ``images.txt`` and ``labels/….txt``.

Each line of ``images.txt`` is the id of an examined image; the labels of ``a/b.jpg`` are
``labels/a/b.jpg.txt`` or ``labels/a/b.txt``, missing or empty if there is no face:
``class x y width height``, center and size of the box relative to the upright image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from curate.core.errors import DataError
from curate.core.geometry import Box, scale, to_upright
from curate.layouts.faces.boxes import FoundFaces, GivenFaces, make_box
from curate.storage.regular import open_text

_IMAGES = "images.txt"
_MAX_LINE = 1000
_TOLERANCE = 0.01  # of rounding


def recognize(path: Path) -> bool:
    """Return whether a path is a folder with a list of images and a folder of labels."""
    return (path / _IMAGES).is_file() and (path / "labels").is_dir()


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images in the list, in its order, with their labels."""
    listed = labeled = 0
    with open_text(path / _IMAGES, errors="surrogateescape") as images:
        for line in images:
            if name := line.rstrip("\r\n"):
                files = [file for file in _label_files(path, name) if file.is_file()]
                listed, labeled = listed + 1, labeled + bool(files)
                boxes = tuple(box for file in files for box in _iter_boxes(file))
                yield GivenFaces(name, boxes, relative=True)
    if listed and not labeled:
        raise DataError(f"{path / 'labels'} has no label file for any image of {_IMAGES}")


def save_faces(images: Iterable[FoundFaces], path: Path) -> None:
    """Write the list and one label file per image; the only class is 0, face."""
    (path / "labels").mkdir(parents=True)
    with (path / _IMAGES).open("w", encoding="utf-8") as listing:
        for image in images:
            if "\n" in image.id or "\r" in image.id:
                raise DataError(f"{image.id!r} cannot be written as a line of {path / _IMAGES}")
            listing.write(image.id + "\n")
            target = path / "labels" / f"{image.id}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(_iter_lines(image)), encoding="utf-8")


def _iter_lines(image: FoundFaces) -> Iterator[str]:
    width, height = image.width, image.height
    for box in image.boxes:
        upright = to_upright(box, image.orientation, width, height)
        if image.orientation >= 5:
            relative = scale(upright, 1 / height, 1 / width)
        else:
            relative = scale(upright, 1 / width, 1 / height)
        x, y = (relative.x0 + relative.x1) / 2, (relative.y0 + relative.y1) / 2
        yield f"0 {x:.9f} {y:.9f} {relative.width:.9f} {relative.height:.9f}\n"


def _label_files(path: Path, name: str) -> list[Path]:
    stem = name.rpartition(".")[0]
    return [path / "labels" / f"{given}.txt" for given in (name, stem) if given]


def _iter_boxes(labels: Path) -> Iterator[Box]:
    with open_text(labels, errors="replace") as file:
        text = file.read()
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{labels}, line {number},"
        fields = line.split()
        try:
            if (
                len(fields) not in (5, 6) or len(line) > _MAX_LINE
            ):  # with a confidence; a polygon has more
                raise ValueError
            x, y, width, height = (float(value) for value in fields[1:5])
        except ValueError:
            raise DataError(
                f"{where} is not a box: expected class x y width height, separated by spaces"
            ) from None
        if any(not -_TOLERANCE <= value <= 1 + _TOLERANCE for value in (x, y, width, height)):
            raise DataError(
                f"{where} has a value outside 0 to 1: {' '.join(fields[1:5])[:80]}; the values of "
                "YOLO are fractions of the image: divide pixels by its width and height"
            )
        xyxy = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        yield make_box(xyxy, where, relative=True)
