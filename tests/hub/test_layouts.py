"""What the real ``datasets`` library reads of every layout and form that was pushed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.core.errors import UsageError
from curate.layouts import open_source
from tests.conftest import ROOT
from tests.hub.server import TOKEN, Hub, running_hub
from tests.layouts.examples import (
    arrow,
    coco,
    hf_folder,
    imagefolder,
    parquet,
    voc,
    webdataset,
    yolo,
)
from tests.layouts.examples.example import Example, jpeg, write
from tests.layouts.shards import write_tar
from tests.publishing.outs import write_answers


def build_samples(root: Path) -> None:
    """Samples that all have the same fields, as ``datasets`` wants them."""
    for split, numbers in (("train", (1, 2, 3)), ("test", (4,))):
        members = []
        for number in numbers:
            members += [(f"{number}.jpg", jpeg(number)), (f"{number}.cls", b"1")]
            members.append((f"{number}.json", json.dumps({"caption": f"no {number}"}).encode()))
        write_tar(root / f"{split}-0000.tar", members)


def build_jpegs(root: Path) -> None:
    """YOLO with images of one format."""
    for number, name in enumerate("ab"):
        write(root, f"images/train/{name}.jpg", jpeg(number))
        write(root, f"labels/train/{name}.txt", f"{number} 0.5 0.5 0.2 0.1\n")
    write(root, "data.yaml", "train: images/train\nval: images/train\nnames: [dog, cat]\n")


EXAMPLES: dict[str, Example] = {
    module.EXAMPLE.layout: module.EXAMPLE
    for module in (arrow, coco, hf_folder, imagefolder, parquet, voc, webdataset, yolo)
}
EXAMPLES["webdataset"] = replace(
    webdataset.EXAMPLE,
    build=build_samples,
    splits={
        **{f"train-0000.tar/{number}.jpg": "train" for number in (1, 2, 3)},
        "test-0000.tar/4.jpg": "test",
    },
)
EXAMPLES["yolo-jpeg"] = replace(
    yolo.EXAMPLE,
    build=build_jpegs,
    splits={"images/train/a.jpg": "train", "images/train/b.jpg": "train"},
)
CASES: dict[str, tuple[str, str | None]] = {
    **{layout: (layout, None) for layout in EXAMPLES if layout != "yolo-jpeg"},
    "coco-keep": ("coco", "keep"),
    "voc-imagefolder": ("voc", "imagefolder"),
    "coco-imagefolder": ("coco", "imagefolder"),  # no image of split val has a box
    "imagefolder-parquet": ("imagefolder", "parquet"),
    "hf_folder-parquet": ("hf_folder", "parquet"),
    "webdataset-parquet": ("webdataset", "parquet"),
    "yolo-webdataset": ("yolo-jpeg", "webdataset"),
}

READ = """
import json, sys, datasets
found = {}
for repo, builder, files in json.load(sys.stdin):
    loaded = datasets.load_dataset(repo)
    streamed = datasets.load_dataset(repo, streaming=True)
    files = {s: [f"hf://datasets/{repo}/{p}" for p in patterns] for s, patterns in files.items()}
    inferred = datasets.load_dataset(builder, data_files=files, streaming=True)
    first = next(iter(inferred.values()))
    features = first.features
    rows = {}
    for split, part in loaded.items():
        rows[split] = []
        for row, again in zip(part, streamed[split], strict=True):
            plain = {}
            for name, value in row.items():
                plain[name] = {"size": value.size} if hasattr(value, "size") else value
                if not hasattr(value, "size") and name != "__url__":
                    assert json.dumps(value, default=str) == json.dumps(again[name], default=str)
            rows[split].append(plain)
    declared = next(iter(loaded.values())).features
    found[repo] = {
        "rows": rows,
        "declared": declared._to_yaml_list(),
        "inferred": features._to_yaml_list(),
    }
