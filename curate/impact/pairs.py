"""The images of a dataset beside their obfuscated forms, with the class of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.impact.recorded_faces import open_manifest
from curate.layouts import open_source
from curate.layouts.groups import iter_rows
from curate.manifest import store
from curate.manifest.store import join_by_id
from curate.pipeline.output import open_outputs
from curate.storage.index import NameIndex


@dataclass(frozen=True, slots=True)
class Pair:
    """An image in both datasets.

    Args:
        record: the original.
        label: place of its class.
        entry: what the manifest says of it; None where there is no manifest.
        other: the obfuscated image, where there is no manifest.
    """

    record: ImageRecord
    label: int
    entry: ManifestEntry | None = None
    other: ImageRecord | None = None


@dataclass(frozen=True, slots=True)
class Datasets:
    """Both datasets, opened for reading.

    Args:
        original: the dataset as it was.
        obfuscated: the OUT of a run, or a plain dataset of the same layout.
        plain: the latter, opened; None where there is a manifest.
        manifest: the former's manifest folder; None where there is none.
        run: its ``run.json``.
    """

    original: Source
    obfuscated: Path
    plain: Source | None = None
    manifest: Path | None = None
    run: Mapping[str, Any] | None = None

    def iter_joined(
        self,
    ) -> Iterator[tuple[ImageRecord | None, ManifestEntry | ImageRecord | None]]:
        """Both datasets by id; None where one has no such image."""
        if self.plain is not None:
            return join_by_id(self.original.records(), self.plain.records())
        assert self.manifest is not None  # noqa: S101 - one of both is there
        entries = store.iter_entries(self.manifest / store.RECORDS_FOLDER)
        return join_by_id(self.original.records(), entries)

    def open_obfuscated(self) -> Callable[[Pair], bytes]:
        """What reads the obfuscated image of a pair.

        It raises `WithheldError` or `DataError` if that cannot be read.
        """
        if self.plain is not None:
            return self._read_plain
        assert self.run is not None  # noqa: S101 - there is a manifest
        read = open_outputs(
            self.obfuscated, self.run["source"]["layout"], self.run["others"]["rebuilt"] > 0
        )

        def read_output(pair: Pair) -> bytes:
            assert pair.entry is not None  # noqa: S101 - there is a manifest
            try:
                return read(str(pair.entry.output_path))
            except OSError as error:
                raise DataError(
                    f"{self.obfuscated} lacks the obfuscated {pair.record.id!r} "
                    f"({error.strerror}); curate verify says what else is amiss"
                ) from None

        return read_output

    def _read_plain(self, pair: Pair) -> bytes:
        assert self.plain is not None  # noqa: S101 - its only caller has seen to it
        assert pair.other is not None  # noqa: S101 - there is no manifest
        return self.plain.read(pair.other)


def open_datasets(original: str, obfuscated: Path, layout: str = "auto") -> Datasets:
    """Open both datasets.

    Args:
        original: the dataset as it was: a path or an address.
        obfuscated: the OUT of `curate blur`, or a plain dataset of the same layout.
        layout: the original's layout, or ``auto``: the manifest's, or recognised.

    Raises:
        DataError: if one of them cannot be used.
        ManifestError: if there is a manifest, and it is damaged.
    """
    if not (obfuscated / "manifest").is_dir():
        opened = open_source(original, layout, "ORIGINAL")
        plain = open_source(str(obfuscated), opened.layout, "OBFUSCATED")
        return Datasets(opened, obfuscated, plain=plain)
    manifest, run = open_manifest(obfuscated)
    wanted = run["source"]["layout"] if layout == "auto" else layout
    opened = open_source(original, wanted, "ORIGINAL")
    return Datasets(opened, obfuscated, manifest=manifest, run=run)


class Labels:
    """Finds the class of each image.

    Args:
        classes: names of the classes, in the order of the scores.
        table: a table with the columns ``id`` and ``label``, or None for the dataset's
            own categories.

    Raises:
        DataError: if the table cannot be read, lacks a column, or has an id twice.
    """

    def __init__(self, classes: tuple[str, ...], table: Path | None = None) -> None:
        self._places = {name: place for place, name in enumerate(classes)}
        self._table = table
        self._names = load_labels(table) if table is not None else None

    def find(self, record: ImageRecord) -> int:
        """Place of an image's class.

        Raises:
            DataError: if it has none, or one that the model does not know.
        """
        name = record.category
        if self._names is not None:
            name = self._names.get("label", record.id)
            if name is None:
                raise DataError(f"{self._table} has no label of {record.id!r}")
        if name is None:
            raise DataError(
                f"{record.id!r} has no category in ORIGINAL; give labels with --labels TABLE, "
                "a table with the columns id and label"
            )
        place = self._places.get(name)
        if place is None:
            raise DataError(
                f"the label {name!r} of {record.id!r} is none of the model's "
                f"{len(self._places):,} classes, such as {next(iter(self._places))!r}; "
                "name them as the dataset does with --classes FILE"
            )
        return place


def load_labels(table: Path) -> NameIndex:
    """Read a table of classes by image: names of kind ``label``.

    Raises:
        DataError: if it cannot be read, a row lacks its id or label, or an id comes twice.
    """
    names = NameIndex()
    for number, row in enumerate(iter_rows(table, ("id", "label")), start=1):
        name, label = row.get("id"), row.get("label")
        if name in (None, "") or label in (None, ""):
            what = "id" if name in (None, "") else "label"
            raise DataError(f"{table}, record {number}, has no {what}; want columns id and label")
        if not names.add("label", str(name), str(label)):
            raise DataError(f"{table} has the id {str(name)!r} twice")
    return names


@dataclass(frozen=True, slots=True)
class Survey:
    """How both datasets fit, before any image is read.

    Args:
        pairs: images in both.
        original: images that only the original has.
        obfuscated: images that only the obfuscated one has.
        withheld: images that were withheld from the obfuscated one.
        sha256: digest over the ids and labels of all pairs and, where no manifest holds
            digests of the files, over what tells that these changed.
    """

    pairs: int
    original: int
    obfuscated: int
    withheld: int
    sha256: str


@dataclass(slots=True)
class _Lone:
    """Images that only one dataset has."""

    count: int = 0
    first: str = ""

    def add(self, name: str) -> None:
        self.count += 1
        self.first = self.first or name


def survey(datasets: Datasets, labels: Labels, allow_missing: bool) -> Survey:
    """Look over how both datasets fit.

    Raises:
        DataError: if an id has no pair and that is not allowed, or a label is unknown.
    """
    original, obfuscated = _Lone(), _Lone()
    pairs, withheld = 0, 0
    total = hashlib.sha256()
    for record, other in datasets.iter_joined():
        if _is_withheld(other):
            withheld += record is not None
        elif record is not None and other is not None:
            pairs += 1
            said = f"{record.id}\t{labels.find(record)}\t{_stamps(datasets, record, other)}\n"
            total.update(said.encode())
        elif record is not None:
            original.add(record.id)
        elif other is not None:
            obfuscated.add(other.id)
    if not pairs:
        raise DataError("ORIGINAL and OBFUSCATED have no image in common; ids are paths in both")
    if not allow_missing:
        _refuse_lone(original, "ORIGINAL", "OBFUSCATED")
        _refuse_lone(obfuscated, "OBFUSCATED", "ORIGINAL")
    return Survey(pairs, original.count, obfuscated.count, withheld, total.hexdigest())


def _refuse_lone(lone: _Lone, side: str, other: str) -> None:
    if lone.count:
        raise DataError(
            f"images of {side} that are not in {other}: {lone.count:,}, such as {lone.first!r}; "
            "--allow-missing leaves them out"
        )


def iter_pairs(datasets: Datasets, labels: Labels) -> Iterator[Pair]:
    """Every pair, sorted by id, streaming; what has no pair is left out."""
    for record, other in datasets.iter_joined():
        if record is None or other is None or _is_withheld(other):
            continue
        if isinstance(other, ManifestEntry):
            yield Pair(record, labels.find(record), entry=other)
        else:
            yield Pair(record, labels.find(record), other=other)


def check_digest(which: str, pair: Pair, sha256: str, out: Path) -> None:
    """Hold a file against the manifest, where there is one.

    Raises:
        DataError: if it is another file.
    """
    if pair.entry is None:
        return
    wanted = pair.entry.source_sha256 if which == "original" else pair.entry.output_sha256
    if sha256 != wanted:
        raise DataError(
            f"{out} has the manifest of another dataset: the {which} file of {pair.record.id!r} "
            "has another SHA-256"
        )


def _is_withheld(other: ManifestEntry | ImageRecord | None) -> bool:
    return isinstance(other, ManifestEntry) and other.outcome is Outcome.WITHHELD


def _stamps(datasets: Datasets, record: ImageRecord, other: ManifestEntry | ImageRecord) -> str:
    if datasets.plain is None or not isinstance(other, ImageRecord):
        return ""
    return f"{datasets.original.stamp(record)} {datasets.plain.stamp(other)}"
