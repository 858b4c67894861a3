from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.impact.predictions.scoring import ScoreBlocks


@pytest.mark.parametrize("block", [1, 100, 400, 2**26])
def test_rows_that_are_written_come_back_as_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("curate.impact.predictions.scoring._BLOCK", block)
    scores = np.random.default_rng(0).random((23, 7)).astype(np.float32)
    with (tmp_path / "scores").open("w+b") as file:
        blocks = ScoreBlocks(file, 23, 7)
        for start in range(0, 23, 5):
            blocks.write(scores[start : start + 5])
        found = list(blocks.iter_blocks())
    assert [first for first, _ in found] == list(range(0, 7, found[0][1].shape[1]))
    np.testing.assert_array_equal(np.concatenate([part for _, part in found], axis=1), scores)
