"""Small made-up datasets whose classes a small network learns in a few epochs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

import curate
from curate.impact.train.options import Hyperparameters
from curate.recipe import Recipe

HOW = Hyperparameters(epochs=4, size=16, batch=8, lr=0.01)
CLASSES = ("blue", "green", "red")
_SIDE = 24


def make_dataset(
    folder: Path,
    splits: Mapping[str, int] | None = None,
    classes: Iterable[str] = CLASSES,
    exchanged: bool = False,
) -> Path:
    """Images whose class is their color, as split/class/NN.png.

    Args:
        folder: where to write.
        splits: images of each class by split; "" for no split.
        classes: names of classes; the first three have a color of their own.
        exchanged: whether blue looks red and red blue.
    """
    for split, count in (splits or {"train": 12, "val": 10}).items():
        for place, name in enumerate(classes):
            for number in range(count):
                path = folder / split / name / f"{number:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(
                    draw_image(f"{split}{name}{number}", 2 - place if exchanged else place)
                ).save(path)
    return folder


def draw_image(name: str, color: int) -> np.ndarray:
    random = np.random.default_rng(list(name.encode()))
    image = random.integers(0, 100, (_SIDE, _SIDE, 3))
    image[:, :, 2 - color % 3] += 120
    return image.astype(np.uint8)


def blur_dataset(
    source: Path, out: Path, with_faces: Iterable[str] = (), withheld: Iterable[str] = ()
) -> Path:
    """Obfuscate with given faces: one in some images, and some images withheld."""
    faces = out.with_name(out.name + ".json")
    known, left_out = set(with_faces), set(withheld)
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    boxes = {name: [{"xyxy": [2, 2, 14, 14]}] if name in known else [] for name in names}
    said = [{"file": name, "faces": boxes[name]} for name in names if name not in left_out]
    faces.write_text(json.dumps(said))
    session = curate.Session(faces=faces, workers=1, allow_missing=True)
    curate.blur(source, out, Recipe(), session)
    return out
