"""Both forms of predictions say the same, and refuse the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.core.errors import DataError
from curate.impact.prediction_files import iter_batches, iter_ids
from tests.impact.predictions.files import draw, save

FORMS = ("parquet", "npz")
IDS, LABELS, LOGITS = draw(n=2500, classes=4)


@pytest.fixture(params=FORMS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"predictions.{request.param}"


def read_all(path: Path) -> dict[str, Any]:
    batches = list(iter_batches(path))
    assert max(len(batch.ids) for batch in batches) < 2500  # read in pieces
    return {
        "ids": [name for batch in batches for name in batch.ids],
        "labels": np.concatenate([batch.labels for batch in batches]),
        "scores": np.concatenate([batch.scores for batch in batches]),
    }


def test_predictions_are_read_in_batches(path: Path) -> None:
    save(path, IDS, LABELS, logits=LOGITS)
    found = read_all(path)
    assert found["ids"] == IDS == [name for names in iter_ids(path) for name in names]
    np.testing.assert_array_equal(found["labels"], LABELS)
    np.testing.assert_array_equal(found["scores"], LOGITS)


def test_lists_names_and_digests_are_read(path: Path) -> None:
    save(
        path,
        ["a", "b"],
        ["cat", "dog"],
        topk=[["dog", "cat"], ["dog", "ox"]],
        scores=[[0.6, 0.4], [0.9, 0.05]],
        sha256=["ab" * 32, ""],
    )
    [batch] = iter_batches(path)
    assert batch.labels.tolist() == ["cat", "dog"]
    assert batch.listed is not None
    assert batch.listed.tolist() == [["dog", "cat"], ["dog", "ox"]]
    assert batch.scores == pytest.approx(np.array([[0.6, 0.4], [0.9, 0.05]]))
    assert list(batch.sha256 or ()) == ["ab" * 32, ""]


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({}, "has neither 'logits' nor 'topk' with 'scores'; it has: id, label"),
        ({"topk": [[0], [1]]}, "has neither 'logits' nor 'topk' with 'scores'"),
        ({"logits": [[0.0, np.nan], [0, 1]]}, "has a score for 'a' that is NaN"),
        ({"logits": [[0.0, 1], [np.inf, 1]]}, "has a score for 'b' that is infinite"),
        ({"logits": [["x"], ["y"]]}, "has scores that are not numbers"),
        ({"topk": [[0, 1], [1, 0]], "scores": [[0.1, 0.9], [1, 0]]}, "'a' that do not descend"),
        ({"topk": [[0, 1], [1, 1]], "scores": [[0.9, 0.1], [1, 0]]}, "a class twice for 'b'"),
        ({"topk": [["x"], ["y"]], "scores": [[1, 0], [1, 0]]}, "does not have one score for each"),
        ({"topk": [[0.5], [1.5]], "scores": [[1], [1]]}, "neither integers nor names"),
    ],
)
def test_invalid_predictions_are_one_line_errors(
    path: Path, arrays: dict[str, Any], line: str
) -> None:
    save(path, ["a", "b"], [0, 1], **arrays)
    with pytest.raises(DataError) as error:
        list(iter_batches(path))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_ids_is_refused(path: Path) -> None:
    save(path, ["a"], [0], logits=[[0.0, 1.0]])
    other = path.with_stem("other")
    save(other, ["a"], [0], logits=[[0.0, 1.0]])
    if path.suffix == ".npz":
        np.savez(other, label=[0], logits=[[0.0, 1.0]])
    else:
        import pyarrow.parquet as pq

        pq.write_table(pq.read_table(path).drop_columns(["id"]), other)
    with pytest.raises(DataError, match="has no column 'id'; it has: label, logits"):
        list(iter_ids(other))


def test_truncated_file_is_refused(path: Path) -> None:
    save(path, IDS, LABELS, logits=LOGITS)
    data = path.read_bytes()
    for end in (len(data) // 2, 10):
        path.write_bytes(data[:end])
        with pytest.raises(DataError, match="as predictions"):
            list(iter_batches(path))


def test_a_folder_of_parts_is_read_in_their_order(tmp_path: Path) -> None:
    for number in (0, 1, 99_999, 100_000):
        save(tmp_path / f"part-{number:05}.parquet", [f"{number:06}"], [0], logits=[[0.0, 1.0]])
    (tmp_path / ".part-00002.parquet.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not a part")
    names = ["000000", "000001", "099999", "100000"]
    assert [name for batch in iter_ids(tmp_path) for name in batch] == names
    assert [name for batch in iter_batches(tmp_path) for name in batch.ids] == names


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no part-00000\.parquet; give a prediction file"):
        list(iter_ids(tmp_path))
