"""On-disk predictions of several arms, written in shards so that a run can be resumed."""

from __future__ import annotations

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
from curate.storage.atomic import open_atomic

Logits = npt.NDArray[np.float32]

STATE = "state.json"
"""File that describes the model and the images, beside the folders of the arms."""

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
    """One prediction.

    Args:
        id: image id.
        label: index of its class.
        sha256: digest of the classified file; None where it has the original's pixels.
        logits: scores of all classes; None until they are computed.
        route: how the pixels of a control arm's image were written.
        regions: number of hidden regions in a control arm's image.
        overlapping: number of these that overlap a hidden face.
        hidden_share: share of its area that they hide, 0..1.
        faces_share: share of its area that the obfuscated image hides, 0..1.
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
    """A folder with one folder per arm and one Parquet file per shard.

    Args:
        folder: created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, subject: Mapping[str, Any]) -> None:
        """Record what the predictions depend on, or check that the stored ones match.

        Args:
            subject: plain values.

        Raises:
            UsageError: if the folder has other contents.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = {"version": VERSION, **subject}
        try:
            found = load_json(self._folder / STATE)
        except FileNotFoundError:
            others = {path.name for path in self._folder.iterdir()} - {f"{STATE}.partial", LOCK}
            if others:
                raise UsageError(
                    f"{self._folder} contains other files, such as {min(others)!r}; "
                    "give an empty or new folder"
                ) from None
            save_json(wanted, self._folder / STATE)
            return
        except ManifestError:
            found = {}
        differing = sorted(key for key in {*wanted, *found} if found.get(key) != wanted.get(key))
        if differing:
            raise UsageError(
                f"{self._folder} contains predictions with another {', '.join(differing)}; "
                "remove it, or give another folder"
            )

    def arm(self, name: str) -> Path:
        """Return the folder of an arm."""
        return self._folder / name

    def has(self, arm: str, number: int) -> bool:
        """Return whether a shard of an arm is stored."""
        return (self.arm(arm) / part_name(number)).exists()

    def save(self, arm: str, number: int, rows: Sequence[Row]) -> None:
        """Write a shard of an arm, atomically."""
        self.arm(arm).mkdir(exist_ok=True)
        columns = [pa.array(values, field.type) for field, values in _columns(rows)]
        table = pa.table(columns, schema=COLUMNS)
        with open_atomic(self.arm(arm) / part_name(number)) as file:
            pq.write_table(table, file, compression="zstd", store_schema=False)

    def load_logits(self, arm: str, number: int) -> dict[str, Logits]:
        """Return the scores of a shard by id.

        Raises:
            DataError: if it cannot be read.
        """
        path = self.arm(arm) / part_name(number)
        try:
            table = pq.read_table(path, columns=["id", "logits"])
        except (pa.ArrowException, OSError):
            raise DataError(
                f"{path} is damaged; remove it and run the same command again"
            ) from None
        names = table.column("id").to_pylist()
        if not names:
            return {}
        scores = table.column("logits").combine_chunks().flatten()
        rows = np.asarray(scores.to_numpy(zero_copy_only=False), np.float32)
        return dict(zip(names, rows.reshape(len(names), -1), strict=True))

    def iter_columns(self, arm: str, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Iterate over the rows of an arm, some columns other than its scores."""
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
