from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.layouts import open_folder, open_source, recognize
from curate.layouts.hf_folder.read import iter_batches, iter_described
from tests.layouts.examples import hf_folder
from tests.layouts.examples.example import jpeg, write

ROWS = [
    {"file_name": "a.jpg", "before_file_name": "b.jpg", "text": 'say, "what"\nis it?'},
    {"file_name": "x/c.jpg", "before_file_name": None, "text": ""},
]
NAMES = [("file_name", "a.jpg"), ("before_file_name", "b.jpg"), ("file_name", "x/c.jpg")]


def save(root: Path, suffix: str) -> None:
    path = root / f"metadata{suffix}"
    if suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            table = csv.DictWriter(file, list(ROWS[0]))
            table.writeheader()
            table.writerows(ROWS)
    elif suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_all_metadata_formats_are_read(suffix: str, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "x/c.jpg"):
        write(tmp_path, name, jpeg(1))
    save(tmp_path, suffix)
    folder = open_folder(str(tmp_path))
    named = [each for each, _ in iter_described(folder, f"metadata{suffix}")]
    assert [(key, name) for _, key, name in named] == NAMES
    assert recognize(folder) == ("hf_folder", f"metadata{suffix}")
    source = open_source(str(tmp_path))
    assert list(source.check()) == []
    assert [other.copied for other in source.sidecars()] == [True]


def test_names_are_found_at_any_depth_and_in_lists(tmp_path: Path) -> None:
    row = {"pair": {"file_name": "a.jpg"}, "file_names": ["b.jpg", "c.jpg"], "text": "x"}
    write(tmp_path, "metadata.jsonl", json.dumps(row))
    named = [each for each, _ in iter_described(open_folder(str(tmp_path)), "metadata.jsonl")]
    assert [(key, name) for _, key, name in named] == [
        ("pair.file_name", "a.jpg"),
        ("file_names[0]", "b.jpg"),
        ("file_names[1]", "c.jpg"),
    ]


def test_a_table_without_file_names_is_not_metadata(tmp_path: Path) -> None:
    write(tmp_path, "a/x.jpg", jpeg(1))
    write(tmp_path, "metadata.csv", "class,count\na,1\n")
    assert open_source(str(tmp_path)).layout == "imagefolder"
    with pytest.raises(DataError, match=r"metadata\.csv, line 2 has no file_name"):
        list(open_source(str(tmp_path), "hf_folder").check(strict=True))


@pytest.mark.data
def test_real_photos_in_a_class_folder_each(shared_data: Path, tmp_path: Path) -> None:
    rows = []
    for photo in sorted((shared_data / "imagenet").glob("*/*"))[:12]:
        name = f"{photo.parent.name}/{photo.name}"
        write(tmp_path, f"data/train/{name}", photo.read_bytes())
        rows.append(json.dumps({"file_name": name, "label": photo.parent.name}))
    write(tmp_path, "data/train/metadata.jsonl", "\n".join(rows))
    source = open_source(str(tmp_path))
    assert source.layout == "hf_folder"
    assert list(source.check()) == []
    assert {record.split for record in source.records()} == {"train"}
    assert len(hf_folder.load(tmp_path)["train"]) == 12


def test_a_long_csv_field_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", jpeg(1))
    write(tmp_path, "metadata.csv", f"file_name,text\na.jpg,{'word ' * 60_000}\n")
    assert list(open_source(str(tmp_path)).check(strict=True)) == []


@pytest.mark.parametrize(
    ("column", "line"),
    [
        (["A" * 10_000_000] * 20, "MB in one row group"),
        ([[0] * 9_000_000] + [[0]] * 19, "items in one row group"),
    ],
)
def test_a_parquet_table_that_expands_is_refused_before_it_is_read(
    column: list[object], line: str, tmp_path: Path
) -> None:
    names = [f"{number}.jpg" for number in range(20)]
    table = pa.table({"file_name": names, "x": column})
    path = tmp_path / "metadata.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=line):
        list(iter_batches(open_folder(str(tmp_path)), "metadata.parquet"))
