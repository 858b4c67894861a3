"""The pair loader: images of a dataset with their obfuscated versions, read only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError, ManifestError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, printable
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.manifest import store
from curate.manifest.store import DATA, MANIFEST, join_by_id
from curate.pipeline.output_images import open_outputs
from curate.pipeline.workspace import WORK

Joined = tuple[ImageRecord | None, ManifestEntry | ImageRecord | None]
"""An image in the original and in the obfuscated dataset; None where one does not have it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One image in both datasets.

    Args:
        record: the original.
        obfuscated: its manifest entry, or its record in a dataset without a manifest.
    """

    record: ImageRecord
    obfuscated: ManifestEntry | ImageRecord

    @property
    def id(self) -> str:
        """The image id."""
        return self.record.id

    @property
    def entry(self) -> ManifestEntry | None:
        """Its manifest entry; None without a manifest."""
        return self.obfuscated if isinstance(self.obfuscated, ManifestEntry) else None


@dataclass(frozen=True, slots=True)
class PairedDatasets:
    """A dataset and its obfuscated version, opened for reading; see `open_datasets`.

    Args:
        original: the original dataset.
        out: the OUT of a run, or a dataset of the same layout.
        plain: the latter, opened; None where there is a manifest.
        manifest: manifest folder; None without one.
        run: contents of ``run.json``; None without a manifest.
    """

    original: Source
    out: Path
    plain: Source | None = None
    manifest: Path | None = None
    run: Mapping[str, Any] | None = None

    def iter_joined(self) -> Iterator[Joined]:
        """Iterate over both datasets, joined and sorted by id.

        Images whose id is not text are left out: they cannot be opened, nor obfuscated.
        """
        records = (each for each in self.original.records() if printable(each.id) == each.id)
        if self.plain is not None:
            yield from join_by_id(records, self.plain.records())
        else:
            yield from join_by_id(records, self.iter_entries())

    def iter_pairs(self) -> Iterator[Pair]:
        """Iterate over the images that both datasets have, sorted by id."""
        for record, other in self.iter_joined():
            if record is not None and other is not None and not is_withheld(other):
                yield Pair(record, other)

    def iter_entries(self) -> Iterator[ManifestEntry]:
        """Iterate over the manifest, sorted by id."""
        if self.manifest is None:
            raise ManifestError(f"{self.out} has no manifest; give the OUT of curate blur")
        return store.iter_entries(self.manifest / store.RECORDS_FOLDER)

    def find_pair(self, entry: ManifestEntry) -> Pair:
        """Return the pair of a manifest entry.

        Raises:
            DataError: if the original dataset does not have the image.
        """
        record = self.original.find(entry.source_path)
        if record is None:
            raise DataError(f"{entry.id!r} is in {self.out} but not in ORIGINAL")
        return Pair(record, entry)

    def open_output(self) -> Source:
        """Open the obfuscated images as a dataset, which can be opened again elsewhere."""
        if self.plain is not None:
            return self.plain
        return open_source(str(self.out / DATA), self.original.layout, "OBFUSCATED")

    def open_reader(self) -> PairReader:
        """Return a reader for the files of pairs."""
        if self.plain is not None:
            return PairReader(self, self._read_plain)
        assert self.run is not None  # noqa: S101 - there is a manifest
        layout, is_rebuilt = self.run["source"]["layout"], self.run["others"]["rebuilt"] > 0
        read = open_outputs(self.out, layout, is_rebuilt)

        def read_output(pair: Pair) -> bytes:
            assert pair.entry is not None  # noqa: S101 - there is a manifest
            try:
                return read(str(pair.entry.output_path))
            except OSError as error:
                raise DataError(
                    f"cannot read the obfuscated {pair.id!r} in {self.out} "
                    f"({error.strerror or error}); run curate verify to check the dataset"
                ) from None

        return PairReader(self, read_output)

    def _read_plain(self, pair: Pair) -> bytes:
        assert self.plain is not None  # noqa: S101 - checked by the only caller
        assert isinstance(pair.obfuscated, ImageRecord)  # noqa: S101 - there is no manifest
        return self.plain.read(pair.obfuscated)


@dataclass(frozen=True, slots=True)
class PairReader:
    """Reads the files of pairs and checks them against the manifest.

    Args:
        datasets: both datasets.
        read_output: reads the obfuscated file of a pair.
    """

    datasets: PairedDatasets
    read_output: Callable[[Pair], bytes]

    def read_original(self, pair: Pair) -> tuple[bytes, str]:
        """Return the original file and its SHA-256.

        Raises:
            WithheldError: if the image cannot be read.
            DataError: if it is not the file of the manifest.
        """
        data = self.datasets.original.read(pair.record)
        return data, check_digest(self.datasets.out, pair, "original", store.digest_bytes(data))

    def read_obfuscated(self, pair: Pair) -> tuple[bytes, str]:
        """Return the obfuscated file and its SHA-256; raises as `read_original`."""
        data = self.read_output(pair)
        return data, check_digest(self.datasets.out, pair, "obfuscated", store.digest_bytes(data))


def check_digest(out: Path, pair: Pair, which: str, sha256: str) -> str:
    """Compare a file's digest with the manifest, if there is one, and return it.

    Args:
        out: the obfuscated dataset, for messages.
        pair: the image.
        which: ``original`` or ``obfuscated``.
        sha256: of the file that was read.

    Raises:
        DataError: if they differ.
    """
    if pair.entry is not None:
        is_original = which == "original"
        recorded = pair.entry.source_sha256 if is_original else pair.entry.output_sha256
        if sha256 != recorded:
            raise DataError(
                f"{describe_mismatch(out)}: the {which} file of {pair.id!r} has another SHA-256"
            )
    return sha256


def describe_mismatch(out: Path) -> str:
    """Return the start of the message for a manifest that does not fit the images."""
    return f"{out} has the manifest of another dataset"


def is_withheld(other: ManifestEntry | ImageRecord | None) -> bool:
    """Return whether an image was withheld from the obfuscated dataset."""
    return isinstance(other, ManifestEntry) and other.outcome is Outcome.WITHHELD


def open_datasets(original: str, obfuscated: Path, layout: str = "auto") -> PairedDatasets:
    """Open a dataset and its obfuscated version.

    Args:
        original: the original dataset, a path or URI.
        obfuscated: the OUT of `curate blur`, or a dataset of the same layout.
        layout: layout of the original; ``auto`` for the manifest's, or to detect it.

    Raises:
        UsageError: if they are swapped.
        DataError: if one of them cannot be used.
        ManifestError: if the manifest is damaged.
    """
    is_output = not is_address(original) and (Path(original) / MANIFEST / store.RUN).is_file()
    if is_output and not (obfuscated / MANIFEST).is_dir():
        raise UsageError(
            f"ORIGINAL {original!r} is an output of curate blur, and OBFUSCATED "
            f"{str(obfuscated)!r} is not; swap them"
        )
    if (obfuscated / MANIFEST).is_dir():
        manifest, run = open_manifest(obfuscated)
        if not (obfuscated / DATA).is_dir():
            raise DataError(
                f"{obfuscated / DATA} is missing; OBFUSCATED must be the OUT of curate blur"
            )
        chosen = run["source"]["layout"] if layout == "auto" else layout
        opened = open_source(original, chosen, "ORIGINAL")
        return PairedDatasets(opened, obfuscated, manifest=manifest, run=run)
    if (obfuscated / WORK).is_dir():
        raise DataError(
            f"{obfuscated} is an unfinished run of curate blur; run it again to finish it"
        )
    opened = open_source(original, layout, "ORIGINAL")
    plain = open_source(str(obfuscated), opened.layout, "OBFUSCATED")
    return PairedDatasets(opened, obfuscated, plain=plain)


def open_manifest(out: Path) -> tuple[Path, Mapping[str, Any]]:
    """Find a manifest and check that it is complete.

    Args:
        out: an output folder, or its manifest folder.

    Returns:
        The manifest folder and the contents of its ``run.json``.

    Raises:
        ManifestError: if the manifest is missing, damaged or incomplete.
    """
    manifest = out / MANIFEST if (out / MANIFEST).is_dir() else out
    run = store.load_run(manifest)
    records = manifest / store.RECORDS_FOLDER
    if store.digest_parts(records) != run["records"]["sha256"]:
        raise ManifestError(
            f"{records} differs from the digest in {manifest / store.RUN}; it was changed"
        )
    return manifest, run