json.dump(found, sys.stdout, default=str)
"""


def make_out(example: Example, folder: Path, form: str | None) -> Path:
    """A finished OUT of an example; no image has a face, which a file says."""
    example.build(folder / "source")
    source = open_source(str(folder / "source"), example.layout)
    images = [
        {"id": number, "file_name": record.id} for number, record in enumerate(source.records())
    ]
    (folder / "faces.json").write_text(json.dumps({"images": images, "annotations": []}))
    session = curate.Session(faces=folder / "faces.json", layout=example.layout, workers=1)
    curate.blur(folder / "source", folder / "out", session=session)
    write_answers(folder / "out", title=json.dumps(folder.name))
    curate.write_card(folder / "out", curate.CardOptions(form=form))
    return folder / "out"


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, dict[str, Any]]]:
    """Every case pushed, and what a process of its own reads of them."""
    import huggingface_hub.constants

    folder = tmp_path_factory.mktemp("pushed")
    patch = pytest.MonkeyPatch()
    patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with running_hub() as hub:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", TOKEN)
        reports, wanted = {}, []
        for name, (layout, form) in CASES.items():
            (folder / name).mkdir()
            out = make_out(EXAMPLES[layout], folder / name, form)
            options = curate.PushOptions(workers=1, form=form, full=True)
            reports[name] = curate.push(out, f"somebody/{name}", options)
            header = hub.tree(f"somebody/{name}")["README.md"].decode().split("---\n")[1]
            publication = json.loads(hub.tree(f"somebody/{name}")["manifest/publication.json"])
            wanted.append([f"somebody/{name}", publication["builder"], patterns(header)])
        environment = {
            **os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", READ],
            input=json.dumps(wanted), env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        yield hub, {"reports": reports, "read": json.loads(done.stdout)}
    patch.undo()
    huggingface_hub.utils.close_session()


def patterns(header: str) -> dict[str, list[str]]:
    import yaml

    found = {}
    for item in yaml.safe_load(header)["configs"][0]["data_files"]:
        path = item["path"]
        found[item["split"]] = path if isinstance(path, list) else [path]
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_layout_is_read_with_its_splits(
    pushed: tuple[Hub, dict[str, Any]], name: str
) -> None:
    layout, _ = CASES[name]
    wanted = Counter(split or "train" for split in EXAMPLES[layout].splits.values())
    rows = pushed[1]["read"][f"somebody/{name}"]["rows"]
    images = Counter[str]()
    for split, found in rows.items():
        for row in found:
            images[split] += sum(isinstance(v, dict) and "size" in v for v in row.values())
    assert images == wanted


@pytest.mark.parametrize("name", CASES)
def test_the_declared_features_are_those_that_datasets_infers(
    pushed: tuple[Hub, dict[str, Any]], name: str
) -> None:
    found = pushed[1]["read"][f"somebody/{name}"]
    assert found["declared"] == found["inferred"]


def test_the_form_is_the_layout_s_usual_one(pushed: tuple[Hub, dict[str, Any]]) -> None:
    forms = {name: report.form for name, report in pushed[1]["reports"].items()}
    assert forms == {
        "arrow": "parquet", "coco": "parquet", "voc": "parquet", "yolo": "parquet",
        "hf_folder": "keep", "imagefolder": "keep", "parquet": "keep", "webdataset": "keep",
        "coco-keep": "keep", "voc-imagefolder": "imagefolder",
        "coco-imagefolder": "imagefolder", "imagefolder-parquet": "parquet",
        "hf_folder-parquet": "parquet", "webdataset-parquet": "parquet",
        "yolo-webdataset": "webdataset",
    }  # fmt: skip


def class_names(found: dict[str, Any], column: str) -> list[str]:
    feature = next(one for one in found["declared"] if one["name"] == column)
    inner = feature.get("list", [feature])
    label = next(one for one in inner if isinstance(one.get("dtype"), dict))
    return list(label["dtype"]["class_label"]["names"].values())


def test_coco_has_its_boxes_classes_and_the_untouched_json(
    pushed: tuple[Hub, dict[str, Any]],
) -> None:
    hub, found = pushed
    read = found["read"]["somebody/coco"]
    assert class_names(read, "objects") == ["dog"]
    objects = {row["file_name"]: row["objects"] for row in read["rows"]["train"]}
    assert objects["train2017/a.jpg"] == [
        {"bbox": [1.0, 2.5, 3.0, 4.0], "category": 0, "id": 7, "area": 12.0, "iscrowd": 0}
    ]
    assert objects["train2017/b.png"] == [
        {"bbox": [0.0, 0.0, 9.0, 9.0], "category": 0, "id": 8, "area": 81.0, "iscrowd": 1}
    ]
    tree = hub.tree("somebody/coco")
    assert json.loads(tree[f"annotations/{coco.INSTANCES}"])["annotations"][0]["keypoints"]
    assert "x, y, width, height in pixels" in tree["README.md"].decode()


def test_voc_and_yolo_have_their_boxes_and_classes(pushed: tuple[Hub, dict[str, Any]]) -> None:
    read = pushed[1]["read"]
    assert class_names(read["somebody/voc"], "objects") == ["person"]
    [row, *_] = read["somebody/voc"]["rows"]["train"]
    assert row["objects"] == [
        {"bbox": [1.0, 2.0, 30.0, 31.0], "category": 0, "difficult": 0, "truncated": 0}
    ]
    assert class_names(read["somebody/yolo"], "objects") == ["dog", "cat"]
    boxes = {
        row["file_name"]: [[one["category"], one["bbox"]] for one in row["objects"]]
        for split in read["somebody/yolo"]["rows"].values()
        for row in split
    }
    assert boxes["images/train/a.jpg"][0] == [0, pytest.approx([0.5, 0.5, 0.2, 0.1])]
    assert boxes["images/train/b.png"] == []


def test_an_image_folder_has_its_class_names(pushed: tuple[Hub, dict[str, Any]]) -> None:
    for name in ("imagefolder", "imagefolder-parquet"):
        read = pushed[1]["read"][f"somebody/{name}"]
        wanted = {
            path.split("/")[-2] for path in EXAMPLES["imagefolder"].splits if path.count("/") > 1
        }
        assert set(class_names(read, "label")) == wanted


def test_webdataset_needs_one_format(tmp_path: Path) -> None:
    out = make_out(EXAMPLES["imagefolder"], tmp_path, None)
    with pytest.raises(UsageError, match="images of one format"):
        curate.write_card(out, curate.CardOptions(form="webdataset"))
