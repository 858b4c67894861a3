"""Predictions of several arms on disk, written shard by shard so that a run can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import DataError, ManifestError, UsageError
from curate.manifest.store import load_json, part_name, save_json

Logits = npt.NDArray[np.float32]

STATE = "state.json"
"""What the predictions are of; beside the arms' folders."""

VERSION = 1
LOCK = ".lock"

_ITEM = "element"
COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("logits", pa.list_(pa.field(_ITEM, pa.float32())), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("route", pa.string()),
        pa.field("regions", pa.int32()),
        pa.field("overlapping", pa.int32()),
        pa.field("hidden_share", pa.float64()),
        pa.field("faces_share", pa.float64()),
    ]
)


@dataclass(slots=True)
class Row:
    """A prediction.

    Args:
        id: the image.
        label: place of its class.
        sha256: of the file that was predicted on; None where it shows what the original shows.
        logits: scores of all classes; None until they are known.
        route: how pixels travelled into it; None of what was only read.
        regions: how many regions are hidden in a control arm's image.
        overlapping: how many of them meet a hidden face.
        hidden_share: share of its area that they hide, 0..1.
        faces_share: share of its area that hides faces in the obfuscated image, 0..1.
    """

    id: str
    label: int
    sha256: str | None = None
    logits: Logits | None = None
    route: str | None = None
    regions: int | None = None
    overlapping: int | None = None
    hidden_share: float | None = None
    faces_share: float | None = None


class PredictionStore:
    """A folder with a folder for every arm, in which each shard is a Parquet file.

    Args:
        folder: made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, subject: Mapping[str, Any]) -> None:
        """Say what the predictions are of, or make sure that those there are of the same.

        Args:
            subject: plain values.

        Raises:
            UsageError: if the folder holds anything else.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = {"version": VERSION, **subject}
        try:
            found = load_json(self._folder / STATE)
        except FileNotFoundError:
            others = {path.name for path in self._folder.iterdir()} - {f"{STATE}.partial", LOCK}
            if others:
                raise UsageError(
                    f"{self._folder} holds other files, such as {min(others)!r}; "
                    "give a folder that is empty or not there"
                ) from None
            save_json(wanted, self._folder / STATE)
            return
        except ManifestError:
            found = {}
        differing = sorted(key for key in {*wanted, *found} if found.get(key) != wanted.get(key))
        if differing:
            raise UsageError(
                f"{self._folder} holds predictions of something else "
                f"({', '.join(differing)} differs); remove it, or give another folder"
            )

    def arm(self, name: str) -> Path:
        """The folder of an arm's parts."""
        return self._folder / name

    def has(self, arm: str, number: int) -> bool:
        """Whether a shard of an arm is there."""
        return (self.arm(arm) / part_name(number)).exists()

    def save(self, arm: str, number: int, rows: Sequence[Row]) -> None:
        """Write a shard of an arm, so that a reader sees all of it or nothing."""
        self.arm(arm).mkdir(exist_ok=True)
        path = self.arm(arm) / part_name(number)
        partial = path.with_name(f".{path.name}.partial")
        columns = [pa.array(values, field.type) for field, values in _columns(rows)]
        table = pa.table(columns, schema=COLUMNS)
        pq.write_table(table, partial, compression="zstd", store_schema=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)

    def load_logits(self, arm: str, number: int) -> dict[str, Logits]:
        """Scores of a shard by id.

        Raises:
            DataError: if it cannot be read.
        """
        path = self.arm(arm) / part_name(number)
        try:
            table = pq.read_table(path, columns=["id", "logits"])
        except (pa.ArrowException, OSError):
            raise DataError(f"{path} is damaged; remove it and run the same command") from None
        names = table.column("id").to_pylist()
        if not names:
            return {}
        scores = table.column("logits").combine_chunks().flatten()
        rows = np.asarray(scores.to_numpy(zero_copy_only=False), np.float32)
        return dict(zip(names, rows.reshape(len(names), -1), strict=True))

    def iter_facts(self, arm: str, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Some columns of an arm beside its scores, row by row."""
        for path in sorted(self.arm(arm).glob("part-*.parquet")):
            with pq.ParquetFile(path) as table:
                for batch in table.iter_batches(columns=list(names)):
                    yield from batch.to_pylist()


def _columns(rows: Sequence[Row]) -> Iterator[tuple[pa.Field, Any]]:
    for field in COLUMNS:
        if field.name == "logits":
            yield field, [row.logits for row in rows]
        else:
            yield field, [getattr(row, field.name) for row in rows]
