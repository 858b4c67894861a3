from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.layouts.examples.example import Example, jpeg, png, write


def build(root: Path) -> None:
    write(root, "train/cat/a.jpg", jpeg(1))
    write(root, "train/dog/b.png", png(2))
    write(root, "val/cat/c.jpg", jpeg(3))
    write(root, "classes.txt", "cat\ndog\n")


def load(root: Path) -> Any:
    """What torchvision's ImageFolder finds: classes by name, samples in sorted order."""
    found = []
    for split in sorted(path for path in root.iterdir() if path.is_dir()):
        classes = sorted(path.name for path in split.iterdir() if path.is_dir())
        for number, name in enumerate(classes):
            found += [
                (split.name, path.name, number, path.read_bytes())
                for path in sorted((split / name).rglob("*"))
            ]
    return found


EXAMPLE = Example(
    layout="imagefolder",
    build=build,
    splits={"train/cat/a.jpg": "train", "train/dog/b.png": "train", "val/cat/c.jpg": "val"},
    copied=frozenset({"classes.txt"}),
    foreign=frozenset({"classes.txt"}),
    load=load,
    named=False,
)
