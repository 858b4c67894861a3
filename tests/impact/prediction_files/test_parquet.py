from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.impact.prediction_files import iter_batches

LOGITS = [[0.1, 0.2], [0.3, 0.4]]


def save(path: Path, **columns: Any) -> Path:
    whole = {"id": ["a", "b"], "label": [0, 1], "logits": LOGITS, **columns}
    pq.write_table(pa.table(whole), path)
    return path


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2)],
)
def test_every_kind_of_list_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    path = save(tmp_path / "x.parquet", logits=pa.array(LOGITS, kind))
    [batch] = iter_batches(path)
    assert batch.scores == pytest.approx(np.array(LOGITS), rel=1e-3)


def test_names_may_be_a_dictionary_and_ids_numbers(tmp_path: Path) -> None:
    labels = pa.array(["x", "y"]).dictionary_encode()
    [batch] = iter_batches(save(tmp_path / "x.parquet", label=labels, id=[7, 8]))
    assert batch.labels.tolist() == ["x", "y"]
    assert list(batch.ids) == ["7", "8"]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"logits": [[0.1, 0.2], [0.3]]}, "has lists in 'logits' of 1 to 2 classes"),
        ({"logits": [[0.1, 0.2], None]}, "has an empty value in 'logits'"),
        ({"logits": [[0.1, 0.2], [0.3, None]]}, "has an empty value in 'logits'"),
        ({"logits": [[], []]}, "has predictions of no class"),
        ({"logits": [0.1, 0.2]}, "has a column 'logits' of double, not of lists"),
        ({"label": [0, None]}, "has an empty value in 'label'"),
        ({"label": [0.0, 1.0]}, "neither whole numbers nor names"),
        ({"id": ["a", None]}, "has an empty value in 'id'"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, columns: dict[str, Any], line: str) -> None:
    with pytest.raises(DataError, match=line):
        list(iter_batches(save(tmp_path / "x.parquet", **columns)))


def test_what_is_no_file_of_predictions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("id,label")
    with pytest.raises(DataError, match=r"holds no predictions; give Parquet or \.npz"):
        list(iter_batches(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(iter_batches(tmp_path / "absent.parquet"))


def test_bytes_that_are_no_text_are_refused_and_names_stay_in_one_line(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], "<i4")), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(DataError, match="cannot be read as predictions"):
        list(iter_batches(save(tmp_path / "x.parquet", id=broken)))
    with pytest.raises(DataError, match="cannot be read as predictions"):
        list(iter_batches(save(tmp_path / "x.parquet", label=broken)))
    pq.write_table(pa.table({"id": ["a"], "a\nb": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"it has: id, a\\nb$"):
        list(iter_batches(tmp_path / "x.parquet"))
