"""The images of both datasets, paired by their ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, printable
from curate.impact.arrays import Ints
from curate.impact.pairing import Pairing, open_pairing
from curate.impact.pairs import load_labels
from curate.impact.recorded_faces import index_manifest, load_faces
from curate.impact.train.plan import Listed, Parts, Request, assign_parts, check_classes
from curate.layouts import open_source
from curate.manifest import store
from curate.manifest.files import DATA, MANIFEST
from curate.pipeline.workspace import WORK

_IDS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The images that both datasets have.

    Args:
        pairing: their ids, by place.
        original: the original dataset.
        obfuscated: the obfuscated one.
        run: what the obfuscated dataset's manifest says of its run; None without one.
        classes: names of classes, sorted.
        labels: N, each image's class; -1 without one.
        parts: what becomes of each image.
        faces: N, how many faces are hidden in it; None without a manifest.
        unpaired: images of either dataset that the other does not have.
        sha256: digest of ids, labels, parts and the files' stamps.
    """

    pairing: Pairing
    original: Source
    obfuscated: Source
    run: Mapping[str, Any] | None
    classes: tuple[str, ...]
    labels: Ints
    parts: Parts
    faces: Ints | None
    unpaired: Mapping[str, int]
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)

    def iter_originals(self) -> Iterator[ImageRecord]:
        """The original dataset's records, by place."""
        return _iter_paired(self.original, self.pairing)


@contextmanager
def open_pairs(request: Request) -> Iterator[Pairs]:
    """Pair both datasets, and settle what is trained on and what is tested on.

    Raises:
        DataError: if a dataset cannot be used, or they are not of the same images.
        UsageError: if the request does not fit them.
        SetupError: if there is no room for the index.
    """
    run, original, obfuscated = _open_sources(request)
    with (
        TemporaryDirectory(prefix="curate-train-") as folder,
        open_pairing(Path(folder)) as pairing,
    ):
        pairing.add_file("ORIGINAL", _iter_ids(original), "images")
        pairing.add_file("OBFUSCATED", _iter_ids(obfuscated), "images")
        if run is not None:
            index_manifest(request.obfuscated, pairing)
        count = pairing.join()
        unpaired = _check_pairs(pairing, count, request)
        # A manifest of other images is told before anything is decoded.
        faces = load_faces(request.obfuscated, pairing, count).counts if run else None
        listed, digest = _list(pairing, (original, obfuscated), count, request)
        parts = assign_parts(listed, request.holdout)
        check_classes(listed.classes, listed.labels, parts.places)
        digest.update(parts.places.tobytes())
        yield Pairs(
            pairing, original, obfuscated, run, listed.classes, listed.labels, parts, faces,
            unpaired, digest.hexdigest(),
        )  # fmt: skip


def _open_sources(request: Request) -> tuple[Mapping[str, Any] | None, Source, Source]:
    out, layout, run = request.obfuscated, request.layout, None
    place = out
    if (out / MANIFEST).is_dir() and (out / DATA).is_dir():
        run = store.load_run(out / MANIFEST)
        layout = run["source"]["layout"] if layout == "auto" else layout
        place = out / DATA
    elif (out / WORK).is_dir():
        raise DataError(f"{out} is an unfinished run of curate blur; run it again to finish it")
    return (
        run,
        open_source(request.original, layout, "ORIGINAL"),
        open_source(str(place), layout, "OBFUSCATED"),
    )


def _iter_ids(source: Source) -> Iterator[list[str]]:
    names = (record.id for record in source.records() if _is_text(record))
    while some := list(islice(names, _IDS)):
        yield some


def _is_text(record: ImageRecord) -> bool:
    """Whether its id is text: an image whose name is none cannot be opened, nor obfuscated."""
    return printable(record.id) == record.id


def _check_pairs(pairing: Pairing, count: int, request: Request) -> dict[str, int]:
    names = ("ORIGINAL", "OBFUSCATED")
    lone = [pairing.find_lone(number) for number in range(2)]
    if not count:
        examples = " and ".join(repr(name) for _, name in lone if name)
        raise DataError(
            f"ORIGINAL and OBFUSCATED have no image in common, by ids such as {examples}"
        )
    for number, (missing, name) in enumerate(lone):
        if missing and not request.allow_missing:
            raise DataError(
                f"images of {names[number]} that are not in {names[1 - number]}: {missing:,}, "
                f"such as {name!r}; --allow-missing leaves them out"
            )
    return {
        "original": lone[0][0],
        "obfuscated": lone[1][0],
        "withheld": pairing.count_withheld(),
    }


def _list(
    pairing: Pairing, datasets: tuple[Source, Source], count: int, request: Request
) -> tuple[Listed, Any]:
    """What is said of each image, and a digest of it and of the files."""
    original, obfuscated = datasets
    table = None if request.labels is None else load_labels(request.labels)
    splits: dict[str | None, int] = {}
    names: dict[str, int] = {}
    split, labels = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    draws, digest = np.zeros(count, dtype=np.uint64), hashlib.sha256()
    both = zip(_iter_paired(original, pairing), _iter_paired(obfuscated, pairing), strict=True)
    for place, (before, after) in enumerate(both):
        if table is None:
            _check_alike(before, after)
        category = before.category if table is None else table.get("label", before.id)
        split[place] = splits.setdefault(before.split, len(splits))
        if category is not None:
            labels[place] = names.setdefault(category, len(names))
        draws[place] = _draw(before.id, request.seed)
        line = [before.id, category, original.stamp(before), obfuscated.stamp(after)]
        digest.update(json.dumps(line).encode() + b"\n")
    ordered = sorted(names)
    places = {name: place for place, name in enumerate(ordered)}
    moved = np.array([places[name] for name in names] or [0], dtype=np.int64)
    labels = np.where(labels >= 0, moved[np.maximum(labels, 0)], -1)
    return Listed(tuple(splits), split, tuple(ordered), labels, draws), digest


def _check_alike(before: ImageRecord, after: ImageRecord) -> None:
    if None not in (before.category, after.category) and before.category != after.category:
        raise DataError(
            f"OBFUSCATED has {before.id!r} in the class {after.category!r}, ORIGINAL in "
            f"{before.category!r}"
        )


def _draw(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8])


def _iter_paired(source: Source, pairing: Pairing) -> Iterator[ImageRecord]:
    """A dataset's records that have a place, by place: both orders are that of ids' bytes."""
    records: Iterable[ImageRecord] = iter(source.records())
    for name in pairing.iter_ids():
        for record in records:
            if record.id == name:
                yield record
                break
        else:
            raise DataError(f"{name!r} has gone while the datasets were listed")
