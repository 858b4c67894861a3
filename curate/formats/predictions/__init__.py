"""Predictions of a classifier, per image, in the two forms that it is asked to write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import DataError
from curate.formats.predictions import npz, parquet
from curate.formats.predictions.batch import Batch as Batch
from curate.formats.predictions.classes import Classes as Classes
from curate.formats.predictions.classes import load_classes as load_classes


def iter_ids(path: Path) -> Iterator[list[str]]:
    """The images' ids in the file's order, some at a time.

    Raises:
        DataError: if the file cannot be read, or has no ids.
    """
    return parquet.iter_ids(path) if _is_parquet(path) else npz.iter_ids(path)


def iter_batches(path: Path) -> Iterator[Batch]:
    """The predictions in the file's order, some at a time.

    Args:
        path: Parquet with the columns ``id``, ``label`` and either ``logits`` or ``topk``
            and ``scores``, or .npz with arrays of these names; ``sha256`` may stand
            beside them.

    Raises:
        DataError: if the file cannot be read, or a prediction cannot be used.
    """
    return parquet.iter_batches(path) if _is_parquet(path) else npz.iter_batches(path)


def _is_parquet(path: Path) -> bool:
    """Tell both forms apart by their first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if start == b"PAR1":
        return True
    if start == b"PK\x03\x04":
        return False
    raise DataError(f"{path} holds no predictions; give Parquet or .npz")
