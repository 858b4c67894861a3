"""Files of predictions for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.impact.predictions.report import ImpactReport
from curate.impact.predictions.run import PredictionOptions, measure_impact


def save(path: Path, ids: Sequence[str], labels: Any, **arrays: Any) -> Path:
    """As .npz or Parquet, by the ending."""
    columns = {"id": np.array(ids), "label": np.asarray(labels)}
    columns |= {name: np.asarray(value) for name, value in arrays.items()}
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        pq.write_table(pa.table({name: value.tolist() for name, value in columns.items()}), path)
    return path


def draw(
    n: int = 300, classes: int = 6, seed: int = 0, signal: float = 2.0
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, labels and logits that are right more often than not."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, size=n)
    logits = random.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += signal
    return [f"val/{place:05}.jpg" for place in range(n)], labels, logits


def measure(pairs: Sequence[tuple[Path, Path]], **options: Any) -> ImpactReport:
    """Measure pairs of files with options of `PredictionOptions`."""
    before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return measure_impact(before, after, PredictionOptions(**options))
