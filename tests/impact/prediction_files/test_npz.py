from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.core.errors import DataError
from curate.impact.prediction_files import iter_batches

IDS, LOGITS = np.array(["a", "b"]), np.array([[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"label": np.array([0, "x"], dtype=object)}, "as Python objects"),
        ({"label": np.array([0])}, "arrays of different length: 2 of 'id', 1 of 'label'"),
        ({"logits": np.zeros(2)}, "'logits' with 1 dimensions; want 2"),
        ({"logits": np.asfortranarray(LOGITS)}, "column by column"),
        ({"logits": np.zeros((2, 0))}, "has predictions of no class"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, arrays: dict[str, Any], line: str) -> None:
    whole = {"id": IDS, "label": np.array([0, 1]), "logits": LOGITS, **arrays}
    np.savez(tmp_path / "x.npz", **whole)
    with pytest.raises(DataError, match=line):
        list(iter_batches(tmp_path / "x.npz"))


def test_a_compressed_archive_is_read_as_well(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", id=IDS, label=np.array([0, 1]), logits=LOGITS)
    [batch] = iter_batches(tmp_path / "x.npz")
    assert batch.scores == pytest.approx(LOGITS.astype(np.float32))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", id=IDS, label=np.array([0, 1]), logits=LOGITS)
    data = (tmp_path / "x.npz").read_bytes()
    place = data.index(LOGITS.tobytes())
    (tmp_path / "x.npz").write_bytes(data[:place] + b"\x01" + data[place + 1 :])
    with pytest.raises(DataError, match="cannot be read as predictions: Bad CRC"):
        list(iter_batches(tmp_path / "x.npz"))
