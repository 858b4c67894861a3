from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.publishing.croissant.build import CONFORMS_TO
from curate.publishing.croissant.validate import validate
from tests.publishing.outs import write_answers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlcroissant

pytestmark = pytest.mark.filterwarnings("ignore")  # its dependencies are deprecated


@pytest.fixture
def out(publishable: Path, tmp_path: Path) -> Path:
    return shutil.copytree(publishable, tmp_path / "place") / "out"


def read(folder: Path, record_set: str) -> list[dict[str, Any]]:
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    return list(dataset.records(record_set))


def export(out: Path, form: str | None = None) -> Path:
    place = out.with_name("exported")
    curate.push(out, None, curate.PushOptions(to=str(place), form=form, workers=1))
    return place


def test_records_of_an_image_folder_are_read(out: Path) -> None:
    place = export(out)
    assert read(place, "splits") == [
        {"splits/name": "test", "splits/images": 2}, {"splits/name": "train", "splits/images": 5},
    ]  # fmt: skip
    assert read(place, "classes-label") == [
        {"classes-label/id": 0, "classes-label/name": "cat"},
        {"classes-label/id": 1, "classes-label/name": "dog"},
    ]
    records = read(place, "images-train")
    assert len(records) == 5
    assert {record["images-train/label"] for record in records} == {b"cat", b"dog"}
    assert {record["images-train/image"].size for record in records} == {(48, 40)}


def test_records_of_parquet_are_read(out: Path) -> None:
    records = read(export(out, "parquet"), "images-train")
    assert len(records) == 5
    assert {record["images-train/label"] for record in records} == {0, 1}
    assert {record["images-train/image"].size for record in records} == {(48, 40)}
    assert {record["images-train/split"] for record in records} == {b"train"}


def test_boxes_are_read_with_their_classes(tmp_path: Path) -> None:
    from tests.hub.test_layouts import EXAMPLES
    from tests.hub.test_layouts import make_out as make

    out = make(EXAMPLES["coco"], tmp_path, None)
    place = export(out)
    records = read(place, "images-train")
    boxes = {
        record["images-train/file_name"]: [
            one["images-train/objects/bbox"] for one in record["images-train/objects"]
        ]
        for record in records
    }
    assert boxes == {
        b"train2017/a.jpg": [[1.0, 2.5, 3.0, 4.0]], b"train2017/b.png": [[0.0, 0.0, 9.0, 9.0]],
    }  # fmt: skip
    croissant = json.loads((place / "croissant.json").read_text())
    text = json.dumps(croissant)
    assert '"cr:BoundingBox"' in text
    assert read(place, "classes-objects-category") == [
        {"classes-objects-category/id": 0, "classes-objects-category/name": "dog"}
    ]


def test_digests_are_those_of_the_files(out: Path) -> None:
    import hashlib

    place = export(out, "parquet")
    croissant = json.loads((place / "croissant.json").read_text())
    files = [item for item in croissant["distribution"] if item["@type"] == "cr:FileObject"]
    assert {item["contentUrl"].rpartition(".")[2] for item in files} >= {"parquet", "jpg"}
    for item in files:
        data = (place / item["contentUrl"]).read_bytes()
        assert item["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("webdataset", None),
        ("yolo-jpeg", "webdataset"),
        ("hf_folder", None),
        ("voc", "imagefolder"),
        ("imagefolder", None),
        ("voc", None),
        ("yolo", None),
        ("arrow", None),
    ],
)
def test_the_images_of_every_split_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str | None
) -> None:
    from mlcroissant._src.operation_graph.operations import extract

    from tests.hub.test_layouts import EXAMPLES
    from tests.hub.test_layouts import make_out as make

    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path / "cache"))
    out = make(EXAMPLES[name], tmp_path, form)
    place = export(out, form)
    wanted = Counter(split or "train" for split in EXAMPLES[name].splits.values())
    found = Counter[str]()
    for split in wanted:
        for record in read(place, f"images-{split}"):
            assert record[f"images-{split}/split"] == split.encode()
            found[split] += sum(hasattr(value, "size") for value in record.values())
    assert found == wanted


def test_boxes_of_an_image_folder_are_read(tmp_path: Path) -> None:
    from tests.hub.test_layouts import EXAMPLES
    from tests.hub.test_layouts import make_out as make

    place = export(make(EXAMPLES["voc"], tmp_path, None), "imagefolder")
    for record in [*read(place, "boxes-train"), *read(place, "boxes-val")]:
        split = "train" if "boxes-train/bbox" in record else "val"
        assert record[f"boxes-{split}/bbox"] == [[1.0, 2.0, 30.0, 31.0]]
        assert record[f"boxes-{split}/category"] == [b"person"]
        assert (place / "data" / split / record[f"boxes-{split}/file_name"].decode()).is_file()


def test_the_specifications_names_are_used(out: Path) -> None:
    write_answers(out, collected='["2025-03-01", "2025-09-30"]')
    curate.write_card(out)
    croissant = json.loads((out / "croissant.json").read_text())
    assert croissant["conformsTo"] == list(CONFORMS_TO)
    assert croissant["rai:dataCollectionTimeframe"] == ["2025-03-01", "2025-09-30"]
    assert "diffuse" in croissant["rai:dataManipulationProtocol"]
    assert not {"rai:dataDataManipulationProtocol", "rai:dataCollectionTimeFrame"} & set(croissant)
    validate(croissant)


def test_provenance_goes_from_source_over_activity_to_output(out: Path) -> None:
    croissant = json.loads((out / "croissant.json").read_text())
    activity = croissant["prov:wasGeneratedBy"]
    assert activity["@type"] == "prov:Activity"
    assert activity["prov:used"] == {"@id": croissant["prov:wasDerivedFrom"]["@id"]}
    recipe = json.loads(activity["prov:hadPlan"]["prov:value"])
    run = json.loads((out / "manifest/run.json").read_text())
    assert recipe["method"] == run["recipe"]["method"]
    assert "faces_sha256" not in recipe
    assert activity["prov:wasAssociatedWith"]["prov:label"].startswith("curate-dataset ")


@pytest.mark.parametrize("key", ["name", "url", "recordSet"])
def test_what_mlcroissant_refuses_is_refused(out: Path, key: str) -> None:
    croissant = json.loads((out / "croissant.json").read_text())
    if key == "recordSet":
        croissant["recordSet"][-1]["field"][0]["source"]["fileSet"]["@id"] = "nowhere"
    else:
        del croissant[key]
    with pytest.raises(curate.CurateError, match=r"croissant\.json is not valid Croissant"):
        validate(croissant)
