"""Withdrawn images leave nothing in OUT that is theirs, and OUT still verifies."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate.core.errors import DataError
from curate.layouts import open_source
from curate.manifest.others import iter_others
from curate.publishing.dataset import open_dataset
from curate.publishing.hub import withdraw as module
from curate.publishing.hub.withdraw import withdraw
from tests.layouts.examples.example import jpeg, write

LAYOUTS = ("coco", "voc", "yolo", "hf_folder", "imagefolder", "webdataset", "parquet", "arrow")


def blur(source: Path, **options: object) -> Path:
    records = open_source(str(source), "auto").records()
    faces = [{"file": record.id, "faces": []} for record in records]
    (source.parent / "faces.json").write_text(json.dumps(faces))
    session = curate.Session(workers=1, faces=source.parent / "faces.json")
    curate.blur(source, source.parent / "out", session=session, quiet=True, **options)
    return source.parent / "out"


def texts(out: Path) -> str:
    files = (path for path in (out / "data").rglob("*") if path.is_file())
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


def ids(out: Path) -> list[str]:
    return [item.id for item in open_dataset(out).items() if item.is_written]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_output_of_every_layout_verifies_after_a_withdrawal(layout: str, source: Path) -> None:
    importlib.import_module(f"tests.layouts.examples.{layout}").build(source)
    out = blur(source)
    before = ids(out)
    withdraw(open_dataset(out), before[:1])
    assert ids(out) == before[1:]
    assert list(curate.iter_problems(out, None, 1)) == []
    assert not [each for each in out.iterdir() if each.name.startswith(".withdraw")]


def build_coco(source: Path) -> None:
    images, annotations = [], []
    for number, name in enumerate(("anna_1", "street_2", "street_3")):
        write(source, f"images/{name}.jpg", jpeg(number))
        images.append({"id": number, "file_name": f"{name}.jpg", "width": 48, "height": 40})
        annotations.append({"id": number, "image_id": number, "caption": f"of {name} x"})
    write(source, "captions.json", json.dumps({"images": images, "annotations": annotations}))


def build_hf(source: Path) -> None:
    lines = []
    for number, name in enumerate(("anna_1", "street_2", "street_3")):
        write(source, f"{name}.jpg", jpeg(number))
        lines.append(json.dumps({"file_name": f"{name}.jpg", "text": f"of {name} x"}))
    write(source, "metadata.jsonl", "".join(f"{line}\n" for line in lines))


def build_voc(source: Path) -> None:
    names = ("anna_1", "street_2", "street_3")
    for number, name in enumerate(names):
        write(source, f"JPEGImages/{name}.jpg", jpeg(number))
        text = f"<annotation><filename>{name}.jpg</filename></annotation>"
        write(source, f"Annotations/{name}.xml", text)
    write(source, "ImageSets/Main/train.txt", "".join(f"{name}\n" for name in names))


def build_yolo(source: Path) -> None:
    for number, name in enumerate(("anna_1", "street_2", "street_3")):
        write(source, f"images/train/{name}.jpg", jpeg(number))
        write(source, f"labels/train/{name}.txt", "0 0.5 0.5 0.25 0.25\n")
    write(source, "data.yaml", "path: .\ntrain: images/train\nval: images/train\nnames: [dog]\n")


BUILD = {"coco": build_coco, "hf_folder": build_hf, "voc": build_voc, "yolo": build_yolo}


@pytest.mark.parametrize("layout", BUILD)
def test_annotations_of_a_withdrawn_image_are_removed(layout: str, source: Path) -> None:
    BUILD[layout](source)
    out = blur(source)
    assert "anna_1" in texts(out) or (out / "data/labels/train/anna_1.txt").is_file()
    [name] = [each for each in ids(out) if "anna_1" in each]
    assert withdraw(open_dataset(out), [name]) == []
    assert "anna_1" not in texts(out)
    assert not list((out / "data").rglob("*anna_1*"))
    assert list(curate.iter_problems(out, None, 1)) == []
    others = {other.path: other for other in iter_others(out / "manifest")}
    for other in others.values():
        assert other.is_there == (out / "data" / other.path).is_file()


def test_rows_of_a_withdrawn_image_are_empty(source: Path) -> None:
    rows = [
        {"image": {"bytes": jpeg(n), "path": f"{name}.jpg"}, "caption": f"of {name}", "id": n}
        for n, name in enumerate(("anna_1", "street_2"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), source / "train.parquet")
    out = blur(source)
    withdraw(open_dataset(out), ids(out)[:1])
    table = pq.read_table(out / "data/train.parquet").to_pylist()
    assert table[0] == {"image": None, "caption": None, "id": None}
    assert table[1]["caption"] == "of street_2"
    assert list(curate.iter_problems(out, None, 1)) == []


def test_other_annotations_that_name_the_image_are_named(source: Path) -> None:
    build_coco(source)
    path = source / "captions.json"
    value = json.loads(path.read_text())
    value["annotations"][1]["caption"] = "see anna_1.jpg"
    path.write_text(json.dumps(value))
    out = blur(source)
    [note] = withdraw(open_dataset(out), ["images/anna_1.jpg"])
    assert note.startswith("captions.json: it may name 1 removed image")


def test_a_row_of_several_images_is_removed_with_one_of_them(source: Path) -> None:
    names = ("anna_1", "street_2", "street_3")
    for number, name in enumerate(names):
        write(source, f"{name}.jpg", jpeg(number))
    pair = {"file_name": "anna_1.jpg", "other_file_name": "street_2.jpg"}
    lines = [json.dumps(pair), json.dumps({"file_name": "street_3.jpg", "other_file_name": None})]
    write(source, "metadata.jsonl", "".join(f"{line}\n" for line in lines))
    out = blur(source)
    withdraw(open_dataset(out), ["anna_1.jpg"])
    assert (out / "data/metadata.jsonl").read_text() == f"{lines[1]}\n"
    assert list(curate.iter_problems(out, None, 1)) == []


def wider(source: Path) -> None:
    texts = []
    for number, name in enumerate(("anna_1", "street_2", "street_3")):
        write(source, f"{name}.jpg", jpeg(number))
        texts.append(f"{name}.jpg\n2\n4 5 12 14 0 0 0 0 0 0\n20 5 12 14 0 0 0 0 0 0\n")
    write(source, "wider_face_train_bbx_gt.txt", "".join(texts))


@pytest.mark.parametrize("pattern", ["*.txt", "wider*"])
def test_a_text_whose_records_span_lines_is_refused(pattern: str, source: Path) -> None:
    wider(source)
    out = blur(source, include=(pattern,))
    assert "anna_1" in texts(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"records of several lines.*run curate blur"):
        withdraw(open_dataset(out), ["anna_1.jpg"])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


PERSONAL = [
    *(hashlib.md5(bytes(n), usedforsecurity=False).hexdigest() for n in range(3)),
    "anna@example.org",
    "street",
]


@pytest.mark.parametrize("layout", ["imagefolder", "coco", "webdataset"])
def test_names_of_images_that_remain_are_counted(layout: str, source: Path) -> None:
    names = [f"{name}.jpg" for name in PERSONAL]
    if layout == "webdataset":
        with tarfile.open(source / "train.tar", "w") as archive:
            for number, name in enumerate(names):
                info = tarfile.TarInfo(name)
                info.size = len(jpeg(number))
                archive.addfile(info, io.BytesIO(jpeg(number)))
    else:
        for number, name in enumerate(names):
            write(source, f"images/{name}", jpeg(number))
    if layout == "coco":
        images = [
            {"id": n, "file_name": name, "width": 48, "height": 40} for n, name in enumerate(names)
        ]
        write(source, "instances.json", json.dumps({"images": images, "annotations": []}))
    out = blur(source)
    before = curate.load_manifest(out).run["content"]["found"]["names of images"]
    withdraw(open_dataset(out), ids(out)[:1])
    assert curate.load_manifest(out).run["content"]["found"]["names of images"] != before
    assert list(curate.iter_problems(out, None, 1)) == []
    withdraw(open_dataset(out), ids(out))
    assert "names of images" not in curate.load_manifest(out).run["content"]["found"]
    assert list(curate.iter_problems(out, None, 1)) == []


def test_copied_files_do_not_list_withdrawn_images(source: Path) -> None:
    build_coco(source)
    write(source, "images/broken.jpg", b"no image")
    write(source, "images.csv", "file\nbroken.jpg\n")
    out = source.parent / "out"
    curate.blur(source, out, profile="fast", include=("images.csv",), workers=1)
    note = "files copied with --include may still list withheld images"
    assert note in curate.verify(out, workers=1).checked
    withdraw(open_dataset(out), ["images/anna_1.jpg"])
    assert note in curate.verify(out, workers=1).checked
    withdraw(open_dataset(out), ["images/broken.jpg"])
    assert note not in curate.verify(out, workers=1).checked


def people(source: Path) -> Iterable[str]:
    for number, name in enumerate(("Anna/deep/a", "Others/b", "Others/c")):
        write(source, f"{name}.jpg", jpeg(number))
    return ("Anna/deep/a.jpg",)


def test_folders_of_withdrawn_images_are_removed(source: Path) -> None:
    wanted = people(source)
    out = blur(source)
    withdraw(open_dataset(out), wanted)
    assert {path.name for path in (out / "data").iterdir()} == {"Others"}
    assert list(curate.iter_problems(out, None, 1)) == []


CASES = [
    *(("voc", step) for step in ("_rewrite_parts", "_note_files", "_replace_files")),
    ("yolo", "_note_files"),
    ("coco", "_note_files"),
    ("coco", "_rewrite_run"),
    ("people", "_remove_empty"),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("kind", "step"), CASES)
def test_an_interrupted_withdrawal_is_finished_by_the_same_command(
    kind: str, step: str, when: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (people if kind == "people" else BUILD[kind])(source)
    out = blur(source)
    wanted = [each for each in ids(out) if "anna" in each.lower()]
    does = getattr(module, step)

    def fail(*args: object) -> None:
        if when == "after":
            does(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, step, fail)
    with pytest.raises(KeyboardInterrupt):
        withdraw(open_dataset(out), wanted)
    monkeypatch.setattr(module, step, does)
    withdraw(open_dataset(out), wanted)
    assert "anna" not in texts(out).lower()
    assert not [each for each in (out / "data").rglob("*") if "anna" in each.name.lower()]
    assert list(curate.iter_problems(out, None, 1)) == []
