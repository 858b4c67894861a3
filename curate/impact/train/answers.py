"""From what the networks say of the test images to what is measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

import curate.impact.arms as arms_of_impact
from curate.engine.shards import shard_name
from curate.impact.arrays import Ints, Scores
from curate.impact.predictions.metrics import average_precisions, rank_dense
from curate.impact.train.plan import Arm, Lessons
from curate.impact.train.trial import Trial, list_cells
from curate.impact.train.work import Work

_BLOCK = 2**26  # bytes of a block of scores: what memory holds at once
_ROWS = 1024


def load_scores(work: Work, arm: Arm, tested: str) -> npt.NDArray[np.float32]:
    """Logarithms of probabilities of the test images, N×C, read from the disk as asked for."""
    path = work.result(shard_name(arm.number)) / f"{tested}.npy"
    return np.asarray(np.load(path, mmap_mode="r"))


def make_trial(
    work: Work, arms: Sequence[Arm], lessons: Lessons, classes: tuple[str, ...]
) -> Trial:
    """Reduce every network's scores to ranks, confidences and average precisions."""
    weighted = any(arm.weighted for arm in arms)
    cells = list_cells() + (list_cells(weighted=True) if weighted else ())
    return Trial(
        labels=lessons.test_labels,
        classes=classes,
        trained=np.bincount(lessons.train_labels, minlength=len(classes)),
        seeds=tuple(dict.fromkeys(arm.seed for arm in arms)),
        arms={
            cell: tuple(
                reduce_scores(load_scores(work, arm, cell.tested), lessons.test_labels)
                for arm in arms
                if (arm.trained, arm.weighted) == (cell.trained, cell.weighted)
            )
            for cell in cells
        },
    )


def reduce_scores(scores: npt.NDArray[np.float32], labels: Ints) -> arms_of_impact.Arm:
    """What is kept of a network's scores.

    Args:
        scores: N×C, logarithms of probabilities; may lie on disk.
        labels: N.
    """
    parts = [
        rank_dense(np.asarray(scores[start : start + _ROWS]), labels[start : start + _ROWS])
        for start in range(0, len(labels), _ROWS)
    ]
    predicted, rank, confidence = (
        np.concatenate([part[place] for part in parts]) for place in range(3)
    )
    precision = average_precisions(_iter_blocks(scores), labels, scores.shape[1])
    return arms_of_impact.Arm(predicted, rank, np.exp(confidence), precision)


def _iter_blocks(scores: npt.NDArray[np.float32]) -> Iterator[tuple[int, Scores]]:
    width = max(1, _BLOCK // (4 * len(scores)))
    for first in range(0, scores.shape[1], width):
        yield first, np.ascontiguousarray(scores[:, first : first + width])
