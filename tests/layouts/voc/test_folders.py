"""Pascal VOC in the folders in which labeling tools and hosts of datasets have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import fsspec
import pytest

import curate
from curate import Recipe, Session
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs
from curate.core.errors import DataError
from curate.layouts import describe, open_source
from curate.pipeline.verify import iter_problems, verify
from curate.publishing.dataset import open_dataset
from curate.publishing.hub.objects import open_objects
from tests.contract.test_layouts import save_no_faces
from tests.layouts.editing.outputs import edit, mirror, plan_for
from tests.layouts.examples.example import jpeg, write
from tests.layouts.examples.voc import annotation

Pairs = list[tuple[str, str]]


def pairs(images: str, labels: str, *folders: str, names: str = "ab") -> Pairs:
    """Paths of images and labels in pairs of folders, in which ``*`` is one of some folders."""
    return [
        (f"{images.replace('*', folder)}{name}.jpg", f"{labels.replace('*', folder)}{name}.xml")
        for folder in folders or ("",)
        for name in names
    ]


SHAPES: dict[str, Pairs] = {
    "flat": pairs("", ""),
    "splits": pairs("*/", "*/", "train", "valid", "test"),
    "an export in a folder": pairs("masks.v1i.voc/*/", "masks.v1i.voc/*/", "train", "test"),
    "classes": pairs("*/", "*/", "cat", "dog"),
    "two folders": pairs("images/", "annotations/"),
    "folders in themselves": pairs("images/images/", "annotations/annotations/"),
    "xmls": pairs("images/", "annotations/xmls/"),
    "splits of folders": pairs("*/images/", "*/annotations/", "train", "test"),
    "folders of splits": pairs("images/*/", "annotations/*/", "train", "test"),
    "labels below": pairs("", "xml/"),
    "countries": pairs("*/train/images/", "*/train/annotations/xmls/", "India", "Japan"),
    "unusual names": pairs("Data/*/", "Boxes/*/", "n1", "n2"),
    "breeds": pairs("images/Images/*/", "annotations/Annotation/*/", "n1", "n2"),
    "many classes": pairs("images/*/", "annotations/*/", *(f"c{n}" for n in range(80)), names="a"),
}


def build(root: Path, shape: str | Pairs) -> Pairs:
    wanted = SHAPES[shape] if isinstance(shape, str) else shape
    for seed, (image, label) in enumerate(wanted):
        write(root, image, jpeg(seed % 8))
        write(root, label, annotation(PurePosixPath(image).name))
    return wanted


@pytest.mark.parametrize("shape", SHAPES)
def test_images_have_the_objects_of_their_xml(shape: str, tmp_path: Path) -> None:
    wanted = build(tmp_path, shape)
    source = open_source(str(tmp_path))
    assert source.layout == "voc"
    assert list(source.check()) == list(source.check(strict=True)) == []
    rows = dict(source.annotations(["category"]))
    assert rows == {image: {"category": "person", "difficult": "0"} for image, _ in wanted}
    splits = {record.id: record.split for record in source.records()}
    words = ("train", "valid", "test")
    assert splits == {
        image: next((word for word in words if f"{word}/" in image), None) for image, _ in wanted
    }


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "many classes"])
def test_an_output_has_each_xml_and_a_correction_edits_it(shape: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    wanted = build(root, shape)
    faces = save_no_faces([image for image, _ in wanted], tmp_path / "faces.parquet")
    done = curate.blur(root, out, Recipe(), Session(faces=faces, workers=1))
    assert done.others["carried"] == len(wanted)
    for path in (path for pair in wanted for path in pair):
        assert (out / "data" / path).read_bytes() == (root / path).read_bytes(), path
    assert list(iter_problems(out, root, 1)) == []
    (removed, gone), (image, label), *_ = wanted
    plan, files = plan_for(root, {image: [mirror(48, 40)]})
    plan.removed = frozenset({removed})
    changed = edit(root, tmp_path / "edited", plan, files)
    assert changed.new == [label.replace(".xml", "_aug1.xml")]
    after = open_source(str(tmp_path / "edited"))
    assert list(after.check(strict=True)) == []
    ids = {record.id for record in after.records()}
    assert ids == {name for name, _ in wanted} - {removed} | {image.replace(".jpg", "_aug1.jpg")}
    assert dict(after.annotations(["category"])).keys() == ids
    assert not (tmp_path / "edited" / gone).exists()
    moved = ElementTree.parse(tmp_path / "edited" / changed.new[0])  # noqa: S314 - made here
    assert moved.findtext("filename") == "b_aug1.jpg"
    assert moved.findtext("object/bndbox/xmin") == "19"


@pytest.mark.parametrize(
    ("images", "labels"),
    [("train/", "train/"), ("images/", "annotations/xmls/"), ("", "xml/")],
)
def test_a_balanced_output_verifies_and_is_published_with_its_boxes(
    images: str, labels: str, tmp_path: Path
) -> None:
    wanted = build(tmp_path / "in", pairs(images, labels, names="abcd"))
    blurred, out, table = tmp_path / "blurred", tmp_path / "out", tmp_path / "groups.csv"
    faces = save_no_faces([image for image, _ in wanted], tmp_path / "faces.parquet")
    curate.blur(tmp_path / "in", blurred, Recipe(), Session(faces=faces, workers=1))
    lines = (f"{image},{'x' if image == wanted[0][0] else 'y'}" for image, _ in wanted)
    table.write_text("\n".join(["file,group", *lines]))
    options = BalanceOptions(
        strategy="augment", by=(("group",),), tolerance=0.0, max_copies=9,
        augmentation="photometric",
    )  # fmt: skip
    inputs = BalanceInputs(groups=table, augmentation="photometric")
    rebalance(str(blurred), out, options, inputs, Session(workers=1))
    assert verify(out, None, 1).problems == ()
    source = open_source(str(out / "data"))
    assert list(source.check(strict=True)) == []
    dataset = open_dataset(out)
    objects = open_objects(dataset)
    assert objects is not None
    assert objects.classes == ("person",)
    found = {item.id: objects.find(item) for item in dataset.items()}
    assert all(len(boxes) == 1 for boxes in found.values())
    assert len(found) == len(list(source.records())) == len(wanted) + 2


def test_a_remote_dataset_is_found_alike() -> None:
    memory = fsspec.filesystem("memory")
    for number, (image, label) in enumerate(SHAPES["xmls"]):
        memory.pipe(f"/pets/{image}", jpeg(number))
        memory.pipe(f"/pets/{label}", annotation(PurePosixPath(image).name).encode())
    try:
        source = open_source("memory://pets")
        assert source.layout == "voc"
        assert dict(source.annotations(["category"])).keys() == {"images/a.jpg", "images/b.jpg"}
    finally:
        memory.rm("/pets", recursive=True)


def test_lists_beside_other_folders_give_the_splits(tmp_path: Path) -> None:
    build(tmp_path, "two folders")
    write(tmp_path, "ImageSets/Main/train.txt", "a\n")
    write(tmp_path, "ImageSets/Main/val.txt", "b\n")
    source = open_source(str(tmp_path))
    assert list(source.check()) == []
    assert [record.split for record in source.records()] == ["train", "val"]
    plan, files = plan_for(tmp_path, {"images/b.jpg": [None]})
    edit(tmp_path, tmp_path.with_name("edited"), plan, files)
    lines = tmp_path.with_name("edited") / "ImageSets/Main/val.txt"
    assert lines.read_text() == "b\nb_aug1\n"


@pytest.mark.parametrize("masks", ["annotations/trimaps", "masks", "annotations/a_masks"])
@pytest.mark.parametrize("photos", ["images", "photos"])
def test_masks_of_the_same_names_are_not_the_images(
    photos: str, masks: str, tmp_path: Path
) -> None:
    for name in "ab":
        write(tmp_path, f"{photos}/{name}.jpg", jpeg(1))
        write(tmp_path, f"{masks}/{name}.png", jpeg(2))
        write(tmp_path, f"annotations/xmls/{name}.xml", annotation(f"{name}.jpg"))
    source = open_source(str(tmp_path))
    assert source.layout == "voc"
    assert dict(source.annotations(["category"])).keys() == {f"{photos}/a.jpg", f"{photos}/b.jpg"}


LABELME = (
    "<annotation><filename>a.jpg</filename><imagesize><nrows>40</nrows></imagesize>"
    "<object><name>dog</name><polygon><pt><x>1</x><y>2</y></pt></polygon></object></annotation>"
)
OTHERS = {
    "a sitemap": "<?xml version='1.0'?><urlset><url><loc>https://x.org</loc></url></urlset>",
    "CVAT": "<annotations><version>1.1</version><image name='a.jpg'></image></annotations>",
    "LabelMe": LABELME,
    "nothing": "",
    "no XML": "size bndbox",
    "a document type": "<!DOCTYPE annotation [<!ENTITY a 'b'>]><annotation><size/></annotation>",
    "comments": "<!-- a -->" * 5000 + "<urlset><annotation><size/></annotation></urlset>",
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("folder", ["", "annotations/"])
def test_xml_of_another_kind_is_no_annotation(folder: str, other: str, tmp_path: Path) -> None:
    write(tmp_path, "images/a.jpg" if folder else "a.jpg", jpeg(1))
    write(tmp_path, f"{folder}a.xml", OTHERS[other])
    source = open_source(str(tmp_path))
    assert source.layout == "imagefolder"
    assert "--format" not in describe(source)
    with pytest.raises(DataError, match=r"no XML files of Pascal VOC; drop --format voc"):
        list(open_source(str(tmp_path), "voc").check())


@pytest.mark.parametrize("other", OTHERS)
def test_xml_of_another_kind_among_annotations_is_left_out(other: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    write(root, "c.jpg", jpeg(3))
    write(root, "c.xml", OTHERS[other])
    names = [*(image for image, _ in build(root, "flat")), "c.jpg"]
    notes = list(open_source(str(root)).check(strict=True))
    assert notes[0] == "XML files that are not of Pascal VOC left out: 1, such as 'c.xml'."
    assert notes[1:] == ["1 images have no XML file, such as 'c'."]
    faces = save_no_faces(names, tmp_path / "faces.parquet")
    curate.blur(root, out, Recipe(), Session(faces=faces, workers=1))
    assert sorted(path.name for path in (out / "data").glob("*.xml")) == ["a.xml", "b.xml"]
    assert list(iter_problems(out, root, 1)) == []


@pytest.mark.parametrize("damage", ["cut off", "deep"])
def test_a_damaged_annotation_ends_the_run_before_its_work(damage: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    build(root, "two folders")
    text = annotation("a.jpg")
    broken = {"cut off": text[:300], "deep": text.replace("<size>", "<a>" * 70 + "<size>")}[damage]
    write(root, "annotations/a.xml", broken)
    with pytest.raises(DataError, match=r"annotations/a\.xml.*--include 'annotations/a\.xml'"):
        curate.blur(root, tmp_path / "out", Recipe(profile="fast"))
    assert not (tmp_path / "out/data").exists()


def test_an_xml_belongs_to_the_image_of_its_name(tmp_path: Path) -> None:
    build(tmp_path, "two folders")
    write(tmp_path, "annotations/b.xml", annotation("a.jpg"))
    write(tmp_path, "annotations/c.xml", annotation("d.jpg"))
    write(tmp_path, "images/d.jpg", jpeg(4))
    source = open_source(str(tmp_path))
    assert list(source.check()) == [
        "2 XML files name another image in <filename> than that of their name, to which they "
        "belong, such as 'annotations/b.xml: a.jpg'.",
        "1 images have no XML file, such as 'images/d'.",
        "1 XML files have no image, such as 'images/c'.",
    ]
    assert [image for image, _ in source.annotations([])] == ["images/a.jpg", "images/b.jpg"]


def few(root: Path) -> None:
    for name in ("cat/a", "cat/b", "dog/a", "dog/b", "dog/c"):
        write(root, f"{name}.jpg", jpeg(1))
    for name in ("cat/a", "dog/c"):
        write(root, f"{name}.xml", annotation(f"{name[-1]}.jpg"))


def coco(root: Path) -> None:
    build(root, "two folders")
    document = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}
    write(root, "annotations/instances.json", json.dumps(document))


def yolo(root: Path) -> None:
    build(root, "two folders")
    write(root, "labels/a.txt", "0 0.5 0.5 0.2 0.2\n")


def metadata(root: Path) -> None:
    build(root, "flat")
    write(root, "metadata.jsonl", '{"file_name": "a.jpg"}\n{"file_name": "b.jpg"}\n')


@pytest.mark.parametrize(
    ("make", "layout"),
    [(few, "imagefolder"), (coco, "coco"), (yolo, "yolo"), (metadata, "hf_folder")],
)
def test_another_layout_comes_first_and_the_option_is_named(
    make: Callable[[Path], None], layout: str, tmp_path: Path
) -> None:
    make(tmp_path)
    source = open_source(str(tmp_path))
    assert source.layout == layout
    assert "Pascal VOC files (" in describe(source)
    assert describe(source).endswith("which --format voc reads instead.")
    chosen = open_source(str(tmp_path), "voc")
    list(chosen.check(strict=True))
    assert "Pascal VOC files" not in describe(chosen)
    assert len(list(chosen.annotations(["category"]))) == 2


def test_few_annotations_without_classes_are_voc(tmp_path: Path) -> None:
    build(tmp_path, "flat")
    for number in range(8):
        write(tmp_path, f"more{number}.jpg", jpeg(1))
    [note] = open_source(str(tmp_path)).check()
    assert note == "8 images have no XML file, such as 'more0'."


def test_folders_of_classes_are_named_with_the_option_that_reads_them(tmp_path: Path) -> None:
    build(tmp_path, "classes")
    assert describe(open_source(str(tmp_path))) == (
        "SOURCE is voc: cat/a.xml for cat/a.jpg. Folders are not read as classes; to do so, use "
        "--format imagefolder."
    )
    chosen = open_source(str(tmp_path), "imagefolder")
    assert {record.category for record in chosen.records()} == {"cat", "dog"}


def test_an_audit_counts_the_objects_and_given_faces_are_hidden(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    build(root, "splits")
    images = [image for image, _ in SHAPES["splits"]]
    given = [{"file": image, "faces": []} for image in images[1:]]
    given.append({"file": images[0], "faces": [{"xyxy": [5, 5, 25, 25]}]})
    (tmp_path / "faces.json").write_text(json.dumps(given))
    assert curate.blur(root, out, faces=tmp_path / "faces.json").faces == 1
    audit = curate.audit(out / "data", by=["difficult"], label="category")
    assert audit.to_dict()["labels"]["person"]["count"] == len(images)
