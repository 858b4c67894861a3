"""Check the output of `blur` against its manifest: records, files of ``data/``, pixels, leaks."""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import codec
from curate.codec import CodecOptions
from curate.core.entries import ManifestEntry
from curate.core.errors import (
    SetupError,
    SourceChangedError,
    WithheldError,
)
from curate.core.protocols import Source
from curate.engine.local import Finished, Report
from curate.engine.shards import Shard
from curate.layouts import open_source
from curate.layouts.access.remote import RemoteFolder
from curate.layouts.access.tree import iter_output
from curate.layouts.sidecars.values import Limits
from curate.manifest import checks, files, store
from curate.manifest.files import Problem
from curate.manifest.review import check_review
from curate.pipeline.compare import Comparison, compare
from curate.pipeline.environment import run_job
from curate.pipeline.inspection import find_excess, inspect_output
from curate.pipeline.output_images import open_outputs
from curate.pipeline.session import Session, Step, count_workers
from curate.pipeline.tools import codec_options, load_recipe, margin_of, open_obfuscator
from curate.recipe import Recipe

_BLOCK = 1 << 20  # bytes in memory of a file that is only digested


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks parts of a manifest, one per shard number.

    Args:
        manifest: the manifest's folder.
        data: the output folder, or its URI.
        source: path or URI of SOURCE, to compare pixels with, or None.
        layout: the layout of both.
        in_containers: whether their images are inside larger files.
        recipe: the recipe of the run.
        follow_links: whether symbolic links that point outside the dataset are followed.
    """

    manifest: Path
    data: str
    source: str | None
    layout: str
    in_containers: bool
    recipe: Recipe
    follow_links: bool = False

    def open(self) -> Callable[[Shard, Report], list[Problem]]:
        """Return the function that checks one part."""
        options = codec_options(self.recipe)
        read = open_outputs(self.data, self.layout, self.in_containers)
        comparison = None
        if self.source is not None:
            source = open_source(self.source, self.layout, follow_links=self.follow_links)
            comparison = Comparison(source, read, open_obfuscator(self.recipe), options)

        def inspect(entry: ManifestEntry, data: bytes) -> list[str]:
            return _find_leaks(data, options)

        def check(shard: Shard, report: Report) -> list[Problem]:
            report(0, None)
            name = f"{store.RECORDS_FOLDER}/{store.part_name(shard.number)}"
            part = self.manifest / name
            problems: list[Problem] = []
            for entry in store.iter_part(part):
                problems += checks.check_entry(entry, read, inspect)
                if comparison is not None:
                    problems += compare(entry, comparison)
            problems += _check_part_file(part, f"{store.MANIFEST}/{name}")
            return problems

        return check


@dataclass(frozen=True, slots=True)
class RunCheck:
    """The check of one run.

    Args:
        out: the output folder, or of one on an object storage a copy without ``data/``.
        source: SOURCE, opened, or None.
        run: the content of ``run.json``.
        session: how to run.
        watch: called with the progress.
        uri: the URI of an output on an object storage, whose files are read as they are checked.
    """

    out: Path
    source: Source | None
    run: Mapping[str, Any]
    session: Session
    watch: Callable[[Step], None]
    uri: str | None = None

    @property
    def data(self) -> str:
        """What ``data/`` is read from: the output folder or its URI."""
        return self.uri or str(self.out)


def iter_run_problems(check: RunCheck) -> Iterator[Problem]:
    """Check a run's records, manifest, other files and leaks; yields problems as found.

    Raises:
        ManifestError: if the manifest cannot be read.
    """
    out, run = check.out, check.run
    recipe = load_recipe(run)
    yield from _check_recipe(run, recipe)
    yield from files.check_layout(out, run["records"]["parts"])
    # First in worker processes: a forged part can end the process that reads it.
    name, in_containers = run["source"]["layout"], run["others"]["rebuilt"] > 0
    uri, follow_links = (
        (None, False) if check.source is None else (check.source.uri, check.source.follow_links)
    )
    manifest = out / store.MANIFEST
    job = CheckJob(manifest, check.data, uri, name, in_containers, recipe, follow_links)
    yield from _check_parts(job, check)
    yield from checks.check_run(out / store.MANIFEST, run, recipe.digest)
    yield from check_review(out, run["records"]["sha256"])
    yield from checks.check_texts(out, find_excess)
    yield from checks.check_others(out / store.MANIFEST, _digester(check))
    yield from _check_data(check, recipe, in_containers)
    if check.source is not None:
        yield from _iter_unaccounted(out, check.source)


def _check_parts(job: CheckJob, check: RunCheck) -> Iterator[Problem]:
    parts = sum(1 for _ in store.iter_parts(job.manifest / store.RECORDS_FOLDER))
    workers = min(count_workers(Recipe(), check.session), max(parts, 1))
    shards = (Shard(number, ()) for number in range(parts))
    proof = job.manifest / store.RUN
    done = 0
    for event in run_job(job, shards, check.session, proof, workers):
        if isinstance(event, Finished):
            done += 1
            check.watch(Step("", "shards", done, parts))
            yield from event.result


def _iter_unaccounted(out: Path, source: Source) -> Iterator[Problem]:
    """Find images of SOURCE that the manifest neither lists as written nor as withheld."""
    entries = store.iter_entries(out / store.MANIFEST / store.RECORDS_FOLDER)
    for entry, record in store.join_by_id(entries, source.records()):
        if entry is None and record is not None:
            yield Problem("source", record.id, "is in SOURCE, but not in the manifest")


def _check_content(check: RunCheck, recipe: Recipe) -> Iterator[Problem]:
    """Parse every annotation again, and compare what they contain with ``run.json``."""
    manifest, run = check.out / store.MANIFEST, check.run
    limits = Limits(recipe.drop_keys, recipe.include)
    for path, detail in inspect_output(check.data, manifest, run["source"]["layout"], limits):
        yield Problem("leak", f"{store.DATA}/{path}", detail)
    if limits.content.to_dict()["found"] != run.get("content", {}).get("found"):
        detail = "content is not what annotations and names of images contain"
        yield Problem("manifest", "manifest/run.json", detail)


def _check_data(check: RunCheck, recipe: Recipe, in_containers: bool) -> Iterator[Problem]:
    """Find files in ``data/`` that the manifest does not list; links are not followed."""
    out, has_links = check.out, False
    data, manifest = out / store.DATA, out / store.MANIFEST
    if not data.is_dir():
        return  # reported with the layout
    if check.uri is None:
        for problem in files.check_kinds(data):
            has_links = True
            yield problem
        if has_links:
            return
        present = iter_output(data)
    else:
        folder = RemoteFolder(f"{check.uri}/{store.DATA}", "OUT", skip=frozenset())
        present = (info.path for info in folder.files())
    siblings = files.iter_root_files(manifest)
    outputs = files.iter_outputs(manifest)
    if in_containers:
        yield from files.check_extra(siblings, present)
        opened = open_source(f"{check.data}/{store.DATA}", check.run["source"]["layout"], "OUT")
        yield from files.check_extra(outputs, (record.id for record in opened.records()))
    else:
        yield from files.check_extra(heapq.merge(siblings, outputs, key=os.fsencode), present)
    yield from _check_content(check, recipe)


def _digester(check: RunCheck) -> checks.Digest:
    """Return what computes the digest and the size of a file below ``data/``."""
    if check.uri is None:
        data = check.out / store.DATA

        def local(path: str) -> tuple[str, int]:
            return store.digest_regular(data / path), (data / path).lstat().st_size

        return local
    folder = RemoteFolder(f"{check.uri}/{store.DATA}", "OUT", is_listed=False)

    def remote(path: str) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        try:
            with folder.open(path) as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
        except SourceChangedError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        except WithheldError as error:
            raise PermissionError(errno.EACCES, error.detail, path) from None
        return digest.hexdigest(), size

    return remote


def _check_recipe(run: Mapping[str, Any], recipe: Recipe) -> Iterator[Problem]:
    """Compare the method in ``run.json`` with the one that its recipe gives now."""
    if recipe.to_dict() != run["recipe"]:
        yield Problem("manifest", "manifest/run.json", "its recipe is not complete")
    obfuscator, recorded = open_obfuscator(recipe), run["obfuscator"]
    facts = {
        "name": obfuscator.name,
        "parameters": dict(obfuscator.parameters),
        "margin": margin_of(recipe),
    }
    if recorded["version"] == obfuscator.version:  # the text may differ between releases
        facts["keeps"] = obfuscator.keeps
    for name, found in facts.items():
        for detail in checks.describe_differences(f"obfuscator.{name}", recorded[name], found):
            yield Problem("manifest", "manifest/run.json", detail)


def _check_part_file(part: Path, name: str) -> Iterator[Problem]:
    """Find bytes of a part that are not its records."""
    if store.has_foreign_bytes(part):
        yield Problem("leak", name, "it has bytes that belong to no column")
    if reason := find_excess(part):
        yield Problem("leak", name, reason)


def _find_leaks(data: bytes, options: CodecOptions) -> list[str]:
    try:
        return codec.find_leaks(data, options)
    except (MemoryError, OSError, SetupError):
        raise
    except Exception as error:  # an output that cannot be checked is not known to be safe
        return [f"the file cannot be checked ({type(error).__name__})"]
