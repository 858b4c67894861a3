"""A finished OUT for publishing: the one module here that reads manifests and layouts."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.balance.correct.verify import is_correction
from curate.core import known
from curate.core.entries import REMOVED, Outcome
from curate.core.errors import DataError, ManifestError, describe_malformed
from curate.core.protocols import Source, iter_containers
from curate.layouts import open_source
from curate.layouts.sidecars.content import Content
from curate.layouts.sidecars.values import Limits
from curate.manifest import corrections, store
from curate.manifest.files import DATA, MANIFEST, stays_inside
from curate.manifest.identity import digest_name, find_known
from curate.manifest.publish import (
    MIN_CELL,
    PRIVATE,
    RECORDS,
    describe_classes,
    public_reason,
    publish_manifest,
    suppress,
)
from curate.pipeline.inspection import inspect_containers, inspect_sidecars
from curate.pipeline.output_images import open_outputs
from curate.storage.regular import iter_short_lines, open_regular

PUBLIC_VERSION = 1
RUN = store.RUN
LOG = store.LOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What became of one record.

    Args:
        id: the record.
        split: its split, or None.
        category: its class, or None.
        is_written: whether it is in the output.
        reason: why it is not; None where it is.
        path: of its image below ``data/``; None where it is not in the output.
        sha256: digest of its image's bytes.
        bytes: their number.
        weight: bytes of the original, or of the output where those are not known; by them
            shards are cut, so that removing an image moves no other.
    """

    id: str
    split: str | None
    category: str | None
    is_written: bool
    reason: str | None
    path: str | None
    sha256: str | None
    bytes: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A file of the output that is not an image, or that holds several.

    Args:
        path: below ``data/``.
        sha256: digest of its content.
        bytes: its size.
        is_container: whether it holds images.
    """

    path: str
    sha256: str
    bytes: int
    is_container: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The OUT of a finished ``curate blur`` or ``curate balance``.

    Args:
        out: the folder.
        facts: its ``run.json`` or ``balance.json``.
        is_correction: whether ``curate balance`` made it.
        layout: its layout.
        in_containers: whether its images are inside larger files.
    """

    out: Path
    facts: Mapping[str, Any]
    is_correction: bool
    layout: str
    in_containers: bool

    @property
    def data(self) -> Path:
        """The folder of the dataset itself."""
        return self.out / DATA

    @property
    def records_sha256(self) -> str:
        """Digest over the sealed manifest's records; never published."""
        return str(self.facts["records"]["sha256"])

    @property
    def content_sha256(self) -> str:
        """Digest over records and annotation files, by which converted files are kept."""
        others = self.out / MANIFEST / store.OTHERS
        digest = store.digest_file(others) if others.is_file() else ""
        return store.digest_bytes(f"{self.records_sha256} {digest}".encode())

    def items(self) -> Iterator[Item]:
        """Every record, streaming, in the manifest's order."""
        records = self.out / MANIFEST / store.RECORDS_FOLDER
        if self.is_correction:
            yield from map(_item_of_row, corrections.iter_rows(records))
            return
        for entry in store.iter_entries(records):
            written = entry.outcome is Outcome.WRITTEN
            yield Item(
                id=entry.id,
                split=entry.split,
                category=entry.category,
                is_written=written,
                reason=None if written else entry.reason,
                path=entry.output_path,
                sha256=entry.output_sha256,
                bytes=entry.output_bytes or 0,
                weight=entry.source_bytes or entry.output_bytes or 0,
            )

    def carried(self) -> Iterator[Carried]:
        """Every other file of the output, in the order of the paths."""
        containers = set(iter_containers(self.open())) if self.in_containers else set[str]()
        path = self.out / MANIFEST / store.OTHERS
        try:
            with open_regular(path) as file:
                for line in iter_short_lines(file):
                    value = json.loads(line)
                    if value.get("sha256") and stays_inside(value["path"]):
                        name = value["path"]
                        yield Carried(
                            path=name,
                            sha256=value["sha256"],
                            bytes=value["bytes"],
                            is_container=name in containers,
                        )
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ManifestError(f"{path} cannot be read: {describe_malformed(error)}") from None

    def open(self) -> Source:
        """The output's ``data/`` as a dataset of its layout."""
        return open_source(str(self.data), self.layout, "OUT")

    def reader(self) -> Callable[[str], bytes]:
        """What reads an image by its path below ``data/``."""
        return open_outputs(self.out, self.layout, self.in_containers)


def find_names(dataset: Dataset, sample: Collection[str]) -> tuple[set[str], set[str]]:
    """Which of a sample of names are of images of the output, and which of any record.

    Args:
        dataset: the dataset.
        sample: digests of names, as `ImageSample` makes them.
    """
    written = (
        digest_name(name)
        for item in dataset.items()
        if item.is_written
        for name in {item.id, item.path or item.id}
    )
    every = (digest_name(item.id) for item in dataset.items())
    return find_known(sample, written), find_known(sample, every)


