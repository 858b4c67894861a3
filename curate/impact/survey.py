"""How two datasets fit: the classes of pairs, and the images that only one of them has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError
from curate.core.records import ImageRecord
from curate.impact.pairs import PairedDatasets, is_withheld
from curate.impact.tables import load_labels
from curate.storage.index import NameIndex


@dataclass(slots=True)
class Unpaired:
    """Images that only one dataset has.

    Args:
        original: number of images that only the original dataset has.
        obfuscated: number of images that only the obfuscated dataset has.
        withheld: number of originals that were withheld from the obfuscated dataset.
    """

    original: int = 0
    obfuscated: int = 0
    withheld: int = 0
    _first: dict[str, str] = field(default_factory=dict)

    def add(self, record: ImageRecord | None, other: ManifestEntry | ImageRecord | None) -> bool:
        """Count an image of `PairedDatasets.iter_joined`; returns whether it is a pair."""
        if is_withheld(other):
            self.withheld += record is not None
            return False
        if other is None and record is not None:
            self.original += 1
            self._first.setdefault("ORIGINAL", record.id)
        elif record is None and other is not None:
            self.obfuscated += 1
            self._first.setdefault("OBFUSCATED", other.id)
        return record is not None and other is not None

    def check(self, pairs: int, allow_missing: bool) -> None:
        """Check the counts after the last image.

        Raises:
            DataError: if there is no pair, or an image has no pair and that is not allowed.
        """
        if not pairs:
            examples = " and ".join(repr(name) for name in self._first.values())
            raise DataError(
                "ORIGINAL and OBFUSCATED have no image in common"
                + (f", by ids such as {examples}" if examples else "")
            )
        sides = (
            ("ORIGINAL", "OBFUSCATED", self.original),
            ("OBFUSCATED", "ORIGINAL", self.obfuscated),
        )
        for side, other, count in sides:
            if count and not allow_missing:
                raise DataError(
                    f"images of {side} that are not in {other}: {count:,}, such as "
                    f"{self._first[side]!r}; --allow-missing leaves them out"
                )

    def to_dict(self) -> dict[str, int]:
        """Return the counts for the report."""
        return {
            "original": self.original,
            "obfuscated": self.obfuscated,
            "withheld": self.withheld,
        }


class Labels:
    """Finds the class of each image.

    Args:
        classes: class names in the order of the scores.
        table: a table with the columns ``id`` and ``label``; None for the dataset's categories.

    Raises:
        DataError: if the table cannot be read, lacks a column, or has a duplicate id.
    """

    def __init__(self, classes: tuple[str, ...], table: Path | None = None) -> None:
        self._indices = {name: index for index, name in enumerate(classes)}
        self._table = table
        self._names: NameIndex | None = None
        if table is not None:
            self._names = load_labels(table)

    def find(self, record: ImageRecord) -> int:
        """Return the class index of an image.

        Raises:
            DataError: if it has no class, or one that the model does not know.
        """
        name = record.category
        if self._names is not None:
            name = self._names.get("label", record.id)
            if name is None:
                raise DataError(f"{self._table} has no label for {record.id!r}")
        if name is None:
            raise DataError(
                f"{record.id!r} has no category in ORIGINAL; give labels with --labels TABLE, "
                "a table with the columns id and label"
            )
        index = self._indices.get(name)
        if index is None:
            raise DataError(
                f"the label {name!r} of {record.id!r} is not one of the model's "
                f"{len(self._indices):,} classes, such as {next(iter(self._indices))!r}; "
                "list the dataset's names with --classes FILE"
            )
        return index


@dataclass(frozen=True, slots=True)
class Survey:
    """How two datasets fit, before any image is read.

    Args:
        pairs: number of images in both.
        unpaired: images in one of them only.
        sha256: digest over ids and labels and, without a manifest, over the files' stamps.
    """

    pairs: int
    unpaired: Unpaired
    sha256: str


def survey(datasets: PairedDatasets, labels: Labels, allow_missing: bool) -> Survey:
    """Check that two datasets and their labels fit.

    Raises:
        DataError: if an image has no pair and that is not allowed, or a label is unknown.
    """
    pairs, unpaired, digest = 0, Unpaired(), hashlib.sha256()
    for record, other in datasets.iter_joined():
        if unpaired.add(record, other) and record is not None and other is not None:
            pairs += 1
            line = f"{record.id}\t{labels.find(record)}\t{format_stamps(datasets, record, other)}\n"
            digest.update(line.encode())
    unpaired.check(pairs, allow_missing)
    return Survey(pairs, unpaired, digest.hexdigest())


def format_stamps(
    datasets: PairedDatasets, record: ImageRecord, other: ManifestEntry | ImageRecord
) -> str:
    """Return a text that changes when a pair's files do; empty where a manifest has digests."""
    if datasets.plain is None or not isinstance(other, ImageRecord):
        return ""
    return f"{datasets.original.stamp(record)} {datasets.plain.stamp(other)}"
