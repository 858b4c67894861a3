"""Groups that stand in the dataset itself, without a table beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import jsonschema
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from curate.balance.audit.run import AuditOptions, audit
from curate.core.errors import DataError, UsageError
from tests.conftest import ROOT
from tests.layouts.shards import picture, write_tar
from tests.layouts.tables.samples import table, write_arrow, write_parquet

SCHEMA = json.loads((ROOT / "manifests/audit-1.schema.json").read_text())


def ask(source: str | Path, *by: str, **options: Any) -> dict[str, Any]:
    given = {name: options.pop(name) for name in ("groups", "label", "manifest") if name in options}
    report = audit(source, by, **given, options=AuditOptions(**options)).to_dict()
    jsonschema.validate(report, SCHEMA)
    return json.loads(json.dumps(report, allow_nan=False))


def groups(report: dict[str, Any], name: str) -> dict[str, int]:
    return {key: each["count"] for key, each in report["attributes"][name]["groups"].items()}


def save_images(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return folder


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """Images with a metadata.jsonl: an attribute, a number, several people in one photo."""
    source = save_images(tmp_path / "photos", "train/1.png", "train/2.png", "train/3.png")
    rows = [
        {"file_name": "1.png", "tone": "I", "age": 7, "gender": ["F", "M"]},
        {"file_name": "2.png", "tone": "II", "age": 40, "gender": ["F"]},
        {"file_name": "3.png", "tone": None, "age": 70.5, "when": {"year": 1}},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (source / "train/metadata.jsonl").write_text(text)
    return source


def test_columns_of_a_remote_dataset_are_groups(described: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{described}/", "/described/", recursive=True)
    try:
        report = ask("memory://described", "tone")
    finally:
        memory.rm("/described", recursive=True)
    assert groups(report, "tone") == {"I": 1, "II": 1, "(missing)": 1}


def test_a_json_that_is_not_cocos_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"a\.json lists no images; expected COCO's JSON"):
        ask(tmp_path / "a.json", "a")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    source = save_images(tmp_path / "coco", "val/a.png", "val/b.png", "val/c.png")
    said = [(1, 1, "F"), (1, 1, "M"), (1, 2, None), (2, 1, "F")]
    content = {
        "images": [{"id": 40 + n, "file_name": f"{'abc'[n]}.png"} for n in range(3)],
        "annotations": [
            {"id": n, "image_id": 39 + image, "category_id": category,
             **({"attributes": {"gender": gender}} if gender else {})}
            for n, (image, category, gender) in enumerate(said)
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
    }  # fmt: skip
    (source / "annotations").mkdir()
    (source / "annotations/instances_val.json").write_text(json.dumps(content))
    return source


def test_columns_of_metadata_are_groups(described: Path) -> None:
    report = ask(described, "tone", "split")
    assert groups(report, "tone") == {"I": 1, "II": 1, "(missing)": 1}
    assert groups(report, "split") == {"train": 3}
    assert report["input"]["own_columns"] == ["tone"]


def test_a_list_in_metadata_is_of_several_people(described: Path) -> None:
    assert groups(ask(described, "gender"), "gender") == {"F": 1, "F+M": 1, "(missing)": 1}
    assert groups(ask(described, "gender", per="person"), "gender") == {
        "F": 2, "M": 1, "(missing)": 1,
    }  # fmt: skip


def test_the_table_goes_before_what_the_dataset_says(described: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,tone,job\n1.png,III,cook\n3.png,,nurse\n")
    report = ask(described, "tone", "age", groups=tmp_path / "t.csv", label="job")
    assert groups(report, "tone") == {"III": 1, "(missing)": 2}
    assert groups(report, "age") == {"40": 1, "7": 1, "70.5": 1}
    assert report["input"]["own_columns"] == ["age"]


def test_what_is_no_plain_value_is_one_clear_line(described: Path) -> None:
    with pytest.raises(DataError, match=r"train/3\.png: when holds .*; expected text, a number"):
        ask(described, "when")


def test_a_column_that_is_nowhere_is_told_with_those_that_are(described: Path) -> None:
    with pytest.raises(UsageError, match=r"no column 'sex'; there is: split, category, .*tone"):
        ask(described, "sex")


def test_other_columns_of_a_table_of_images_are_groups(tmp_path: Path) -> None:
    content = table(4, tone=pa.array(["I", "II", None, "I"]))
    write_parquet(tmp_path / "pq/train.parquet", content)
    write_arrow(tmp_path / "arrow", content)
    for source in (tmp_path / "pq", tmp_path / "arrow", tmp_path / "pq/train.parquet"):
        report = ask(source, "tone", "label", label="category")
        assert groups(report, "tone") == {"I": 2, "II": 1, "(missing)": 1}, source
        assert groups(report, "label") == {"cat": 1, "dog": 1, "(missing)": 2}
        assert report["labels"]["cat"]["count"] == 1


def test_images_of_a_table_are_found_by_the_paths_it_keeps(tmp_path: Path) -> None:
    write_parquet(tmp_path / "pq/train.parquet", table(4))
    (tmp_path / "t.csv").write_text("file,tone\n0.png,I\nx/3.png,II\n")
    report = ask(tmp_path / "pq", "tone", groups=tmp_path / "t.csv")
    assert groups(report, "tone") == {"I": 1, "(missing)": 3}
    assert report["input"]["unmatched_examples"] == ["x/3.png"]


def test_a_value_of_a_table_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    days = pa.array(pd.to_datetime(["2020-01-01"] * 4))
    write_parquet(tmp_path / "pq/train.parquet", table(4, day=days))
    with pytest.raises(DataError, match=r"train\.parquet/00000000: day holds '2020-01-01"):
        ask(tmp_path / "pq", "day")
    pd.DataFrame({"id": ["1.png"], "day": pd.to_datetime(["2020-01-01"])}).to_parquet(
        tmp_path / "days.parquet"
    )
    source = save_images(tmp_path / "photos", "1.png")
    with pytest.raises(DataError, match=r"1\.png: day holds '2020-01-01"):
        ask(source, "day", groups=tmp_path / "days.parquet")


def test_the_texts_of_samples_are_groups(tmp_path: Path) -> None:
    members = []
    for number, tone in enumerate(("I", "II", "I")):
        members += [
            (f"{number}.png", picture(number)),
            (f"{number}.json", json.dumps({"tone": tone}).encode()),
            (f"{number}.cls", str(number % 2).encode()),
        ]
    write_tar(tmp_path / "shards/train-0.tar", members)
    for source in (tmp_path / "shards", tmp_path / "shards/train-0.tar"):
        report = ask(source, "tone", label="category")
        assert groups(report, "tone") == {"I": 2, "II": 1}
        assert {name: each["count"] for name, each in report["labels"].items()} == {"0": 2, "1": 1}


def test_a_text_of_a_sample_that_is_cut_off_is_one_clear_line(tmp_path: Path) -> None:
    write_tar(tmp_path / "s/0.tar", [("0.png", picture(0)), ("0.json", b'{"a": ')])
    with pytest.raises(
        DataError, match=r"'0\.tar', member '0\.json', is not valid JSON; the file may be truncated"
    ):
        ask(tmp_path / "s", "a")


def test_attributes_and_categories_of_annotations_are_groups_and_labels(coco: Path) -> None:
    report = ask(coco, "gender", label="category")
    assert groups(report, "gender") == {"F": 1, "F+M": 1, "(missing)": 1}
    labels = {name: each["count"] for name, each in report["labels"].items()}
    assert labels == {"dog": 1, "person": 2, "(missing)": 1}
    report = ask(coco, "gender", per="person", label="category")
    assert groups(report, "gender") == {"F": 2, "M": 1, "(missing)": 2}


def test_an_annotation_in_two_files_is_one(coco: Path) -> None:
    one = coco / "annotations/instances_val.json"
    (coco / "annotations/person_keypoints_val.json").write_bytes(one.read_bytes())
    assert groups(ask(coco, "gender", per="person"), "gender") == {"F": 2, "M": 1, "(missing)": 2}


def test_a_table_of_annotations_goes_before_those_of_the_dataset(coco: Path) -> None:
    table = coco / "annotations/instances_val.json"
    want = ask(coco, "gender", label="category", per="person")
    found = ask(coco, "gender", label="category", per="person", groups=table)
    assert found["census"] == want["census"]
    assert "own_columns" not in found["input"]


def test_images_are_found_by_the_ids_of_coco(coco: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image_id,tone\n40,I\n42,II\n99,I\n")
    report = ask(coco, "tone", "gender", groups=tmp_path / "t.csv")
    assert groups(report, "tone") == {"I": 1, "II": 1, "(missing)": 1}
    assert groups(report, "gender") == {"F": 1, "F+M": 1, "(missing)": 1}
    assert report["input"]["unmatched_examples"] == ["99"]


def test_an_id_that_two_files_give_to_two_images_means_neither(coco: Path, tmp_path: Path) -> None:
    save_images(coco, "train/d.png")
    images = [{"id": 40, "file_name": "d.png"}]
    (coco / "annotations/instances_train.json").write_text(
        json.dumps({"images": images, "annotations": [], "categories": []})
    )
    (tmp_path / "t.csv").write_text("image_id,tone\n40,I\n41,II\n")
    report = ask(coco, "tone", groups=tmp_path / "t.csv")
    assert groups(report, "tone") == {"II": 1, "(missing)": 3}
    assert report["input"]["ambiguous_examples"] == ["40"]


def test_people_of_a_table_go_beside_all_that_the_dataset_says(coco: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image_id,age\n40,old\n40,young\n41,old\n")
    options: dict[str, Any] = {"groups": tmp_path / "t.csv", "per": "person"}
    report = ask(coco, "age", label="category", **options)
    assert groups(report, "age") == {"old": 2, "young": 1, "(missing)": 1}
    with pytest.raises(DataError, match=r"val/a\.png: both the dataset and the table list sev"):
        ask(coco, "age", "gender", **options)


def test_ids_that_could_all_mean_several_are_told_apart_from_strangers(tmp_path: Path) -> None:
    source = save_images(tmp_path / "photos", "a/1.png", "b/1.png")
    (tmp_path / "t.csv").write_text("file,tone\n1.png,I\n")
    with pytest.raises(DataError, match=r"such as '1\.png', are ambiguous; use longer"):
        ask(source, "tone", groups=tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("file,tone\n2.png,I\n")
    with pytest.raises(DataError, match=r"'2\.png', matches a record; ids are file names"):
        ask(source, "tone", groups=tmp_path / "t.csv")


def test_an_annotation_that_cannot_be_read_names_the_way_out(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png")
    (tmp_path / "labels").mkdir()
    for line in ("0 .5 .5 1.0004 .2", "0 .5 .5 .2 .2 .97", "x .5 .5 .2 .2"):
        (tmp_path / "labels/a.txt").write_text(line)
        with pytest.raises(DataError, match=r"labels/a\.txt, line 1.*; fix it, or remove this ann"):
            ask(tmp_path, "category")


def test_categories_of_lvis_are_counted(tmp_path: Path) -> None:
    save_images(tmp_path, "val2017/1.png", "train2017/2.png")
    images = [{"id": n, "coco_url": f"http://x/{name}/{n}.png"}
              for n, name in ((1, "val2017"), (2, "train2017"))]  # fmt: skip
    labels = [{"id": n, "image_id": n, "category_id": 1, "score": float("nan")} for n in (1, 2)]
    lvis = {"images": images, "annotations": labels, "categories": [{"id": 1, "name": "can"}]}
    (tmp_path / "lvis_v1.json").write_text(json.dumps(lvis))
    assert groups(ask(tmp_path, "category"), "category") == {"can": 2}
