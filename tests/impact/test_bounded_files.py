"""Prediction files and lists of classes that expand, or claim, more than can be read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.impact import prediction_files
from curate.impact.class_names import load_classes
from curate.impact.prediction_files import iter_batches

ROWS = 4096
REPEATED = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), ["A" * 100_000])


def save_table(path: Path, **columns: object) -> None:
    table = {"id": [str(number) for number in range(ROWS)], "label": [0] * ROWS}
    pq.write_table(
        pa.table(table | {"logits": [[0.0, 1.0]] * ROWS} | columns), path, store_schema=False
    )


def save_arrays(path: Path, header: Callable[[str], bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("id", "label", "logits"):
            archive.writestr(f"{name}.npy", header(name))


def claim(name: str) -> bytes:
    """The header of an array of 10^12 rows, and few bytes of it."""
    file = io.BytesIO()
    kinds = {"id": "<U4", "label": "<i8", "logits": "<f4"}
    shape = (10**12, 2) if name == "logits" else (10**12,)
    header = {"descr": kinds[name], "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(100)


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "ids of 100 KB": (lambda path: save_table(path, id=REPEATED), "100,000 bytes in 'id'"),
    "labels of 100 KB": (lambda path: save_table(path, label=REPEATED), "bytes in 'label'"),
    "digests of 100 KB": (lambda path: save_table(path, sha256=REPEATED), "bytes in 'sha256'"),
    "many scores": (
        lambda path: save_table(path, logits=[[0.0] * 300] * ROWS),
        "1,228,800 items in one row group",
    ),
    "a claim": (lambda path: save_arrays(path, claim), "id ends early"),
    "a long header": (
        lambda path: save_arrays(
            path, lambda name: b"\x93NUMPY\x02\x00\xf0\xff\xff\xff" + b" " * 99
        ),
        "has a header of 4,294,967,280 bytes",
    ),
    "objects": (
        lambda path: np.savez(
            path, id=np.array(["a"], object), label=np.zeros(1), logits=np.zeros((1, 2))
        ),
        "as Python objects",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_predictions_are_bounded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, line = BOMBS[name]
    path = tmp_path / "predictions.npz"
    save(path)
    monkeypatch.setattr(prediction_files, "_MAX_ITEMS", 1_000_000)
    with pytest.raises(DataError, match=line) as caught:
        list(iter_batches(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[" * 60_000, "nested deeper than 100 levels"),
        (b"a\n" * (9 << 20), "larger than 16 MB"),
        (b"[" + b"1," * (5 << 20) + b"1]", "more than 4,194,304 values"),
        ("\n".join(str(n % 150_000) for n in range(300_000)).encode(), "the duplicate name '0'"),
        (b"\xff\n", "not UTF-8"),
    ],
)
def test_lists_of_classes_are_bounded(content: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / "classes").write_bytes(content)
    with pytest.raises(DataError, match=line):
        load_classes(str(tmp_path / "classes"))
