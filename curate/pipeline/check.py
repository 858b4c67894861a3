"""Verify an output: its files, its leaks and, with SOURCE at hand, its pixels."""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import CodecOptions
from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, ManifestError, SetupError, UsageError
from curate.core.protocols import Source
from curate.core.records import escape_unprintable
from curate.engine.local import Finished, LocalPool, Report
from curate.engine.shards import Shard
from curate.layouts import open_source
from curate.layouts.access.folder import iter_files
from curate.layouts.files import is_image_name
from curate.layouts.sidecars import find_pictures
from curate.manifest import layout, store, verify
from curate.manifest.problems import Problem
from curate.pipeline.compare import Comparison, compare
from curate.pipeline.outputs import open_outputs
from curate.pipeline.session import Session, workers_for
from curate.pipeline.tools import codec_options, margin_of, open_obfuscator
from curate.recipe import Recipe
from curate.storage.errors import describe_os_error
from curate.storage.regular import read_regular


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks parts of a manifest, one per shard number.

    Args:
        out: the output folder.
        source: where SOURCE is, to compare pixels with, or None.
        layout: the layout of both.
        in_containers: whether their images stand inside larger files.
        recipe: the recipe of the run.
    """

    out: Path
    source: str | None
    layout: str
    in_containers: bool
    recipe: Recipe

    def open(self) -> Callable[[Shard, Report], list[Problem]]:
        """Returns the function that checks one part."""
        options = codec_options(self.recipe)
        read = open_outputs(self.out, self.layout, self.in_containers)
        comparison = None
        if self.source is not None:
            source = open_source(self.source, self.layout)
            comparison = Comparison(source, read, open_obfuscator(self.recipe), options)

        def inspect(entry: ManifestEntry, data: bytes) -> list[str]:
            return _find_leaks(data, options)

        def check(shard: Shard, report: Report) -> list[Problem]:
            report(0, None)
            name = f"{store.RECORDS_FOLDER}/{store.part_name(shard.number)}"
            part = self.out / layout.MANIFEST / name
            problems: list[Problem] = []
            for entry in store.iter_part(part):
                problems += verify.check_entry(entry, read, inspect)
                if comparison is not None:
                    problems += compare(entry, comparison)
            problems += _check_part_file(part, f"{layout.MANIFEST}/{name}")
            return problems

        return check


def iter_problems(
    out: Path,
    source: str | Path | None,
    workers: int | None,
    run: Mapping[str, Any] | None = None,
) -> Iterator[Problem]:
    """Check an output against its manifest, streaming what is wrong.

    Args:
        out: the OUT of a finished run.
        source: its SOURCE, to compare pixels with, or None.
        workers: processes, or None for one per usable core.
        run: what ``load_facts`` gave, or None to load it here.

    Raises:
        ManifestError: if the manifest cannot be read at all.
        DataError: if SOURCE or OUT is no folder.
        SetupError: if a folder cannot be listed, or memory or processes fail.
    """
    try:
        run = load_facts(out) if run is None else run
        place = None
        if source is not None:
            place = open_source(str(source), run["source"]["layout"]).place
        yield from _iter_problems(out.resolve(), place, workers, run)
    except OSError as error:
        raise describe_os_error(error, out, "read") from error
    except MemoryError:
        raise SetupError("there is not enough memory; try fewer --workers") from None


def load_facts(out: Path) -> dict[str, Any]:
    """The content of a finished run's ``run.json``.

    Raises:
        ManifestError: if it is absent or damaged.
        DataError: if OUT is no folder.
    """
    try:
        if out.exists() and not out.is_dir():
            raise DataError(f"OUT {out} is not a folder")
        return store.load_run(out / layout.MANIFEST)
    except OSError as error:
        raise describe_os_error(error, out, "read") from error


def _iter_problems(
    out: Path, source: str | None, workers: int | None, run: Mapping[str, Any]
) -> Iterator[Problem]:
    recipe = _load_recipe(run)
    yield from _check_recipe(run, recipe)
    yield from layout.check_layout(out, run["records"]["parts"])
    # First where the end of a process is survived: a forged part can kill its reader.
    name, in_containers = run["source"]["layout"], run["others"]["rebuilt"] > 0
    yield from _check_parts(CheckJob(out, source, name, in_containers, recipe), workers)
    yield from verify.check_run(out / layout.MANIFEST, run, recipe.digest)
    yield from verify.check_others(out, _map_or_text(out / layout.DATA, name))
    yield from _check_data(out, name, in_containers)


def _check_parts(job: CheckJob, workers: int | None) -> Iterator[Problem]:
    parts = sum(1 for _ in store.iter_parts(job.out / layout.MANIFEST / store.RECORDS_FOLDER))
    size = workers_for(Recipe(), Session(workers=workers))
    pool = LocalPool(min(size, max(parts, 1)))
    shards = (Shard(number, ()) for number in range(parts))
    for event in pool.run(job, shards):
        if isinstance(event, Finished):
            yield from event.result


def _map_or_text(data: Path, name: str) -> verify.FindPictures:
    """What says why a carried file may hold pictures; maps of labels are proven anew."""
    opened: list[Source] = []  # annotations are read once, and only where there is a map

    def find(path: Path) -> str | None:
        if path.is_relative_to(data) and is_image_name(path.name):
            # Damaged annotations, or a layout that is none, prove nothing.
            with contextlib.suppress(DataError, UsageError):
                opened[:] = opened or [open_source(str(data), name, "OUT")]
                if opened[0].is_map(path.relative_to(data).as_posix(), read_regular(path)):
                    return None
        return find_pictures(path)

    return find


def _check_data(out: Path, name: str, in_containers: bool) -> Iterator[Problem]:
    """Find what is foreign below ``data/``; behind links, which are problems, nobody looks."""
    data, manifest, links = out / layout.DATA, out / layout.MANIFEST, False
    if not data.is_dir():
        return  # reported with the layout
    for problem in layout.check_kinds(data):
        links = True
        yield problem
    if links:
        return
    present = (path for path, _ in iter_files(data, "OUT"))
    beside = layout.iter_files_beside(manifest)
    outputs = layout.iter_outputs(manifest)
    if not in_containers:
        yield from layout.check_extra(heapq.merge(beside, outputs, key=os.fsencode), present)
        return
    yield from layout.check_extra(beside, present)
    opened = open_source(str(data), name, "OUT")
    yield from layout.check_extra(outputs, (record.id for record in opened.records()))
    for container in opened.containers():
        for detail in opened.inspect(container):
            yield Problem("leak", f"{layout.DATA}/{container}", detail)


def _load_recipe(run: Mapping[str, Any]) -> Recipe:
    try:
        recipe = Recipe.from_dict(run["recipe"])
        open_obfuscator(recipe)
        codec_options(recipe)
    except (UsageError, DataError, TypeError, ValueError, OverflowError) as error:
        why = escape_unprintable(str(error))
        raise ManifestError(f"run.json: recipe cannot be read: {why}") from None
    return recipe


def _check_recipe(run: Mapping[str, Any], recipe: Recipe) -> Iterator[Problem]:
    """What ``run.json`` says of the method is what the recipe, read again, makes of it."""
    if recipe.to_dict() != run["recipe"]:
        yield Problem("manifest", "manifest/run.json", "its recipe is not written in full")
    obfuscator, said = open_obfuscator(recipe), run["obfuscator"]
    facts = {
        "name": obfuscator.name,
        "parameters": dict(obfuscator.parameters),
        "margin": margin_of(recipe),
    }
    if said["version"] == obfuscator.version:  # other releases may say it in other words
        facts["keeps"] = obfuscator.keeps
    for name, found in facts.items():
        if said[name] != found:
            detail = f"obfuscator.{name} is {found!r}, but says {said[name]!r}"
            yield Problem("manifest", "manifest/run.json", detail)


def _check_part_file(part: Path, name: str) -> Iterator[Problem]:
    """Look for what a part holds beside its records."""
    if store.has_foreign_bytes(part):
        yield Problem("leak", name, "it has bytes that belong to no column")
    if reason := find_pictures(part):
        yield Problem("leak", name, reason)


def _find_leaks(data: bytes, options: CodecOptions) -> list[str]:
    try:
        return codec.find_leaks(data, options)
    except (MemoryError, OSError, SetupError):
        raise
    except Exception as error:  # whatever it is, nobody has seen that nothing leaks
        return [f"the file cannot be looked over ({type(error).__name__})"]
