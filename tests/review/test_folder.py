from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.core.errors import CurateError, DataError
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


def test_inputs_survive_their_file(tmp_path: Path) -> None:
    inputs = Inputs(source="photos", layout="coco", faces="faces.parquet")
    folder.save_inputs(tmp_path, inputs)
    assert folder.load_inputs(tmp_path) == inputs


def test_the_token_is_readable_by_its_user_only(tmp_path: Path) -> None:
    (tmp_path / "server.json").touch(0o644)
    folder.save_server(tmp_path, 8123, "t" * 32)
    assert (tmp_path / "server.json").stat().st_mode & 0o077 == 0
    assert folder.load_server(tmp_path) == (8123, "t" * 32)
