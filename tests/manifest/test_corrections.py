from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import ManifestError
from curate.manifest import corrections
from curate.manifest.corrections import COLUMNS, Row, iter_part, save_rows
from tests.conftest import ROOT

ROWS = (
    Row(id="a.jpg", split="train", groups=("f|old",), labels=("x",), outcome="kept", weight=0.5),
    Row(id="b.jpg", split=None, groups=(), labels=(), outcome="removed", reason="too many"),
)


def test_every_column_is_documented() -> None:
    text = (ROOT / "manifests/balance-1.md").read_text()
    said = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", text, re.MULTILINE)
    kinds = {"list<element: string>": "list of strings"}
    assert said == [(field.name, kinds.get(str(field.type), str(field.type))) for field in COLUMNS]


def test_rows_are_equal_after_a_round_trip(tmp_path: Path) -> None:
    save_rows(ROWS, tmp_path / "part.parquet")
    assert tuple(iter_part(tmp_path / "part.parquet")) == ROWS
    save_rows(ROWS, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "part.parquet").read_bytes()


def test_a_part_with_other_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "part.parquet")
    with pytest.raises(ManifestError, match="other columns"):
        list(iter_part(tmp_path / "part.parquet"))
    (tmp_path / "part.parquet").write_bytes(b"PAR1")
    with pytest.raises(ManifestError, match="cannot be read"):
        list(iter_part(tmp_path / "part.parquet"))


def test_recorded_weights_match_the_files_of_the_packages(tmp_path: Path) -> None:
    corrections.save_weights(iter(ROWS), tmp_path / "weights.parquet")
    table = pq.read_table(tmp_path / "weights.parquet").to_pylist()
    assert table == [{"id": "a.jpg", "split": "train", "weight": 0.5}]
