"""The photos of ../shared/data, and folders made of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from PIL import Image

from benchmarks.boxes import LabeledPhoto
from curate.core.geometry import Box

LABELED = ("wider", "facemask")
MIXED = ("imagenet", "animals", "coco/images", "imagenette/val", "facemask/images", "wider/images")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_SMALL_SIDES = range(96, 224, 8)
_SMALL_KINDS = 250


def find(data: Path, *sets: str) -> list[Path]:
    """Every photo of some sets, sorted within each set."""
    return [
        path
        for name in sets
        for path in sorted((data / name).rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    ]


def thin(photos: Sequence[Path], count: int) -> list[Path]:
    """``count`` of the photos, evenly spread; all of them if there are no more."""
    step = max(len(photos) / count, 1.0)
    return [photos[int(number * step)] for number in range(min(count, len(photos)))]


def copy(photos: Sequence[Path], data: Path, folder: Path) -> None:
    """Copy photos into one flat folder, named by their places in the data."""
    folder.mkdir(parents=True)
    for path in photos:
        shutil.copyfile(path, folder / flat_name(path, data))


def flat_name(path: Path, data: Path) -> str:
    """The name of a photo in a flat folder; unique, as it holds the photo's whole place."""
    return "_".join(path.relative_to(data).parts)


def load_labels(data: Path, name: str) -> list[LabeledPhoto]:
    """The labeled photos of ``wider`` or ``facemask``."""
    photos = []
    for entry in json.loads((data / name / "faces.json").read_text(encoding="utf-8")):
        faces: dict[bool, list[Box]] = {False: [], True: []}
        for face in entry["faces"]:
            faces[bool(face.get("invalid", 0))].append(Box(*face["xyxy"]))
        photos.append(
            LabeledPhoto(
                f"{name}/{entry['file']}", entry["width"], entry["height"],
                tuple(faces[False]), tuple(faces[True]),
            )
        )  # fmt: skip
    return photos


def is_held_out(file: str) -> bool:
    """Whether scripts/train_detector never trained on a photo, by the hash of its file name."""
    return int(sha256(Path(file).name.encode()).hexdigest(), 16) % 2 == 1


def make_small(data: Path, folder: Path) -> list[Path]:
    """Cut 250 photos, each of another size (96 to 216 px a side), out of imagenette's."""
    folder.mkdir(parents=True)
    made = []
    for number, path in enumerate(thin(find(data, "imagenette/val"), _SMALL_KINDS)):
        width = _SMALL_SIDES[number % len(_SMALL_SIDES)]
        height = _SMALL_SIDES[(number + number // len(_SMALL_SIDES)) % len(_SMALL_SIDES)]
        target = folder / f"{number:03d}.jpg"
        with Image.open(path) as image:
            x, y = (image.width - width) // 2, (image.height - height) // 2
            image.crop((x, y, x + width, y + height)).save(target, quality=90)
        made.append(target)
    return made


def multiply(photos: Sequence[Path], count: int, folder: Path) -> None:
    """A folder of ``count`` files, hard links to the photos in turn, names distinct."""
    for number in range(count):
        target = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(photos[number % len(photos)], target)
