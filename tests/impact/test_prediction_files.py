from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.impact.class_names import load_classes
from curate.impact.prediction_files import iter_batches

IDS, ARRAY = np.array(["a", "b"]), np.array([[0.1, 0.2], [0.3, 0.4]])


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"label": np.array([0, "x"], dtype=object)}, "as Python objects"),
        ({"label": np.array([0])}, "arrays of different length: 2 of 'id', 1 of 'label'"),
        ({"logits": np.zeros(2)}, "'logits' with 1 dimensions; expected 2"),
        ({"logits": np.asfortranarray(ARRAY)}, "Fortran order"),
        ({"logits": np.zeros((2, 0))}, "has predictions without any class"),
    ],
)
def test_invalid_npz_is_refused(tmp_path: Path, arrays: dict[str, Any], line: str) -> None:
    whole = {"id": IDS, "label": np.array([0, 1]), "logits": ARRAY, **arrays}
    np.savez(tmp_path / "x.npz", **whole)
    with pytest.raises(DataError, match=line):
        list(iter_batches(tmp_path / "x.npz"))


def test_a_compressed_archive_is_read_as_well(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", id=IDS, label=np.array([0, 1]), logits=ARRAY)
    [batch] = iter_batches(tmp_path / "x.npz")
    assert batch.scores == pytest.approx(ARRAY.astype(np.float32))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", id=IDS, label=np.array([0, 1]), logits=ARRAY)
    data = (tmp_path / "x.npz").read_bytes()
    place = data.index(ARRAY.tobytes())
    (tmp_path / "x.npz").write_bytes(data[:place] + b"\x01" + data[place + 1 :])
    with pytest.raises(DataError, match="as predictions: Bad CRC"):
        list(iter_batches(tmp_path / "x.npz"))


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
        ({"logits": [[], []]}, "has predictions without any class"),
        ({"logits": [0.1, 0.2]}, "has a column 'logits' of type double, not lists"),
        ({"label": [0, None]}, "has an empty value in 'label'"),
        ({"label": [0.0, 1.0]}, "neither integers nor names"),
        ({"id": ["a", None]}, "has an empty value in 'id'"),
    ],
)
def test_invalid_parquet_is_refused(tmp_path: Path, columns: dict[str, Any], line: str) -> None:
    with pytest.raises(DataError, match=line):
        list(iter_batches(save(tmp_path / "x.parquet", **columns)))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("id,label")
    with pytest.raises(DataError, match=r"is not a prediction file; give Parquet or \.npz"):
        list(iter_batches(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match="No such file"):
        list(iter_batches(tmp_path / "absent.parquet"))


def test_non_utf8_bytes_are_refused_in_one_line(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], "<i4")), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(DataError, match="as predictions"):
        list(iter_batches(save(tmp_path / "x.parquet", id=broken)))
    with pytest.raises(DataError, match="as predictions"):
        list(iter_batches(save(tmp_path / "x.parquet", label=broken)))
    pq.write_table(pa.table({"id": ["a"], "a\nb": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"it has: id, a\\nb$"):
        list(iter_batches(tmp_path / "x.parquet"))


FILE = Path("predictions.npz")


@pytest.mark.parametrize("text", ["cat\ndog\n", '["cat", "dog"]', "\ufeffcat\ndog"])
def test_names_as_lines_or_json_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "names").write_text(text, encoding="utf-8")
    classes = load_classes(str(tmp_path / "names"))
    assert classes.names == ("cat", "dog")
    found = classes.find(np.array([["dog", "cat"]], dtype=object), ["a"], FILE)
    assert found.tolist() == [[1, 0]]
    assert classes.find(np.array([1]), ["a"], FILE).tolist() == [1]


def test_number_of_classes_without_names() -> None:
    classes = load_classes("3")
    assert classes.names == ("0", "1", "2")
    with pytest.raises(DataError, match=r"names classes, such as '1'; give the list of names"):
        classes.find(np.array(["1"]), ["a"], FILE)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("cat\n\ndog\n", "has an empty class at index 1"),
        ('["cat", ""]', "has an empty class at index 1"),
        ('["cat", 3]', "has an empty class at index 1"),
        ("cat\ndog\ncat", "has the duplicate name 'cat'"),
        ("[1,", "is not valid JSON"),
    ],
)
def test_invalid_class_list_is_refused(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "names").write_text(text)
    with pytest.raises(DataError, match=line):
        load_classes(str(tmp_path / "names"))


def test_missing_or_binary_class_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        load_classes(str(tmp_path / "absent"))
    (tmp_path / "names").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load_classes(str(tmp_path / "names"))


@pytest.mark.parametrize("value", [-1, 2])
def test_unknown_class_is_reported_with_its_image(value: int) -> None:
    with pytest.raises(
        DataError, match=rf"has the class {value} for 'b', which is not one of the 2"
    ):
        load_classes("2").find(np.array([0, value]), ["a", "b"], FILE)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("logits", (1, 10**10), "<f4"),
        ("logits", (1_000_000, 100_000_000), "<f8"),
        ("id", (1,), "<U200000000"),
        ("label", (1,), "<U100000000"),
    ],
)
def test_arrays_that_declare_large_rows_are_refused_before_they_are_read(
    name: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.npz"
    declared = {"id": ((1,), "<U1"), "label": ((1,), "<i8"), "logits": ((1, 2), "<f4")}
    with zipfile.ZipFile(path, "w") as archive:
        for each, (size, kind) in {**declared, name: (shape, dtype)}.items():
            data = io.BytesIO()
            header = {"descr": kind, "fortran_order": False, "shape": size}
            np.lib.format.write_array_header_1_0(data, header)
            archive.writestr(f"{each}.npy", data.getvalue() + bytes(64))
    with pytest.raises(DataError, match="bytes per image"):
        list(iter_batches(path))


def test_listed_names_are_read_across_row_groups(tmp_path: Path) -> None:
    names = {"id": ["a", "b", "c"], "label": ["x", "y", "x"]}
    listed = {"topk": [["x", "y"], ["y", "z"], ["z", "x"]], "scores": [[2.0, 1.0]] * 3}
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.table(names | listed), path, row_group_size=1)
    batches = list(iter_batches(path))
    assert [name for batch in batches for name in batch.ids] == names["id"]
    assert [row.tolist() for batch in batches for row in batch.listed] == listed["topk"]
