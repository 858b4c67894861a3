from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.core.documents import MAX_JSON
from curate.core.errors import CurateError, DataError, UsageError
from curate.review import folder
from curate.review.collect import load_contradicted
from curate.review.folder import Inputs

GARBAGE = [
    "",
    "{",
    "[]",
    "5",
    "null",
    '"x"',
    "[" * 100_000,
    "\udcff",
    '{"source": 5}',
    '{"x": "y"}',
]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text[:20]))
def test_files_of_a_review_of_any_content_are_one_line(tmp_path: Path, text: str) -> None:
    for name in ("inputs.json", "sample.json", "server.json"):
        write(tmp_path / name, text)
    with pytest.raises(DataError, match="no review that was begun here"):
        folder.load_inputs(tmp_path)
    with pytest.raises(CurateError, match=r"plan cannot be read|sample\.json is damaged"):
        folder.load_plan(tmp_path)
    port, token = folder.load_server(tmp_path)  # a new one
    assert (port, len(token) > 20) == (0, True)
    with pytest.raises(DataError, match="is not the JSON of curate duplicates"):
        load_contradicted(write(tmp_path / "duplicates.json", text))


@pytest.mark.parametrize(
    "target", [{"at_most": "x"}, {"at_most": 9}, {"other": 1}, {"seed": 1, "stratify": "x"}, 5]
)
def test_a_plan_with_a_target_out_of_range_is_one_line(tmp_path: Path, target: object) -> None:
    plan = {"target": target, "strata": [], "checks": []}
    write(tmp_path / "sample.json", json.dumps(plan))
    with pytest.raises(CurateError) as raised:
        folder.load_plan(tmp_path)
    assert "\n" not in str(raised.value)


STRATUM = {"name": "all", "population": 9, "drawn": ["a", "b"]}


@pytest.mark.parametrize(
    "values",
    [
        {"strata": [{**STRATUM, "drawn": ["a", "a"]}]},
        {"strata": [{**STRATUM, "population": 1}]},
        {"strata": [{**STRATUM, "population": float("inf")}]},
        {"checks": [["a", 0]]},
        {"checks": [["c", -1]]},
    ],
)
def test_a_plan_that_counts_an_image_twice_is_refused(
    tmp_path: Path, values: dict[str, object]
) -> None:
    plan = {"target": {}, "strata": [STRATUM], "checks": [], **values}
    write(tmp_path / "sample.json", json.dumps(plan))
    with pytest.raises(DataError, match="plan cannot be read"):
        folder.load_plan(tmp_path)


def test_files_without_end_are_read_up_to_a_limit(tmp_path: Path) -> None:
    for name in ("inputs.json", "sample.json", "server.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_JSON + 1)
    for load in (folder.load_inputs, folder.load_plan):
        with pytest.raises(DataError, match="larger than 64 MB"):
            load(tmp_path)
    assert folder.load_server(tmp_path)[0] == 0


def test_the_folder_is_never_inside_what_is_reviewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos.v2"
    photos.mkdir()
    inputs = Inputs(source=str(photos))
    monkeypatch.chdir(tmp_path)
    assert folder.choose_folder(inputs, None, False) == Path("photos.v2.review")
    monkeypatch.chdir(photos)
    assert folder.choose_folder(inputs, None, True) == tmp_path / "photos.v2.sample"
    inside = Inputs(source=str(photos), faces=str(photos / "faces.json"))
    assert folder.choose_folder(inside, None, False) == tmp_path / "photos.v2.review"
    run = Inputs(source=None, run=str(photos))
    assert folder.choose_folder(run, None, False) == tmp_path / "photos.v2.review"
    for each, name in ((inputs, "SOURCE"), (run, "OUT")):
        with pytest.raises(UsageError, match=rf"is inside {name}, which is only read"):
            folder.choose_folder(each, photos / "mine", False)
    assert folder.choose_folder(inputs, tmp_path / "mine", False) == tmp_path / "mine"
    with pytest.raises(UsageError, match="is inside SOURCE"):
        folder.choose_folder(Inputs(source="/"), None, False)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("s3://bucket/photos", "photos.review"),
        ("/data/photos.parquet", "photos.review"),
        ("/data/photos/{000..012}.tar", "photos.review"),
        ("hf:owner/name", "name.review"),
    ],
)
def test_the_folder_is_named_after_the_dataset(source: str, name: str) -> None:
    assert folder.choose_folder(Inputs(source=source), None, False).name == name


def test_inputs_survive_their_file(tmp_path: Path) -> None:
    inputs = Inputs(source="photos", layout="coco", faces="faces.parquet")
    folder.save_inputs(tmp_path, inputs)
    assert folder.load_inputs(tmp_path) == inputs


def test_the_token_is_readable_by_its_user_only(tmp_path: Path) -> None:
    (tmp_path / "server.json").touch(0o644)
    folder.save_server(tmp_path, 8123, "t" * 32)
    assert (tmp_path / "server.json").stat().st_mode & 0o077 == 0
    assert folder.load_server(tmp_path) == (8123, "t" * 32)
