"""Rows of ``metadata`` files that name withheld images."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import Recipe
from curate.manifest.store import MANIFEST
from curate.pipeline.verify import iter_problems
from tests.layouts.examples.example import jpeg, write

FAST = Recipe(profile="fast")
ROWS = [
    {"file_name": "a.jpg", "text": "one"},
    {"file_name": "broken.jpg", "text": "two"},
    {"file_name": "sub/c.jpg", "text": "three"},
]


def save(path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, ["file_name", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
        path.write_text(text.getvalue())
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))


@pytest.fixture(params=["metadata.jsonl", "metadata.csv", "metadata.parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for number, name in enumerate(("a.jpg", "sub/c.jpg")):
        write(root, name, jpeg(number))
    (root / "broken.jpg").write_bytes(jpeg(5)[:300])
    save(root / request.param)
    return root


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of datasets
def test_the_loader_of_datasets_reads_an_output_with_withheld_images(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = curate.blur(source, out, FAST)
    assert summary.withheld == 1
    assert "may still list" not in summary.to_text()
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(out / "data"), cache_dir=str(tmp_path / "cache")
    )
    assert sorted(row["text"] for row in loaded["train"]) == ["one", "three"]
    assert all(row["image"] for row in loaded["train"])
    assert list(iter_problems(out, source, 1)) == []
    assert curate.replay(source, out, tmp_path / "again").records_identical
    others = [(each / MANIFEST / "others.jsonl").read_bytes() for each in (out, tmp_path / "again")]
    assert others[0] == others[1]


def test_rows_come_back_with_an_update_that_no_longer_withholds_the_image(
    source: Path, tmp_path: Path
) -> None:
    faces = [{"file": name, "faces": []} for name in ("a.jpg", "sub/c.jpg")]
    (source / "broken.jpg").write_bytes(jpeg(5))
    marked = [{"file": "broken.jpg", "faces": [{"xyxy": [900, 900, 950, 950]}]}, *faces]
    (tmp_path / "faces.json").write_text(json.dumps(marked))
    out = tmp_path / "out"
    assert curate.blur(source, out, FAST, faces=tmp_path / "faces.json").withheld == 1
    table = next((out / "data").glob("metadata.*"))
    assert b"two" not in table.read_bytes()
    marked[0]["faces"] = []
    (tmp_path / "faces.json").write_text(json.dumps(marked))
    curate.blur(source, out, FAST, faces=tmp_path / "faces.json", update=True)
    fresh = tmp_path / "fresh"
    curate.blur(source, fresh, FAST, faces=tmp_path / "faces.json")
    assert table.read_bytes() == (fresh / "data" / table.name).read_bytes()
    assert list(iter_problems(out, source, 1)) == []


def test_a_row_of_several_images_is_dropped_with_one_of_them(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for number, name in enumerate(("a.jpg", "c.jpg", "d.jpg")):
        write(root, name, jpeg(number))
    shutil.copy(root / "a.jpg", root / "b.jpg")
    (root / "b.jpg").write_bytes((root / "b.jpg").read_bytes()[:300])
    rows = [
        {"left_file_name": "a.jpg", "right_file_name": "b.jpg"},
        {"left_file_name": "c.jpg", "right_file_name": "d.jpg"},
    ]
    (root / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    curate.blur(root, tmp_path / "out", FAST, layout="hf_folder")
    assert (tmp_path / "out/data/metadata.jsonl").read_text() == f"{json.dumps(rows[1])}\n"
    assert list(iter_problems(tmp_path / "out", root, 1)) == []