def find_sources(dataset: Dataset, sample: Collection[str]) -> set[str] | None:
    """Which of a sample of digests are of images of the dataset's source.

    Returns:
        None for a correction, whose manifest does not have them.
    """
    if dataset.is_correction:
        return None
    entries = store.iter_entries(dataset.out / MANIFEST / store.RECORDS_FOLDER)
    return find_known(sample, (entry.source_sha256 for entry in entries if entry.source_sha256))


def load_content(dataset: Dataset) -> tuple[Content, int]:
    """What the annotations of an output contain, and the number of files copied unread.

    The manifest has it; annotations of a correction by an earlier release are parsed again.
    """
    limits = Limits(())
    if not dataset.is_correction or "content" in dataset.facts:
        found = dataset.facts.get("content", {}).get("found", {})
        limits.content.merge({"found": found, "dropped": {}})
        return limits.content, dataset.facts["others"].get("included", 0)
    source = dataset.open()
    paths = (other.path for other in dataset.carried() if not other.is_container)
    unread = sum(1 for _ in inspect_sidecars(source, paths, limits))
    for _ in inspect_containers(source, limits):
        pass  # what is wrong with it is reported by `curate verify`
    return limits.content, unread


def _item_of_row(row: corrections.Row) -> Item:
    written = row.output_path is not None
    return Item(
        id=row.id,
        split=row.split,
        category=row.labels[0] if row.labels else None,
        is_written=written,
        reason=None if written else row.reason or REMOVED,
        path=row.output_path,
        sha256=row.output_sha256,
        bytes=row.output_bytes or 0,
        weight=row.output_bytes or 0,
    )


def open_dataset(out: Path) -> Dataset:
    """Open the OUT of a finished run or correction.

    Raises:
        ManifestError: if there is no manifest, or it cannot be read.
        DataError: if it is of a correction that must not be published.
    """
    if is_correction(out):
        facts = corrections.load_facts(out / MANIFEST)
        if not facts["source"]["obfuscated"]:
            raise DataError(
                f"{out} was made from images whose faces were never hidden; run curate blur "
                "first, then curate balance on its OUT"
            )
        if not facts["recipe"].get("writes_images"):
            raise DataError(f"{out} holds weights and no images; publish the OUT of curate blur")
        layout, corrected = facts["source"]["layout"], True
    else:
        facts = store.load_run(out / MANIFEST)
        layout, corrected = facts["source"]["layout"], False
    if not (out / DATA).is_dir():
        raise ManifestError(f"{out / DATA} is missing; restore it, or run `curate blur` again")
    source = open_source(str(out / DATA), layout, "OUT")
    return Dataset(
        out=out,
        facts=facts,
        is_correction=corrected,
        layout=layout,
        in_containers=next(iter_containers(source), None) is not None,
    )


def save_public_tier(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Write the public tier of the manifest, anew.

    Args:
        dataset: the dataset.
        folder: a folder outside OUT; replaced if it is there.

    Returns:
        The content of its ``run.json``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not dataset.is_correction:
        return publish_manifest(dataset.out / MANIFEST, folder)
    folder.mkdir()
    public = _describe_correction(dataset)
    store.save_json(public, folder / store.RUN)
    return public


def _describe_correction(dataset: Dataset) -> dict[str, Any]:
    splits, categories = Counter[str](), Counter[str]()
    counts = Counter[str]()
    for item in dataset.items():
        counts["images"] += 1
        counts["written" if item.is_written else "withheld"] += 1
        splits[item.split or "-"] += 1
        categories[item.category or "-"] += 1
    recipe = {key: value for key, value in dataset.facts["recipe"].items() if key not in PRIVATE}
    return {
        "public_version": PUBLIC_VERSION,
        "kind": "correction",
        "tool": dataset.facts["tool"],
        "recipe": recipe,
        "layout": dataset.layout,
        "source": {"obfuscated": dataset.facts["source"]["obfuscated"]},
        "counts": {key: counts[key] for key in ("images", "written", "withheld")},
        "min_cell": MIN_CELL,
        "images_by_split": suppress(splits, MIN_CELL),
        "images_by_category": describe_classes(categories, MIN_CELL, class_names=False),
    }


def digest_public_tier(folder: Path) -> str:
    """SHA-256 over the names and contents of the public tier's files."""
    names = (RECORDS, store.RUN)
    found = [folder / name for name in names if (folder / name).is_file()]
    text = "".join(f"{store.digest_file(path)}  {path.name}\n" for path in found)
    return store.digest_bytes(text.encode())


def count_withheld(dataset: Dataset) -> dict[str, int]:
    """Withheld or removed records by the code of their reason."""
    counts = Counter[str]()
    for item in dataset.items():
        if not item.is_written:
            counts[public_reason(item.reason or known.OTHER)] += 1
    return dict(sorted(counts.items()))


def count_splits(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Images of the output and their bytes by split; ``train`` where the dataset has no splits."""
    images, sizes = Counter[str](), Counter[str]()
    for item in dataset.items():
        if item.is_written:
            images[item.split or "train"] += 1
            sizes[item.split or "train"] += item.bytes
    return {split: (count, sizes[split]) for split, count in sorted(images.items())}
