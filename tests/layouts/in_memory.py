"""Tables of groups in memory, as callers have them, from a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv


def _frame(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str)


def _categories(path: Path) -> pd.DataFrame:
    frame = _frame(path).astype("category")
    return frame.astype({frame.columns[0]: str})


def _indexed(path: Path) -> pd.DataFrame:
    frame = _frame(path)
    return frame.set_index(frame.columns[0])


FORMS: Mapping[str, Callable[[Path], Any]] = {
    "DataFrame": _frame,
    "rows of a DataFrame": lambda path: pd.concat([_frame(path)[:3], _frame(path)[3:]]),
    "DataFrame of categories": _categories,
    "DataFrame with ids as index": _indexed,
    "Arrow table": lambda path: pyarrow.csv.read_csv(path),
    "datasets": lambda path: datasets.Dataset(pa.Table.from_pandas(_frame(path))),
    "Polars": lambda path: pl.read_csv(path, infer_schema=False),
}


def pop_origin(report: dict[str, Any]) -> tuple[str, bool]:
    """Remove what a report states of its table of groups: its digest, and whether in memory."""
    return report.pop("groups_sha256"), report.pop("groups_in_memory", False)
