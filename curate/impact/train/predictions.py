"""Predictions of trained networks: reduced for the statistics, and saved as prediction files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import SetupError
from curate.engine.shards import shard_name
from curate.impact.experiment import Arm, Ints, Scores
from curate.impact.metrics import average_precisions, rank_dense
from curate.impact.train.cells import DATASETS, TrainingResults, list_cells
from curate.impact.train.paired_images import PairedImages
from curate.impact.train.work import Network, TrainTestRows, Work
from curate.storage.atomic import open_atomic, save_text

CLASSES = "classes.txt"

_NAME = re.compile(r"seed-\d+_trained-\w+(?:-weighted)?_tested-\w+\.parquet")
_BLOCK_BYTES = 2**26  # of scores in memory at once
_ROWS = 1024
_SCHEMA = pa.schema(
    [("id", pa.string()), ("label", pa.int64()), ("logits", pa.list_(pa.float32()))]
)


def load_scores(work: Work, network: Network, tested: str) -> Scores:
    """Return log-probabilities of the test images as a memory map, shape (N, C)."""
    path = work.result(shard_name(network.number)) / f"{tested}.npy"
    return np.asarray(np.load(path, mmap_mode="r"))


def load_results(
    work: Work, networks: Sequence[Network], rows: TrainTestRows, classes: tuple[str, ...]
) -> TrainingResults:
    """Reduce every network's scores to ranks, confidences and average precision."""
    weighted = any(network.weighted for network in networks)
    cells = list_cells() + (list_cells(weighted=True) if weighted else ())
    return TrainingResults(
        labels=rows.test_labels,
        classes=classes,
        trained=np.bincount(rows.train_labels, minlength=len(classes)),
        seeds=tuple(dict.fromkeys(network.seed for network in networks)),
        arms={
            cell: tuple(
                reduce_scores(load_scores(work, network, cell.tested), rows.test_labels)
                for network in networks
                if (network.trained, network.weighted) == (cell.trained, cell.weighted)
            )
            for cell in cells
        },
    )


def reduce_scores(scores: Scores, labels: Ints) -> Arm:
    """Reduce a network's scores.

    Args:
        scores: log-probabilities, shape (N, C); may be a memory map.
        labels: true classes, shape (N,).
    """
    parts = [
        rank_dense(np.asarray(scores[start : start + _ROWS]), labels[start : start + _ROWS])
        for start in range(0, len(labels), _ROWS)
    ]
    predicted, rank, confidence = (
        np.concatenate([part[number] for part in parts]) for number in range(3)
    )
    precision = average_precisions(_iter_blocks(scores), labels, scores.shape[1])
    return Arm(predicted, rank, np.exp(confidence), precision)


def _iter_blocks(scores: Scores) -> Iterator[tuple[int, Scores]]:
    width = max(1, _BLOCK_BYTES // (4 * len(scores)))
    for first in range(0, scores.shape[1], width):
        yield first, np.ascontiguousarray(scores[:, first : first + width])


def file_name(network: Network, tested: str) -> str:
    """Return a file name such as ``seed-0_trained-original_tested-obfuscated.parquet``."""
    weights = "-weighted" if network.weighted else ""
    return f"seed-{network.seed}_trained-{network.trained}{weights}_tested-{tested}.parquet"


def is_file_name(name: str) -> bool:
    """Return whether `save_predictions` writes files of this name."""
    return name == CLASSES or _NAME.fullmatch(name) is not None


def save_predictions(
    folder: Path,
    images: PairedImages,
    rows: TrainTestRows,
    work: Work,
    networks: Sequence[Network],
) -> None:
    """Write a prediction file for every network and dataset, and ``classes.txt``.

    Classes are given by index; ``classes.txt`` has their names, one per line. Scores are
    log-probabilities.

    Raises:
        SetupError: if they cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        for network in networks:
            for tested in DATASETS:
                path = folder / file_name(network, tested)
                _save(path, images, rows, load_scores(work, network, tested))
        save_text(folder / CLASSES, "".join(f"{name}\n" for name in images.classes))
    except OSError as error:
        raise SetupError(
            f"cannot write the predictions to {folder}: {error.strerror}; "
            "name another folder with --predictions and run again"
        ) from None


def _save(path: Path, images: PairedImages, rows: TrainTestRows, scores: Scores) -> None:
    with open_atomic(path) as file, pq.ParquetWriter(file, _SCHEMA) as writer:
        for start in range(0, len(scores), _ROWS):
            some = slice(start, start + _ROWS)
            table = {
                "id": [images.index.name(int(position)) for position in rows.test[some]],
                "label": rows.test_labels[some],
                "logits": pa.array(list(np.asarray(scores[some])), pa.list_(pa.float32())),
            }
            writer.write_table(pa.table(table, schema=_SCHEMA))
