"""Predictions of a classifier, per image, in the two forms that it is asked to write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import DataError
from curate.impact.class_names import Classes as Classes
from curate.impact.class_names import load_classes as load_classes
from curate.impact.prediction_files import npz, parquet
from curate.impact.prediction_files.batch import Batch as Batch

_PART = re.compile(r"part-[0-9]{5,}\.parquet")


def iter_ids(path: Path) -> Iterator[list[str]]:
    """The images' ids in the file's order, some at a time.

    Raises:
        DataError: if the file cannot be read, or has no ids.
    """
    for file in _files(path):
        yield from parquet.iter_ids(file) if _is_parquet(file) else npz.iter_ids(file)


def iter_batches(path: Path) -> Iterator[Batch]:
    """The predictions in the file's order, some at a time.

    Args:
        path: Parquet with the columns ``id``, ``label`` and either ``logits`` or ``topk``
            and ``scores``, or .npz with arrays of these names; ``sha256`` may stand
            beside them. Or a folder of such Parquet files, ``part-00000.parquet`` and so on.

    Raises:
        DataError: if the file cannot be read, or a prediction cannot be used.
    """
    for file in _files(path):
        yield from parquet.iter_batches(file) if _is_parquet(file) else npz.iter_batches(file)


def _files(path: Path) -> list[Path]:
    """The parts of a folder in order, or the one file."""
    if not path.is_dir():
        return [path]
    parts = [file for file in path.iterdir() if _PART.fullmatch(file.name)]
    if not parts:
        raise DataError(f"{path} holds no part-00000.parquet; give a file of predictions")
    return sorted(parts, key=lambda file: (len(file.name), file.name))


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
