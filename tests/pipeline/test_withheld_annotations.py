"""Annotations of withheld images: they are left out, as those of removed images are."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import curate
from curate import Recipe, Session
from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.editing import EDITORS
from curate.layouts.editing.changes import WITHHELD, Removals
from curate.manifest.others import iter_others
from curate.manifest.store import MANIFEST
from curate.pipeline.sidecars import rewrite_sidecars
from curate.pipeline.verify import iter_problems
from curate.pipeline.workspace import Workspace
from tests.contract.test_layouts import save_no_faces
from tests.layouts.editing.outputs import Plan, edit
from tests.layouts.examples.example import accept_maps, jpeg, load_examples, write
from tests.layouts.voc.test_folders import build as build_voc

EXAMPLES = load_examples()
ANNOTATED = ("coco", "voc", "yolo", "hf_folder")
BROKEN = {
    "coco": "train2017/a.jpg",
    "coco panoptic": "val2017/c.jpg",
    "voc": "VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg",
    "voc beside": "train/a.jpg",
    "voc in two folders": "images/b.jpg",
    "yolo": "images/train/a.jpg",
    "yolo in a list": "images/other/c.jpg",
    "hf_folder": "train/a.jpg",
}
VOC = {"voc beside": "splits", "voc in two folders": "xmls"}


def build(case: str, root: Path) -> list[str]:
    """Write a dataset; returns the ids of its images."""
    if case in VOC:
        return [image for image, _ in build_voc(root, VOC[case])]
    example = EXAMPLES[case.partition(" ")[0]]
    root.mkdir()
    example.build(root)
    return list(example.splits)


def content(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture(params=BROKEN)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def blur(root: Path, out: Path, ids: list[str], **options: Any) -> curate.Summary:
    faces = save_no_faces(ids, out.with_name("faces.parquet"))
    return curate.blur(root, out, Recipe(), Session(faces=faces, workers=1, **options))


def test_an_output_is_that_of_a_dataset_without_the_image(case: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    ids, broken = build(case, root), BROKEN[case]
    edit(root, tmp_path / "wanted", Plan(removed=frozenset({broken})))
    write(root, broken, (root / broken).read_bytes()[:200])
    summary = blur(root, out, ids)
    assert summary.withheld == 1
    assert content(out / "data") == content(tmp_path / "wanted")
    assert "may still list" not in summary.to_text()
    assert list(iter_problems(out, root, 1)) == []
    gone = {other.path for other in iter_others(out / MANIFEST) if other.reason == WITHHELD}
    assert gone == content(root).keys() - content(out / "data").keys() - {broken}
    again = tmp_path / "again"
    assert curate.replay(root, out, again).records_identical
    assert content(again / "data") == content(out / "data")
    others = [(each / MANIFEST / "others.jsonl").read_bytes() for each in (out, again)]
    assert others[0] == others[1]


@pytest.mark.parametrize("included", ["annotations/*.json", "*.xml"])
def test_files_that_are_copied_unread_keep_their_bytes(included: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    case = "coco" if "json" in included else "voc beside"
    ids, broken = build(case, root), BROKEN[case]
    write(root, broken, (root / broken).read_bytes()[:200])
    faces = save_no_faces(ids, tmp_path / "faces.parquet")
    recipe = Recipe(include=(included,))
    summary = curate.blur(root, out, recipe, Session(faces=faces, workers=1))
    assert "files copied with --include may still list withheld images" in summary.to_text()
    for path in root.glob(included):
        assert (out / "data" / path.relative_to(root)).read_bytes() == path.read_bytes()
    assert list(iter_problems(out, root, 1)) == []


def test_an_update_brings_the_annotations_back(tmp_path: Path) -> None:
    root, out, fresh = tmp_path / "in", tmp_path / "out", tmp_path / "fresh"
    ids = build("coco", root)
    faces = tmp_path / "faces.json"

    def mark(box: list[int] | None) -> None:
        others = [{"file": name, "faces": []} for name in ids[1:]]
        faces.write_text(
            json.dumps([{"file": ids[0], "faces": [{"xyxy": box}] * bool(box)}, *others])
        )

    mark([900, 900, 950, 950])
    assert curate.blur(root, out, Recipe(), faces=faces, workers=1).withheld == 1
    path = "data/annotations/instances_train2017.json"
    assert [each["id"] for each in json.loads((out / path).read_text())["images"]] == [2]
    mark(None)
    curate.blur(root, out, Recipe(), faces=faces, workers=1, update=True)
    curate.blur(root, fresh, Recipe(), faces=faces, workers=1)
    assert content(out / "data") == content(fresh / "data")
    assert json.loads((out / path).read_text()) == json.loads((root / path[5:]).read_text())


def test_all_images_can_be_withheld(case: str, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    ids = build(case, root)
    for name in ids:
        write(root, name, (root / name).read_bytes()[:200])
    summary = blur(root, out, ids, layout=case.partition(" ")[0])
    assert (summary.written, summary.withheld) == (0, len(ids))
    assert list(iter_problems(out, root, 1)) == []


def rewrite(
    root: Path, layout: str, folder: Path, is_removed: Callable[[str], bool] | None
) -> dict[str, bytes]:
    source = open_source(str(root), layout)
    editor = is_removed and EDITORS.resolve(layout)(source, Removals(is_removed))
    workspace = Workspace(folder)
    return content(rewrite_sidecars(workspace, source, Recipe(), accept_maps, editor).folder)


@pytest.mark.parametrize(
    ("layout", "name"),
    [(layout, name) for layout in ANNOTATED for name in EXAMPLES[layout].malformed],
)
def test_malformed_annotations_do_not_end_the_run(layout: str, name: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    EXAMPLES[layout].build(root)
    EXAMPLES[layout].malformed[name][0](root)
    try:
        before = rewrite(root, layout, tmp_path / "one", None)
    except DataError:
        return  # the run ends before its work, whatever is withheld
    assert rewrite(root, layout, tmp_path / "two", lambda _: False) == before
    for record in open_source(str(root), layout).records():
        rewrite(root, layout, tmp_path / record.id, lambda name, gone=record.id: name == gone)
    rewrite(root, layout, tmp_path / "all", lambda _: True)


ODD_IMAGES: dict[str, list[Any]] = {
    "an id twice": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
    "an id twice, the other first": [
        {"id": 1, "file_name": "b.jpg"},
        {"id": 1, "file_name": "a.jpg"},
    ],
    "no id": [{"file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
    "an id of another type": [{"id": [], "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
    "listed twice": [
        *({"id": n, "file_name": "a.jpg"} for n in (2, 3)),
        {"id": 1, "file_name": "b.jpg"},
    ],
    "not numbers": [{"id": float("nan"), "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
    "no objects": ["a", {"id": 2, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
}


@pytest.mark.parametrize("odd", ODD_IMAGES)
def test_a_withheld_image_is_not_listed_however_it_is(odd: str, tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in "ab":
        write(root, f"images/{name}.jpg", jpeg(1))
    document = {
        "images": ODD_IMAGES[odd],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1}, {"id": float("inf")}, 5],
        "categories": [{"id": 1, "name": "dog", "keypoints": 5}],
    }
    write(root, "annotations.json", json.dumps(document))
    done = rewrite(root, "coco", tmp_path / "work", lambda name: name == "images/a.jpg")
    images = json.loads(done["annotations.json"])["images"]
    assert [each["file_name"] for each in images if isinstance(each, dict)] == ["b.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["coco panoptic", "voc"], indirect=False)
def test_a_run_killed_at_any_rename_gives_the_same_annotations(case: str, tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
import curate
left = int(sys.argv[4])
rename = Path.rename
def counted(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = counted
curate.blur(sys.argv[1], sys.argv[2], faces=sys.argv[3], workers=1, shard_size=1)
"""
    root, out = tmp_path / "in", tmp_path / "out"
    ids, broken = build(case, root), BROKEN[case]
    write(root, broken, (root / broken).read_bytes()[:200])
    undisturbed = tmp_path / "undisturbed"
    faces = save_no_faces(ids, tmp_path / "faces.parquet")
    curate.blur(root, undisturbed, faces=faces, workers=1, shard_size=1)

    def attempts() -> Iterator[int]:
        for allowed in range(0, 200, 9):
            command = [sys.executable, "-c", script, str(root), str(out), str(faces), str(allowed)]
            code = subprocess.run(command).returncode
            if code == 0:
                return
            assert code == -signal.SIGKILL
            yield allowed

    assert len(list(attempts())) >= 2
    assert content(out / "data") == content(undisturbed / "data")
    names = ("others.jsonl", "run.json")
    for name in names:
        assert (out / MANIFEST / name).read_bytes() == (undisturbed / MANIFEST / name).read_bytes()
