"""Verify an output: its files, its leaks and, with SOURCE at hand, its pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.errors import CurateError, DataError, WithheldError
from curate.core.faces import Region
from curate.core.ports import Frame, Obfuscator
from curate.engine.local import Finished, LocalPool, Report
from curate.engine.shards import Shard
from curate.formats import codec
from curate.formats.carried import find_pictures
from curate.formats.codec import CodecOptions, Picture
from curate.formats.codec.extent import changed_mask
from curate.formats.walk import iter_files
from curate.manifest import store, verify
from curate.manifest.verify import Problem
from curate.pipeline.tools import codec_options, open_obfuscator
from curate.recipe import Recipe


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks parts of a manifest, one per shard number.

    Args:
        out: the output folder.
        source: SOURCE, to compare pixels with, or None.
    """

    out: Path
    source: Path | None

    def open(self) -> Callable[[Shard, Report], list[Problem]]:
        """Returns the function that checks one part."""
        run = store.load_run(self.out / "manifest")
        recipe = Recipe.from_dict(run["recipe"])
        options = codec_options(recipe)
        obfuscator = open_obfuscator(recipe)

        def inspect(entry: ManifestEntry, data: bytes) -> list[str]:
            return codec.find_leaks(data, options)

        def check(shard: Shard, report: Report) -> list[Problem]:
            report(0, None)
            part = self.out / "manifest" / store.RECORDS_FOLDER / store.part_name(shard.number)
            problems = list(verify.check_part(self.out, part, inspect))
            if self.source is not None:
                for entry in store.iter_part(part):
                    problems += compare(self.source, self.out, entry, obfuscator, options)
            return problems

        return check


def iter_problems(out: Path, source: Path | None, workers: int | None) -> Iterator[Problem]:
    """Check an output against its manifest, streaming what is wrong.

    Args:
        out: the OUT of a finished run.
        source: its SOURCE, to compare pixels with, or None.
        workers: processes, or None for one per usable core.

    Raises:
        ManifestError: if the manifest cannot be read at all.
        DataError: if SOURCE or OUT is no folder.
    """
    if source is not None and not source.is_dir():
        raise DataError(f"SOURCE {source} is not a folder")
    run = store.load_run(out / "manifest")
    yield from verify.check_run(out / "manifest", run, _recipe_digest(run))
    yield from verify.check_others(out, find_pictures)
    yield from verify.check_extra(out, (path for path, _ in iter_files(out / verify.DATA)))
    parts = sum(1 for _ in store.iter_parts(out / "manifest" / store.RECORDS_FOLDER))
    pool = LocalPool(min(workers or os.cpu_count() or 1, max(parts, 1)))
    shards = (Shard(number, ()) for number in range(parts))
    for event in pool.run(CheckJob(out.resolve(), source and source.resolve()), shards):
        if isinstance(event, Finished):
            yield from event.result


def compare(
    source: Path, out: Path, entry: ManifestEntry, obfuscator: Obfuscator, options: CodecOptions
) -> Iterator[Problem]:
    """Compare one output with its source: equal outside the masks, hidden inside."""
    if entry.source_sha256 is None:
        if entry.outcome is Outcome.WRITTEN:
            yield Problem("manifest", entry.id, "is written, yet names no source digest")
        return
    try:
        original = (source / entry.source_path).read_bytes()
    except OSError as error:
        yield Problem("source", entry.source_path, error.strerror or "cannot be read")
        return
    if store.digest_bytes(original) != entry.source_sha256:
        yield Problem("source", entry.source_path, "SOURCE has another file under this name")
        return
    if entry.outcome is Outcome.WITHHELD:
        return
    path = f"{verify.DATA}/{entry.output_path}"
    try:
        before = codec.load(original, options)
        after = codec.load((out / path).read_bytes(), options)
    except (OSError, WithheldError) as error:
        yield Problem("pixels", path, f"cannot be compared: {error}")
        return
    try:
        yield from _compare_pixels(path, before, after, entry, obfuscator)
    except WithheldError as error:
        yield Problem("pixels", path, f"cannot be compared: {error}")


def _compare_pixels(
    path: str, before: Picture, after: Picture, entry: ManifestEntry, obfuscator: Obfuscator
) -> Iterator[Problem]:
    shapes = [[frame.shape for frame in picture.frames] for picture in (before, after)]
    if shapes[0] != shapes[1]:
        yield Problem("pixels", path, "its frames or channels are not the source's")
        return
    regions = [
        Region(face.box, hidden) for face, hidden in zip(entry.faces, entry.hidden, strict=True)
    ]
    if entry.route is not Route.REENCODED:
        for index in range(len(before.frames)):
            if _changes_outside(before, after, index, regions, obfuscator):
                yield Problem("pixels", path, "pixels outside the masks are not the source's")
                break
    for region in regions:
        if not any(
            _is_hidden(old, new, region, obfuscator)
            for old, new in zip(before.frames, after.frames, strict=True)
            if region.hidden.x1 <= old.shape[1] and region.hidden.y1 <= old.shape[0]
        ):
            yield Problem("pixels", path, f"region {region.hidden.xyxy} still shows the source")


def _changes_outside(
    before: Picture,
    after: Picture,
    index: int,
    regions: list[Region],
    obfuscator: Obfuscator,
) -> bool:
    """Whether a frame differs from the source where no mask reaches."""
    old, new = before.frames[index], after.frames[index]
    reach = obfuscator.reach(regions, old.shape[1], old.shape[0]) if regions else []
    allowed = changed_mask(before, reach, index)
    return bool(((_difference(old, new) > 0) & ~allowed).any())


def _is_hidden(old: Frame, new: Frame, region: Region, obfuscator: Obfuscator) -> bool:
    """Whether a region is about as unlike the source as its method makes it.

    Half of the expected change is asked for, less what lossy encoding may blur;
    an untouched region shows none of it.
    """
    expected = obfuscator.apply(old, [region])
    where = region.hidden.slices
    wanted = float(_difference(old, expected)[where].mean())
    found = float(_difference(old, new)[where].mean())
    tolerance = 2.0 * (257 if old.dtype == np.uint16 else 1)
    return found >= 0.5 * wanted - tolerance


def _difference(a: Frame, b: Frame) -> Any:
    """Largest absolute difference over the channels, H×W."""
    difference = np.abs(a.astype(np.int32) - b.astype(np.int32))
    return difference.max(axis=2) if difference.ndim == 3 else difference


def _recipe_digest(run: dict[str, Any]) -> str:
    try:
        return Recipe.from_dict(run["recipe"]).digest
    except (CurateError, KeyError, TypeError, AttributeError):
        return "unreadable"
