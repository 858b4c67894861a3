from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.errors import DataError
from curate.impact.class_names import number_classes
from curate.impact.predictions.scoring import ScoreBlocks, load_predictions
from tests.impact.predictions.files import draw, save

IDS, LABELS, LOGITS = draw(n=50, classes=4)
FOUR = number_classes(4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "a.npz", IDS, LABELS, logits=LOGITS)


def test_rows_are_moved_to_their_positions(tmp_path: Path, path: Path) -> None:
    places = np.full(50, -1)
    places[:30] = np.arange(30)[::-1]
    some = load_predictions(path, places, 30, FOUR, tmp_path)
    part = save(tmp_path / "b.npz", IDS[:30], LABELS[:30], logits=LOGITS[:30])
    alone = load_predictions(part, np.arange(30), 30, FOUR, tmp_path)
    assert (some.labels == alone.labels[::-1]).all()
    assert (some.arm.rank == alone.arm.rank[::-1]).all()
    assert (some.arm.confidence == alone.arm.confidence[::-1]).all()
    assert (some.arm.precision == alone.arm.precision).all()


@pytest.mark.parametrize("rows", [49, 51])
def test_file_that_changes_during_reading_is_refused(tmp_path: Path, path: Path, rows: int) -> None:
    with pytest.raises(DataError, match=rf"a\.npz has {rows} ids and 50 predictions"):
        load_predictions(path, np.arange(rows), rows, FOUR, tmp_path)


def test_temporary_files_are_removed(tmp_path: Path, path: Path) -> None:
    load_predictions(path, np.arange(50), 50, FOUR, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("block", [1, 100, 400, 2**26])
def test_rows_that_are_written_come_back_as_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("curate.impact.predictions.scoring._BLOCK_BYTES", block)
    scores = np.random.default_rng(0).random((23, 7)).astype(np.float32)
    with (tmp_path / "scores").open("w+b") as file:
        blocks = ScoreBlocks(file, 23, 7)
        for start in range(0, 23, 5):
            blocks.write(scores[start : start + 5])
        found = list(blocks.iter_blocks())
    assert [first for first, _ in found] == list(range(0, 7, found[0][1].shape[1]))
    np.testing.assert_array_equal(np.concatenate([part for _, part in found], axis=1), scores)
