from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.core.affine import Affine, identity
from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.editing import GeneratedImage, Outcome
from curate.layouts.label_maps import encode_voc_map, is_voc_map, load_voc_map, voc_palette
from curate.layouts.voc.edit import move_xml
from tests.core.test_affine import mirror, turn
from tests.layouts.editing.outputs import Plan, edit, plan_for
from tests.layouts.examples.example import indexed_png, jpeg, write
from tests.layouts.examples.voc import CLASSES, EXAMPLE, OBJECTS, XML, YEAR, map_of

IMAGE = f"{YEAR}/JPEGImages/2007_000027.jpg"
WIDTH, HEIGHT = 48, 40
TEXT = """<?xml version="1.0" encoding="UTF-8"?>
<annotation verified="yes">
  <folder>VOC2012</folder><filename>a.jpg</filename><path>C:\\x\\a.jpg</path>
  <source><annotation>Müller &amp; Co</annotation></source><!-- a note -->
  <size><width>48</width><height>40</height><depth>3</depth></size>
  <segmented>1</segmented>
  <object>
    <name>person</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
    <bndbox><xmax>30</xmax><xmin>11</xmin><ymin>2</ymin><ymax>31</ymax></bndbox>
    <point><x>12</x><y>3</y></point>
    <part><name>head</name>
      <bndbox><xmin>12</xmin><ymin>3</ymin><xmax>20</xmax><ymax>9</ymax></bndbox></part>
    <part><name>foot</name>
      <bndbox><xmin>28</xmin><ymin>3</ymin><xmax>30</xmax><ymax>9</ymax></bndbox></part>
  </object>
  <object><name>dog</name>
    <bndbox><xmin>40.5</xmin><ymin>2</ymin><xmax>48</xmax><ymax>9.5</ymax></bndbox>
  </object>
</annotation>
"""


def move(text: str, affine: Affine, orientation: int = 1) -> str:
    wide, high = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    made = GeneratedImage("JPEGImages/a_aug1.jpg", affine, wide, high, orientation)
    return move_xml(text.encode(), "JPEGImages/a.jpg", made, "a.xml").decode()


def boxes(text: str, path: str = "object") -> list[list[str]]:
    root = ElementTree.fromstring(text)  # noqa: S314 - made here
    corners = ("xmin", "ymin", "xmax", "ymax")
    return [[item.findtext(f"bndbox/{c}") or "" for c in corners] for item in root.iterfind(path)]


def test_a_repetition_changes_nothing_but_the_name() -> None:
    same = move(TEXT, identity(WIDTH, HEIGHT))
    assert same == TEXT.replace("a.jpg", "a_aug1.jpg")


def test_a_mirror_image_has_its_boxes_and_poses_mirrored() -> None:
    flipped = move(TEXT, mirror(WIDTH, HEIGHT))
    assert boxes(flipped) == [["19", "2", "38", "31"], ["1", "2", "8.5", "9.5"]]
    assert boxes(flipped, "object/part") == [["29", "3", "37", "9"], ["19", "3", "21", "9"]]
    assert "<pose>Right</pose>" in flipped
    assert "<point><x>37</x><y>3</y></point>" in flipped
    for kept in (
        "Müller &amp; Co",
        "<!-- a note -->",
        '<annotation verified="yes">',
        "<truncated>1",
    ):
        assert kept in flipped
    assert flipped.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    assert flipped.endswith("</annotation>\n")


def test_objects_outside_are_removed_and_sizes_adapted() -> None:
    crop = Affine(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), 25, 30)
    found = move(TEXT, crop)
    assert boxes(found) == [["11", "2", "25", "30"]]
    assert boxes(found, "object/part") == [["12", "3", "20", "9"]]
    assert "<width>25</width><height>30</height><depth>3</depth>" in found
    assert "dog" not in found
    assert "<pose>Left</pose>" in found


@given(st.integers(0, 40), st.integers(0, 30), st.integers(1, 8), st.integers(1, 10))
def test_a_mirror_image_of_a_mirror_image_is_the_image(x: int, y: int, w: int, h: int) -> None:
    first = (
        f"<annotation><filename>a.jpg</filename><object><bndbox><xmin>{x + 1}</xmin>"
        f"<ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        "</bndbox></object></annotation>"
    )
    once = move(first, mirror(WIDTH, HEIGHT))
    assert boxes(once) == [[str(WIDTH - x - w + 1), str(y + 1), str(WIDTH - x), str(y + h)]]
    back = GeneratedImage("JPEGImages/a.jpg", mirror(WIDTH, HEIGHT), WIDTH, HEIGHT)
    twice = move_xml(once.encode(), "JPEGImages/a_aug1.jpg", back, "a.xml").decode()
    assert twice == first


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("<xmin>11</xmin>", "<xmin>x</xmin>", r"object\[0\]/bndbox is not a box with"),
        ("<xmin>11</xmin>", "<xmin>99</xmin>", r"object\[0\]/bndbox: box .* reversed"),
        ("<x>12</x>", "<x></x>", "point is not a point"),
        (
            "<name>dog</name>",
            "<robndbox><cx>1</cx></robndbox>",
            "<robndbox> seems to contain coordinates",
        ),
        (
            "<name>dog</name>",
            "<polygon><x1>1</x1></polygon>",
            "<polygon> seems to contain coordinates",
        ),
        ("</annotation>\n", "", "not well-formed XML"),
        ("<annotation v", "<!DOCTYPE a><annotation v", "document type"),
        ("<width>48<", "<width>40<", "states an image size of 40×40"),
    ],
)
def test_what_cannot_be_transformed_is_one_line(old: str, new: str, line: str) -> None:
    assert old in TEXT
    with pytest.raises(DataError, match=rf"a\.xml.*{line}") as caught:
        move(TEXT.replace(old, new), mirror(WIDTH, HEIGHT))
    assert "\n" not in str(caught.value)


