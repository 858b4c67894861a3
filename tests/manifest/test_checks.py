from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.manifest import store
from curate.manifest.checks import check_entry
from curate.manifest.files import Problem

DATA = b"an output"
FACE = Face(Box(10, 10, 20, 20), 0.9, ("centerface",))
WRITTEN = ManifestEntry(
    id="a.jpg",
    split=None,
    category=None,
    source_path="a.jpg",
    source_sha256="0" * 64,
    source_bytes=9,
    width=40,
    height=30,
    mode="RGB",
    orientation=1,
    outcome=Outcome.WRITTEN,
    route=Route.SPLICED,
    faces=(FACE,),
    hidden=(Box(8, 8, 22, 22),),
    blurred_share=0.1,
    output_path="a.jpg",
    output_sha256=store.digest_bytes(DATA),
    output_bytes=len(DATA),
    pixels_sha256="0" * 64,
)
WITHHELD = ManifestEntry("b.jpg", None, None, "b.jpg", "0" * 64, 9, reason="truncated: cut off")


def check(entry: ManifestEntry, tmp_path: Path) -> list[Problem]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jpg").write_bytes(DATA)
    read = lambda path: (tmp_path / "data" / path).read_bytes()  # noqa: E731
    return list(check_entry(entry, read, lambda entry, data: []))


@pytest.mark.parametrize("entry", [WRITTEN, WITHHELD])
def test_a_valid_entry_has_no_problem(entry: ManifestEntry, tmp_path: Path) -> None:
    assert check(entry, tmp_path) == []


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"output_sha256": None}, "without output_sha256"),
        ({"output_path": None}, "without output_path"),
        ({"output_bytes": None}, "without output_bytes"),
        ({"source_sha256": None}, "without source_sha256"),
        ({"route": None}, "without route"),
        ({"blurred_share": None}, "without blurred_share"),
        ({"blurred_share": float("nan")}, "blurred_share is nan"),
        ({"blurred_share": 1.5}, "blurred_share is 1.5"),
        ({"width": None}, "without width"),
        ({"height": 0, "faces": (), "hidden": ()}, "size is 40×0"),
        ({"width": -4, "faces": (), "hidden": ()}, "size is -4×30"),
        ({"hidden": ()}, "1 faces and 0 hidden"),
        ({"output_path": "../a.jpg"}, "output path is '../a.jpg'"),
        ({"output_path": "a\0.jpg"}, "output path is"),
        ({"source_path": "/dev/zero"}, "source path is '/dev/zero'"),
        ({"hidden": (Box(12, 8, 22, 22),)}, "not inside its hidden region"),
        ({"hidden": (Box(8, 8, 22.5, 22),)}, "not whole pixels"),
        ({"hidden": (Box(-1, 8, 22, 22),)}, "not whole pixels"),
        ({"hidden": (Box(8, 8, 41, 22),)}, "not whole pixels"),
        ({"faces": (replace(FACE, frames=()),)}, r"in the frames []"),
        ({"faces": (replace(FACE, frames=(1, 0)),)}, r"in the frames [1, 0]"),
        ({"faces": (replace(FACE, frames=(-1,)),)}, r"in the frames [-1]"),
    ],
)
def test_an_incomplete_or_invalid_written_entry_is_a_problem(
    values: dict[str, Any], detail: str, tmp_path: Path
) -> None:
    problems = check(replace(WRITTEN, **values), tmp_path)
    assert {(problem.kind, problem.path) for problem in problems} == {("manifest", "a.jpg")}
    assert any(detail in problem.detail for problem in problems)


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"output_path": "b.jpg"}, "has an output"),
        ({"output_sha256": "0" * 64}, "has an output"),
        ({"reason": None}, "without a reason"),
    ],
)
def test_a_withheld_entry_has_a_reason_and_no_output(
    values: dict[str, Any], detail: str, tmp_path: Path
) -> None:
    [problem] = check(replace(WITHHELD, **values), tmp_path)
    assert detail in problem.detail


def test_a_later_frame_may_be_larger_than_the_first(tmp_path: Path) -> None:
    face = replace(FACE, box=Box(50, 50, 60, 60), frames=(1,))
    entry = replace(WRITTEN, faces=(face,), hidden=(Box(48, 48, 62, 62),))
    assert check(entry, tmp_path) == []
