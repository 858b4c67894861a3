"""SOURCE is an output, or another dataset than an output was made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import curate
from curate.core.errors import UsageError
from tests.pipeline.conftest import FAST


def test_an_output_as_source_is_refused(finished: Path, photos: Path, tmp_path: Path) -> None:
    before = sorted(photos.rglob("*"))
    with pytest.raises(UsageError, match=r"is an output of curate blur, and OUT .* is not; swap"):
        curate.blur(finished, photos, FAST)
    assert sorted(photos.rglob("*")) == before
    with pytest.raises(UsageError, match="give the dataset that it was made from, or its data/"):
        curate.blur(finished, tmp_path / "new", FAST)
    assert not (tmp_path / "new").exists()


def test_another_dataset_as_source_is_one_problem(small: Path, tmp_path: Path) -> None:
    for number in range(6, 15):
        shutil.copy(small / "0.png", small / f"{number}.png")
    curate.blur(small, tmp_path / "out", FAST, quiet=True)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(small / "0.png", other / "0.png")
    [problem] = curate.iter_problems(tmp_path / "out", other)
    assert "14 others" not in problem.detail
    assert "13 others of the first 15 images are not in SOURCE, which is another" in problem.detail
    for number in range(1, 12):
        shutil.copy(small / "0.png", other / f"{number}.png")
    found = list(curate.iter_problems(tmp_path / "out", other))
    assert [problem.detail for problem in found] == ["is not in SOURCE"] * 3


def test_annotations_list_no_withheld_image_where_only_documents_are_copied(
    small: Path, tmp_path: Path
) -> None:
    (small / "README.md").write_text("About these photos.\n")
    (small / "broken.jpg").write_bytes(b"no image")
    curate.blur(small, tmp_path / "out", FAST, quiet=True)
    assert "list withheld images" not in curate.verify(tmp_path / "out", quiet=True).checked
    preview = curate.preview(small, tmp_path / "new", FAST, quiet=True).to_text()
    assert "other files: 1 copied, 0 left out." in preview