def test_sizes_of_zero_are_ignored() -> None:
    text = TEXT.replace("<width>48<", "<width>0<")
    assert boxes(move(text, mirror(WIDTH, HEIGHT)))[0] == ["19", "2", "38", "31"]


def test_a_turned_image_has_its_boxes_turned_upright() -> None:
    text = "<annotation><filename>a.jpg</filename>{}<object><bndbox><xmin>1</xmin><ymin>2</ymin>"
    text += "<xmax>10</xmax><ymax>6</ymax></bndbox></object></annotation>"
    upright = identity(HEIGHT, WIDTH)
    assert boxes(move(text.format(""), upright, 6)) == [["35", "1", "39", "10"]]
    stated = text.format("<size><width>40</width><height>48</height></size>")
    assert boxes(move(stated, upright, 6)) == [["1", "2", "10", "6"]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    EXAMPLE.build(tmp_path / "source")
    return tmp_path / "source"


def values(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_lists_lose_and_gain_lines_with_their_flags(root: Path, tmp_path: Path) -> None:
    plan, files = plan_for(root, {IMAGE: [None]})
    plan.removed = frozenset({f"{YEAR}/JPEGImages/2007_000032.png"})
    done = edit(root, tmp_path / "out", plan, files)
    lists = tmp_path / "out" / YEAR / "ImageSets/Main"
    assert (lists / "train.txt").read_text() == "2007_000027\n2007_000027_aug1\n"
    assert (lists / "person_train.txt").read_text() == "2007_000027  1\n2007_000027_aug1  1\n"
    assert done.results[f"{YEAR}/ImageSets/Main/val.txt"] is Outcome.SAME
    assert done.results[f"{YEAR}/Annotations/2007_000032.xml"] is Outcome.DROPPED
    assert done.new == [
        f"{YEAR}/Annotations/2007_000027_aug1.xml",
        f"{YEAR}/SegmentationClass/2007_000027_aug1.png",
        f"{YEAR}/SegmentationObject/2007_000027_aug1.png",
    ]


def test_maps_are_warped_with_their_image_and_stay_maps(root: Path, tmp_path: Path) -> None:
    affines = [mirror(WIDTH, HEIGHT), turn(25, WIDTH, HEIGHT)]
    plan, files = plan_for(root, {IMAGE: affines})
    out = tmp_path / "out"
    edit(root, out, plan, files)
    after = open_source(str(out))
    maps = {str(other.path) for other in after.sidecars() if "Segmentation" in str(other.path)}
    for number, affine in enumerate(affines, start=1):
        for path, first in ((CLASSES, map_of(15, 255)), (OBJECTS, map_of(1, 255))):
            name = path.replace(".png", f"_aug{number}.png")
            assert name in maps
            np.testing.assert_array_equal(values(out / name), affine.mask(first, fill=255))


def test_objects_are_numbered_without_a_gap(root: Path, tmp_path: Path) -> None:
    more = "".join(
        f"<object><name>dog</name><bndbox><xmin>6</xmin><ymin>{4 * n + 3}</ymin>"
        f"<xmax>30</xmax><ymax>{4 * n + 6}</ymax></bndbox></object>"
        for n in (1, 2)
    )
    text = (root / XML).read_text().replace("</annotation>", f"{more}</annotation>")
    (root / XML).write_text(text)
    write(root, OBJECTS, indexed_png(map_of(1, 2, 3), voc_palette()))
    down = Affine(((1.0, 0.0, 0.0), (0.0, 1.0, -6.0)), WIDTH, HEIGHT)
    plan, files = plan_for(root, {IMAGE: [down]})
    edit(root, tmp_path / "out", plan, files)
    found = values(tmp_path / "out" / OBJECTS.replace(".png", "_aug1.png"))
    assert set(found.ravel().tolist()) == {0, 1, 2, 255}
    assert found[0, 10] == 1


def test_a_map_that_is_written_is_proven_and_read_back() -> None:
    first = map_of(15, 255, 3)
    data = encode_voc_map(first)
    assert is_voc_map(data, classes=True)
    np.testing.assert_array_equal(load_voc_map(data), first)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), first)


def test_a_name_of_two_images_keeps_its_xml_until_both_are_gone(root: Path, tmp_path: Path) -> None:
    twin = f"{YEAR}/JPEGImages/2007_000027.jpeg"
    write(root, twin, jpeg(8))
    done = edit(root, tmp_path / "one", Plan(removed=frozenset({twin})))
    assert done.results[XML] is Outcome.SAME
    done = edit(root, tmp_path / "two", Plan(removed=frozenset({twin, IMAGE})))
    assert done.results[XML] is Outcome.DROPPED
    plan, files = plan_for(root, {IMAGE: [None], twin: [None]})
    done = edit(root, tmp_path / "three", plan, files)
    assert len(set(done.new)) == 6
