from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.layouts.examples.example import Example, add, jpeg, png, remove, replace, write

LABEL = "labels/train/a.txt"
CONFIG = "data.yaml"


def build(root: Path) -> None:
    write(root, "images/train/a.jpg", jpeg(1))
    write(root, "images/train/b.png", png(2))
    write(root, "images/other/c.jpg", jpeg(3))
    write(root, LABEL, "0 0.5 0.5 0.2 0.1\n1 0.1 0.1 0.5 0.1 0.5 1.0\n")
    write(root, "labels/train/b.txt", "")
    write(root, "labels/other/c.txt", "1 0.25 0.5 0.5 1\n")
    write(root, "val.txt", "./images/other/c.jpg\n")
    write(
        root,
        CONFIG,
        "path: .\ntrain: images/train\nval: val.txt\nnc: 2\nnames: [dog, cat]\n",
    )


def load(root: Path) -> Any:
    """Images and labels by Ultralytics' rule: the last /images/ becomes /labels/."""
    import yaml

    found = []
    for path in sorted((root / "images").rglob("*")):
        if path.is_file():
            inner = f"/{path.relative_to(root)}"
            label = "/labels/".join(inner.rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
            lines = (root / label[1:]).read_text().splitlines()
            found.append((inner, path.read_bytes(), [list(map(float, x.split())) for x in lines]))
    return found, yaml.safe_load((root / CONFIG).read_text())


def crowd(root: Path, count: int) -> None:
    write(root, "images/a.jpg", jpeg(1))
    write(root, "labels/a.txt", "0 0.5 0.5 0.2 0.1\n" * count)


EXAMPLE = Example(
    layout="yolo",
    build=build,
    splits={
        "images/train/a.jpg": "train",
        "images/train/b.png": "train",
        "images/other/c.jpg": "val",
    },
    copied=frozenset({LABEL, "labels/train/b.txt", "labels/other/c.txt", "val.txt", CONFIG}),
    rows={
        "images/train/a.jpg": [{"category": "dog"}, {"category": "cat"}],
        "images/other/c.jpg": [{"category": "cat"}],
    },
    load=load,
    malformed={
        "a line cut off": (add(LABEL, "0 0.5 0.5 0.2"), r"a\.txt, line 1 has 3 numbers"),
        "odd points": (add(LABEL, "0 .1 .1 .2 .2 .3 .3 .4"), "line 1 has 7 numbers"),
        "no number": (replace(LABEL, "0.2", "wide"), "line 1: 'wide' is not a number"),
        "not finite": (replace(LABEL, "0.2", "nan"), "line 1: 'nan' is not a number"),
        "pixels": (replace(LABEL, "0.2", "117"), "line 1: 117 is not between 0 and 1"),
        "negative": (replace(LABEL, "0.2", "-0.2"), "line 1: -0.2 is not between"),
        "class unknown": (replace(LABEL, "1 0.1", "2 0.1"), "line 2: class 2 is none of the 2"),
        "class no number": (replace(LABEL, "1 0.1", "x 0.1"), "line 2: the class is 'x'"),
        "not text": (add(LABEL, b"0 \xff\n"), "line 1 is not UTF-8"),
        "no YAML": (replace(CONFIG, "nc: 2", "nc: [2"), r"data\.yaml is not valid YAML"),
        "nc of words": (replace(CONFIG, "nc: 2", "nc: two"), "nc is 'two'"),
        "nc and names differ": (replace(CONFIG, "nc: 2", "nc: 3"), "nc is 3, but names has 2"),
        "a split that escapes": (
            replace(CONFIG, "images/train", "../../etc"),
            "train is '../etc', which leaves",
        ),
        "a split that is absolute": (
            replace(CONFIG, "images/train", "/data/train"),
            "train is '/data/train'; give",
        ),
        "a list that escapes": (replace("val.txt", "./", "../"), "line 1.*leaves its folder"),
        "a list that is absolute": (replace("val.txt", "./", "/data/"), "line 1.*relative"),
        "a list with a name twice": (
            add("val.txt", "./images/other/c.jpg\nimages/other/c.jpg\n"),
            "line 2.*duplicated",
        ),
    },
    odd={
        "an image without a label": (
            remove(LABEL),
            r"1 images have no label.*'labels/train/a\.txt'",
        ),
        "a label without an image": (remove("images/train/a.jpg"), "1 labels have no image"),
        "a list of no image": (replace("val.txt", "c.jpg", "d.jpg"), "1 images of the lists"),
        "an absolute root": (
            replace(CONFIG, "path: .", "path: /data/x"),
            "path is '/data/x'; kept",
        ),
    },
    crowd=crowd,
)
