"""Files of predictions that ``curate impact predictions`` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import SetupError
from curate.impact.train.answers import load_scores
from curate.impact.train.pairs import Pairs
from curate.impact.train.plan import Arm, Lessons
from curate.impact.train.trial import DATASETS
from curate.impact.train.work import Work

CLASSES = "classes.txt"
_ROWS = 1024
_SCHEMA = pa.schema(
    [("id", pa.string()), ("label", pa.int64()), ("logits", pa.list_(pa.float32()))]
)


def file_name(arm: Arm, tested: str) -> str:
    """A file's name, such as ``seed-0_trained-original_tested-obfuscated.parquet``."""
    weights = "-weighted" if arm.weighted else ""
    return f"seed-{arm.seed}_trained-{arm.trained}{weights}_tested-{tested}.parquet"


def save_predictions(
    folder: Path, pairs: Pairs, lessons: Lessons, work: Work, arms: Sequence[Arm]
) -> None:
    """Write a file for every network and dataset, and the classes' names.

    Classes stand by number; ``classes.txt`` has their names, a line each. Scores are
    logarithms of probabilities.

    Raises:
        SetupError: if they cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        for arm in arms:
            for tested in DATASETS:
                path = folder / file_name(arm, tested)
                _save(path, pairs, lessons, load_scores(work, arm, tested))
        partial = folder / (CLASSES + ".partial")
        partial.write_text("".join(f"{name}\n" for name in pairs.classes), encoding="utf-8")
        partial.replace(folder / CLASSES)
    except OSError as error:
        raise SetupError(
            f"the predictions cannot be written to {folder}: {error.strerror}; "
            "name another place with --predictions and run again"
        ) from None


def _save(
    path: Path, pairs: Pairs, lessons: Lessons, scores: np.typing.NDArray[np.float32]
) -> None:
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, _SCHEMA) as writer:
        for start in range(0, len(scores), _ROWS):
            some = slice(start, start + _ROWS)
            table = {
                "id": [pairs.pairing.name(int(place)) for place in lessons.test[some]],
                "label": lessons.test_labels[some],
                "logits": pa.array(list(np.asarray(scores[some])), pa.list_(pa.float32())),
            }
            writer.write_table(pa.table(table, schema=_SCHEMA))
    partial.replace(path)
