"""Predictions of some images, and the checks that both forms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError
from curate.core.records import escape_unprintable

ROWS = 1024
"""Images per batch."""

REQUIRED = ("id", "label")
DENSE = "logits"
LISTED = ("topk", "scores")
DIGEST = "sha256"


@dataclass(frozen=True, slots=True)
class Batch:
    """Predictions of some images.

    Args:
        ids: n.
        labels: n, as int64 or as texts.
        scores: n×K, of all classes in their order or of the listed ones.
        listed: n×K, the listed classes, best first, as int64 or as texts; None where
            scores are of all classes.
        sha256: n, of the image files that were predicted on; None where they are not said.
    """

    ids: Sequence[str]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    listed: npt.NDArray[Any] | None = None
    sha256: Sequence[str | None] | None = None


def choose_columns(present: Sequence[str], path: Path) -> list[str]:
    """The columns or arrays to read.

    Raises:
        DataError: if one is missing.
    """
    names = escape_unprintable(", ".join(present))
    for name in REQUIRED:
        if name not in present:
            raise DataError(f"{path} has no column {name!r}; it has: {names}")
    if DENSE in present:
        scores: tuple[str, ...] = (DENSE,)
    elif all(name in present for name in LISTED):
        scores = LISTED
    else:
        raise DataError(f"{path} has neither 'logits' nor 'topk' with 'scores'; it has: {names}")
    return [*REQUIRED, *scores, *([DIGEST] if DIGEST in present else [])]


def make_batch(columns: Mapping[str, Any], path: Path) -> Batch:
    """Join columns to a batch.

    Args:
        columns: those of ``choose_columns``; lists are matrices already.
        path: the file, for messages.

    Raises:
        DataError: if a value cannot be used.
    """
    ids = columns["id"]
    listed = columns.get("topk")
    scores = columns[DENSE] if listed is None else columns["scores"]
    if scores.shape[1] < 1:
        raise DataError(f"{path} has predictions of no class")
    if not np.issubdtype(scores.dtype, np.number) or np.iscomplexobj(scores):
        raise DataError(f"{path} has scores that are no numbers")
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32, copy=False)
    _check_scores(scores, ids, path)
    if listed is not None:
        _check_lists(listed, scores, ids, path)
        listed = _as_classes(listed, path)
    return Batch(ids, _as_classes(columns["label"], path), scores, listed, columns.get(DIGEST))


def _check_scores(scores: npt.NDArray[np.float32], ids: Sequence[str], path: Path) -> None:
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        what = "NaN" if np.isnan(scores[row]).any() else "infinite"
        raise DataError(f"{path} has a score of {ids[row]!r} that is {what}")


def _check_lists(
    listed: npt.NDArray[Any], scores: npt.NDArray[np.float32], ids: Sequence[str], path: Path
) -> None:
    if listed.shape != scores.shape:
        raise DataError(f"{path} has not one score for each class of 'topk'")
    ordered = (np.diff(scores, axis=1) <= 0).all(axis=1)
    if not ordered.all():
        name = ids[int(np.argmin(ordered))]
        raise DataError(f"{path} has scores of {name!r} that do not descend; list the best first")
    alone = (np.diff(np.sort(listed, axis=1), axis=1) != 0) if listed.dtype.kind in "iu" else None
    for row in range(len(listed)):
        if not (alone[row].all() if alone is not None else len({*listed[row]}) == listed.shape[1]):
            raise DataError(f"{path} lists a class twice for {ids[row]!r}")


def _as_classes(values: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind in "UO":
        return values
    raise DataError(f"{path} has classes that are neither whole numbers nor names")
