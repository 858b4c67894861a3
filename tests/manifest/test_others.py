from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from curate.core.errors import ManifestError
from curate.manifest.others import Other, describe_notes, iter_others
from tests.conftest import ROOT

CARRIED = {"path": "a.csv", "carried": True, "sha256": "0" * 64, "bytes": 1}


def test_the_committed_list_is_read() -> None:
    [other] = iter_others(ROOT / "manifests/demo")
    assert other.path == "labels.csv"
    assert other.carried


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[]",
        "{",
        "",
        "[" * 100_000,
        "{}",
        json.dumps(CARRIED | {"path": None}),
        json.dumps(CARRIED | {"path": 7}),
        json.dumps(CARRIED | {"path": "\udcff"}),
        json.dumps(CARRIED | {"carried": 1}),
        json.dumps(CARRIED | {"sha256": None}),
        json.dumps(CARRIED | {"bytes": True}),
        json.dumps(CARRIED | {"reason": "why"}),
        json.dumps(CARRIED | {"image": "x"}),
        json.dumps({"path": "a.db", "carried": False}),
    ],
)
def test_an_invalid_line_is_named(line: str, tmp_path: Path) -> None:
    good = json.dumps({"path": "a.db", "carried": False, "reason": "it is not text"})
    (tmp_path / "others.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(ManifestError, match=r"others\.jsonl, line 2, cannot be read"):
        list(iter_others(tmp_path))


def test_a_line_has_the_outcome_of_a_file() -> None:
    assert Other(path="a.db", carried=False, reason="why").sha256 is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([CARRIED], None),
        ([CARRIED, {"path": "b.xml", "note": "it may name"}], "1 files .*'b.xml'"),
        ([{"path": f"{n}.json", "note": "x"} for n in range(3)], "3 files .*'0.json'"),
        ([{"path": "b.xml", "note": None}], None),
        ([["note"]], None),
    ],
)
def test_files_that_may_name_removed_images_are_described(
    tmp_path: Path, lines: list[object], expected: str | None
) -> None:
    (tmp_path / "others.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = describe_notes(tmp_path)
    assert (text is None) == (expected is None)
    assert expected is None or re.search(expected, text or "")
