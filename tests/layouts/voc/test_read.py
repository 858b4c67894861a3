from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.encodings import iter_utf8
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.rewrite import rewrite_xml
from curate.pipeline.verify import iter_problems
from tests.contract.test_layouts import save_no_faces
from tests.layouts.examples.example import jpeg, write
from tests.layouts.examples.voc import annotation


@pytest.mark.parametrize("place", ["", "VOC2007/", "VOCdevkit/VOC2007/"])
def test_the_folder_of_a_year_or_one_above_can_be_given(place: str, tmp_path: Path) -> None:
    write(tmp_path, f"{place}JPEGImages/a.jpg", jpeg(1))
    write(tmp_path, f"{place}Annotations/a.xml", annotation("a.jpg"))
    write(tmp_path, f"{place}ImageSets/Main/test.txt", "a 1\n")
    source = open_source(str(tmp_path))
    assert source.layout == "voc"
    assert list(source.check()) == []
    assert [(r.id, r.split) for r in source.records()] == [(f"{place}JPEGImages/a.jpg", "test")]


def test_years_do_not_mix(tmp_path: Path) -> None:
    for year, split in (("VOC2007", "train"), ("VOC2012", "val")):
        write(tmp_path, f"{year}/JPEGImages/a.jpg", jpeg(1))
        write(tmp_path, f"{year}/Annotations/a.xml", annotation("a.jpg"))
        write(tmp_path, f"{year}/ImageSets/Main/{split}.txt", "a\n")
    source = open_source(str(tmp_path))
    assert list(source.check()) == []
    assert [record.split for record in source.records()] == ["train", "val"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("images", "labels"), [("JPEGImages", "Annotations"), ("images", "annotations"), ("", "")]
)
def test_real_photos_with_boxes(
    images: str, labels: str, shared_data: Path, tmp_path: Path
) -> None:
    photos = json.loads((shared_data / "facemask/faces.json").read_text())
    for photo in photos[:12]:
        name = Path(photo["file"]).name
        found = shared_data / "facemask/images" / name
        write(tmp_path, f"s/{images}/{name}", found.read_bytes())
        write(tmp_path, f"s/{labels}/{found.stem}.xml", annotation(name))
    source = open_source(str(tmp_path / "s"))
    ids = [record.id for record in source.records()]
    faces = save_no_faces(ids, tmp_path / "faces.parquet")
    summary = curate.blur(
        tmp_path / "s", tmp_path / "out", Recipe(), Session(faces=faces, workers=1)
    )
    assert (summary.written, summary.others["carried"]) == (12, 12)
    assert list(iter_problems(tmp_path / "out", tmp_path / "s", 1)) == []


CHINESE = (
    "<annotation><filename>\u732b.jpg</filename><object><name>\u732b</name></object></annotation>"
)


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "iso-8859-1", "utf-8", "utf-16"])
def test_xml_is_read_in_the_encoding_that_it_declares(encoding: str, tmp_path: Path) -> None:
    text = CHINESE.replace("\u732b", "\u00e9") if encoding == "iso-8859-1" else CHINESE
    name = text.partition("<name>")[2].partition("<")[0]
    write(tmp_path, "JPEGImages/a.jpg", jpeg(1))
    data = f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
    write(tmp_path, "Annotations/a.xml", data)
    source = open_source(str(tmp_path))
    [note] = source.check()
    assert "annotation/size/width is '';" in note
    assert list(source.annotations(["category"])) == [("JPEGImages/a.jpg", {"category": name})]
    out = io.BytesIO()
    rewrite_xml(io.BytesIO(data), out, "a.xml", Limits())
    assert f"<name>{name}</name>" in out.getvalue().decode()


@pytest.mark.parametrize("encoding", ["gbk", "nothing", "hex", "utf-7", "cp037"])
def test_xml_that_is_not_in_its_encoding_is_one_note(encoding: str, tmp_path: Path) -> None:
    write(tmp_path, "JPEGImages/a.jpg", jpeg(1))
    head = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    write(tmp_path, "Annotations/a.xml", head + b"<annotation>\xff\xff</annotation>")
    [note] = open_source(str(tmp_path)).check()
    assert re.search(r"first: Annotations/a\.xml is not valid (gbk|utf-8) text\.$", note)


def test_a_windows_path_is_one_note(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"JPEGImages/{name}.jpg", jpeg(1))
        xml = annotation(f"D:\\photos\\{name}.jpg")
        write(tmp_path, f"Annotations/{name}.xml", xml)
    [note] = open_source(str(tmp_path)).check()
    assert note.startswith("2 problems in XML files; the first: ")


@pytest.mark.parametrize(
    ("text", "count"),
    [("<x></x>", 400_000), ("<x/>", 400_000), ("<x a='1'/>", 200_000), ("<x>=</x>", 200_000)],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_number_of_elements_and_attributes_is_limited(
    text: str, count: int, encoding: str
) -> None:
    file = io.BytesIO((text * count).encode(encoding))
    assert b"".join(iter_utf8(file, "a.xml")).decode().count(text) == count
    file = io.BytesIO((text * count + "<y/>").encode(encoding))
    with pytest.raises(DataError, match="more than 400,000 elements and attributes"):
        list(iter_utf8(file, "a.xml"))
