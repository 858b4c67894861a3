"""Paired images to train and test on, with their classes, splits and faces."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.impact.experiment import Ints
from curate.impact.pair_index import PairIndex, open_pair_index
from curate.impact.pairs import Pair, PairedDatasets, describe_mismatch, open_datasets
from curate.impact.survey import Unpaired, format_stamps
from curate.impact.tables import load_labels
from curate.impact.train.options import TrainOptions
from curate.impact.train.splits import Images, Split, check_classes, split_images

_BATCH = 1024

FileDigests = tuple[str | None, str | None]
"""SHA-256 of the original and of the obfuscated file that were read."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedImages:
    """The images that both datasets have.

    Args:
        index: their ids by position.
        datasets: both datasets.
        output: the obfuscated images as a dataset.
        classes: names of classes, sorted.
        labels: class of each image, -1 without one, shape (N,).
        split: use of each image.
        faces: number of hidden faces, shape (N,); None without a manifest.
        unpaired: number of images without a pair.
        sha256: digest of ids, labels, split and files.
    """

    index: PairIndex
    datasets: PairedDatasets
    output: Source
    classes: tuple[str, ...]
    labels: Ints
    split: Split
    faces: Ints | None
    unpaired: Mapping[str, int]
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)

    def iter_originals(self) -> Iterator[ImageRecord]:
        """Iterate over the original records by position."""
        records = iter(self.datasets.original.records())
        for name in self.index.iter_ids():
            for record in records:  # both are sorted by the bytes of ids
                if record.id == name:
                    yield record
                    break
            else:
                raise DataError(f"{name!r} was removed while the datasets were listed; run again")

    def check_digests(self, first: int, digests: list[FileDigests]) -> None:
        """Compare the digests of files, from position ``first`` on, with the manifest.

        Raises:
            DataError: if one differs.
        """
        if self.datasets.run is None:
            return
        recorded = self.index.iter_recorded(first, first + len(digests))
        for entry, found in zip(recorded, digests, strict=True):
            for which, digest, known in (
                ("original", found[0], entry.source),
                ("obfuscated", found[1], entry.output),
            ):
                if digest is not None and digest != known:
                    raise DataError(
                        f"{describe_mismatch(self.datasets.out)}: the {which} file of "
                        f"{entry.id!r} has another SHA-256"
                    )


@contextmanager
def open_paired_images(
    original: str, obfuscated: Path, options: TrainOptions
) -> Iterator[PairedImages]:
    """Pair both datasets and split the images into training and test images.

    Raises:
        DataError: if a dataset cannot be used, or they are not of the same images.
        UsageError: if the options do not fit them.
        SetupError: if the index cannot be written.
    """
    datasets = open_datasets(original, obfuscated, options.layout)
    with (
        TemporaryDirectory(prefix="curate-train-") as folder,
        open_pair_index(Path(folder)) as index,
    ):
        listing = _Listing(datasets, options)
        index.add_file("ORIGINAL", listing.iter_ids(index), "pairs")
        index.join()
        images = listing.finish()
        split = split_images(images, options.holdout)
        check_classes(images.classes, images.labels, split.uses)
        listing.digest.update(split.uses.tobytes())
        yield PairedImages(
            index,
            datasets,
            datasets.open_output(),
            images.classes,
            images.labels,
            split,
            None if datasets.run is None else np.array(listing.faces, dtype=np.int64),
            listing.unpaired.to_dict(),
            listing.digest.hexdigest(),
        )


class _Listing:
    """One pass over both datasets that lists the class, split and faces of each pair."""

    def __init__(self, datasets: PairedDatasets, options: TrainOptions) -> None:
        self.unpaired, self.digest = Unpaired(), hashlib.sha256()
        self.faces = array("q")
        self._datasets, self._options = datasets, options
        self._table = None if options.labels is None else load_labels(options.labels)
        self._splits: dict[str | None, int] = {}
        self._names: dict[str, int] = {}
        self._split, self._labels, self._draws = array("q"), array("q"), array("Q")

    def iter_ids(self, index: PairIndex) -> Iterator[list[str]]:
        """List every pair and index its manifest entry; yields the ids in batches."""
        pairs = self._iter_pairs()
        while some := list(islice(pairs, _BATCH)):
            index.add_entries(pair.entry for pair in some if pair.entry is not None)
            for pair in some:
                self._add(pair)
            yield [pair.id for pair in some]
        self.unpaired.check(len(self._labels), self._options.allow_missing)

    def finish(self) -> Images:
        """Return what was listed, classes sorted by name."""
        ordered = sorted(self._names)
        indices = {name: index for index, name in enumerate(ordered)}
        moved = np.array([indices[name] for name in self._names] or [0], dtype=np.int64)
        labels = np.array(self._labels, dtype=np.int64)
        labels = np.where(labels >= 0, moved[np.maximum(labels, 0)], -1)
        split, draws = np.array(self._split, np.int64), np.array(self._draws, np.uint64)
        return Images(tuple(self._splits), split, tuple(ordered), labels, draws)

    def _iter_pairs(self) -> Iterator[Pair]:
        for record, other in self._datasets.iter_joined():
            if self.unpaired.add(record, other) and record is not None and other is not None:
                yield Pair(record, other)

    def _add(self, pair: Pair) -> None:
        record, other = pair.record, pair.obfuscated
        category = record.category
        if self._table is not None:
            category = self._table.get("label", record.id)
        elif category and other.category and not _is_same_class(category, other.category):
            raise DataError(
                f"OBFUSCATED has {record.id!r} in the class {other.category!r}, ORIGINAL in "
                f"{category!r}"
            )
        self._split.append(self._splits.setdefault(record.split, len(self._splits)))
        is_known = category is not None
        label = self._names.setdefault(str(category), len(self._names)) if is_known else -1
        self._labels.append(label)
        self._draws.append(_draw(record.id, self._options.seed))
        self.faces.append(0 if pair.entry is None else len(pair.entry.faces))
        stamp = format_stamps(self._datasets, record, other)
        digests = pair.entry and [pair.entry.source_sha256, pair.entry.output_sha256]
        line = [record.id, category, stamp or digests]
        self.digest.update(json.dumps(line).encode() + b"\n")


def _is_same_class(name: str, other: str) -> bool:
    """Whether two names are of one class; in one dataset it may be the only folder of its name."""
    return f"/{name}".endswith(f"/{other}") or f"/{other}".endswith(f"/{name}")


def _draw(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8])
