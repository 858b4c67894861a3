from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np

from curate.layouts.label_maps import voc_palette
from tests.layouts.examples.example import (
    Example,
    add,
    cut,
    indexed_png,
    jpeg,
    png,
    remove,
    replace,
    write,
)

YEAR = "VOCdevkit/VOC2012"
XML = f"{YEAR}/Annotations/2007_000027.xml"
LABEL = f"{YEAR}/Annotations/2007_000032.xml"  # of an image without segmentations
TRAIN = f"{YEAR}/ImageSets/Main/train.txt"
CLASSES = f"{YEAR}/SegmentationClass/2007_000027.png"
OBJECTS = f"{YEAR}/SegmentationObject/2007_000027.png"
NAMES = ("2007_000027.jpg", "2007_000032.png", "2008_000003.jpg")


def annotation(name: str, extra: str = "") -> str:
    width, height = (40, 32) if name.endswith(".png") else (48, 40)
    return f"""<?xml version="1.0"?>
<annotation><folder>VOC2012</folder><filename>{name}</filename>{extra}
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <object><name>person</name><difficult>0</difficult>
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>31</ymax></bndbox></object>
</annotation>
"""


def map_of(*values: int) -> np.ndarray[Any, Any]:
    indices = np.zeros((40, 48), np.uint8)
    for number, value in enumerate(values):
        indices[4 * number + 2 : 4 * number + 6, 5:30] = value
    return indices


def build(root: Path) -> None:
    for seed, name in enumerate(NAMES):
        write(root, f"{YEAR}/JPEGImages/{name}", png(seed) if "png" in name else jpeg(seed))
        write(root, f"{YEAR}/Annotations/{name[:-4]}.xml", annotation(name))
    write(root, TRAIN, "2007_000027\n2007_000032\n")
    write(root, f"{YEAR}/ImageSets/Main/val.txt", "2008_000003\n")
    write(root, f"{YEAR}/ImageSets/Main/person_train.txt", "2007_000027  1\n2007_000032 -1\n")
    write(root, CLASSES, indexed_png(map_of(15, 255), voc_palette()))
    write(root, OBJECTS, indexed_png(map_of(1, 255), voc_palette()))


def load(root: Path) -> Any:
    """What the usual parsing code makes of the lists and XMLs, with the maps' values."""
    from PIL import Image

    year, found = root / YEAR, []
    for split in ("train", "val"):
        for name in (year / "ImageSets/Main" / f"{split}.txt").read_text().split():
            tree = ET.parse(year / "Annotations" / f"{name}.xml").getroot()  # noqa: S314 - made here
            boxes = [
                (
                    thing.findtext("name"),
                    [int(corner.text or "") for corner in thing.find("bndbox")],
                )
                for thing in tree.findall("object")
            ]
            image = (year / "JPEGImages" / (tree.findtext("filename") or "")).read_bytes()
            found.append((split, name, boxes, image))
    maps = []
    for folder in ("SegmentationClass", "SegmentationObject"):
        for path in sorted((year / folder).glob("*.png")):
            with Image.open(path) as image:
                maps.append((path.name, np.asarray(image).tolist()))
    return found, maps


def crowd(root: Path, count: int) -> None:
    write(root, "JPEGImages/a.jpg", jpeg(1))
    head, _ = annotation("a.jpg").split("  <object>")
    (root / "Annotations").mkdir()
    with (root / "Annotations/a.xml").open("w") as file:
        file.write(head)
        for _ in range(min(count, 40_000)):  # a file may have 400,000 elements
            file.write("<object><name>dog</name><bndbox><xmin>1</xmin></bndbox></object>\n")
        file.write("</annotation>")


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]>\n' + annotation("x.jpg").split("\n", 1)[1]
)

EXAMPLE = Example(
    layout="voc",
    build=build,
    splits={
        f"{YEAR}/JPEGImages/{name}": split
        for name, split in zip(NAMES, ("train", "train", "val"), strict=True)
    },
    copied=frozenset(
        {
            *(f"{YEAR}/Annotations/{name[:-4]}.xml" for name in NAMES),
            *(f"{YEAR}/ImageSets/Main/{name}.txt" for name in ("train", "val", "person_train")),
            *(CLASSES, OBJECTS),
        }
    ),
    rows={
        f"{YEAR}/JPEGImages/{name}": [{"category": "person", "difficult": "0"}] for name in NAMES
    },
    columns=("category", "difficult"),
    load=load,
    malformed={
        "cut off": (cut(LABEL), r"2007_000032\.xml is not well-formed XML"),
        "empty": (add(LABEL, ""), "is not well-formed XML"),
        "a document type": (add(LABEL, BOMB), "has a document type"),
        "another root": (add(LABEL, "<a></a>"), "<a> found where"),
        "no name": (replace(LABEL, "<filename>2007_000032.png</filename>", ""), "names no file"),
        "no size": (replace(LABEL, "<width>40</width>", ""), "annotation/size/width is ''"),
        "a size of words": (replace(LABEL, ">40<", ">wide<"), "expected an integer"),
        "escapes": (replace(LABEL, ">2007_000032.png", ">../x.jpg"), "leaves its folder"),
        "absolute": (replace(LABEL, ">2007_000032.png", ">/home/x.jpg"), "relative to the dataset"),
        "a list that escapes": (replace(TRAIN, "2007_000032", "../x"), "line 2.*leaves its folder"),
        "a list with a name twice": (
            replace(TRAIN, "2007_000032", "2007_000027"),
            "line 2.*duplicated",
        ),
    },
    odd={
        "a label without an image": (
            remove(f"{YEAR}/JPEGImages/{NAMES[2]}"),
            "1 XML files have no image.*2008_000003",
        ),
        "an image without a label": (remove(XML), "1 images have no XML.*2007_000027"),
        "a list of no image": (replace(TRAIN, "000032", "000099"), "1 names in ImageSets.*000099"),
        "a path of some disk": (
            add(XML, annotation(NAMES[0], "<path>C:\\Users\\x\\a.jpg</path>")),
            "1 files contain a local path",
        ),
    },
    crowd=crowd,
)
