"""Verify the output of any command against its manifest, and look for leaks.

Outputs of the pipeline are checked here; a package above this one registers the check of
its outputs in `CHECKS` by the file of the manifest that marks them.
"""

from __future__ import annotations

import contextlib
import heapq
import html
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import codec
from curate.codec import CodecOptions
from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, ManifestError, SetupError, UsageError
from curate.core.protocols import ContainerSource, LabelMapSource, Source
from curate.core.records import escape_unprintable
from curate.core.registry import Plugin, Registry
from curate.engine.local import Finished, LocalPool, Report
from curate.engine.shards import Shard
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.access.folder import iter_files
from curate.layouts.files import is_image_name
from curate.layouts.sidecars import find_pictures
from curate.manifest import checks, corrections, files, store
from curate.manifest.files import Problem
from curate.manifest.review import check_review
from curate.pipeline.compare import Comparison, compare
from curate.pipeline.output import open_outputs
from curate.pipeline.progress import make_teller, show_steps
from curate.pipeline.session import Session, Step, usable_cores, workers_for
from curate.pipeline.tools import codec_options, margin_of, open_obfuscator
from curate.recipe import Recipe
from curate.storage.errors import describe_os_error
from curate.storage.regular import read_regular

if TYPE_CHECKING:
    import pandas as pd

CHECKS = Registry(
    "check",
    [
        (
            corrections.FACTS,
            Plugin("curate.balance.correct.verify:iter_problems", "outputs of curate balance"),
        ),
        (
            store.FILES,
            Plugin("curate.publishing.hub.pull:verify_published", "published datasets"),
        ),
        ("card", Plugin("curate.publishing.card.run:iter_card_problems", "dataset cards")),
        ("twins", Plugin("curate.duplicates.run:iter_problems", "near-duplicates left unblurred")),
    ],
)
"""Checks of outputs of the packages above, by the file in ``manifest/`` that marks them.

That of corrections is called with the output's folder, the number of workers and the content
of the file; that of published datasets with the address, whether to read every file, and a
function for messages.
"""

MAX_PROBLEMS = 1000
"""Problems that a `Verification` holds; further ones are counted."""


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """The result of verifying an output.

    Args:
        out: the output folder.
        checked: what was checked, as a clause.
        counts: number of problems by kind.
        problems: the first `MAX_PROBLEMS` of them.
    """

    out: str
    checked: str
    counts: Mapping[str, int]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.counts

    def to_text(self) -> str:
        """The verdict in one line."""
        if self.ok:
            return f"{self.out} is what its manifest says: {self.checked}."
        found = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        return f"{self.out} is not what its manifest says: {found}."

    def to_frame(self) -> pd.DataFrame:
        """The problems as a table with the columns kind, path and detail."""
        import pandas as pd

        rows = [asdict(problem) for problem in self.problems]
        return pd.DataFrame(rows, columns=["kind", "path", "detail"])

    def __repr__(self) -> str:
        return f"<Verification: {escape_unprintable(self.to_text())}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{each.kind}</td><td>{html.escape(escape_unprintable(each.path))}</td>"
            f"<td>{html.escape(each.detail)}</td></tr>"
            for each in self.problems[:50]
        )
        return f"<p>{html.escape(escape_unprintable(self.to_text()))}</p><table>{rows}</table>"


def verify(
    out: str | Path,
    source: str | Path | None = None,
    workers: int | None = None,
    *,
    twins: bool = True,
    full: bool = False,
    quiet: bool = False,
    on_problem: Callable[[Problem], None] | None = None,
) -> Verification:
    """Check every file of an output against its manifest, and look for leaks.

    >>> result = curate.verify("out", source="photos")          # doctest: +SKIP
    >>> result.ok                                               # doctest: +SKIP
    True

    Args:
        out: the output of ``blur`` or ``balance``, ``hf:REPO_ID[@REVISION]`` for a dataset
            that `push` published, or the folder that `pull` wrote.
        source: the SOURCE of ``blur``, to compare pixels with: equal outside the masks,
            hidden inside. None to check the output by itself.
        workers: worker processes, or None for one per usable core.
        twins: with ``source``, also report near-duplicates of which one is not blurred.
        full: download every file of a published dataset, not a sample.
        quiet: show no progress.
        on_problem: called with each problem as soon as it is found.

    Raises:
        UsageError: if a correction is to be compared with its SOURCE.
        ManifestError: if the manifest cannot be read at all.
        DataError: if SOURCE or OUT is not a folder.
        SetupError: if a folder cannot be listed, or memory or processes fail.
    """
    if is_address(str(out)) and not str(out).startswith(_HUB):
        raise UsageError("OUT is a URI; give a local path, or hf:REPO_ID")
    kinds: Counter[str] = Counter()
    kept: list[Problem] = []
    with show_steps(quiet) as watch:
        if str(out).startswith(_HUB) or (Path(out) / store.MANIFEST / store.FILES).is_file():
            checked, problems = _open_published(str(out), source, full, make_teller(quiet))
        else:
            checked, problems = _open_check(Path(out), source, workers, watch)
            problems = _then_others(problems, Path(out), source if twins else None, workers)
        for problem in problems:
            kinds[problem.kind] += 1
            if len(kept) < MAX_PROBLEMS:
                kept.append(problem)
            if on_problem is not None:
                on_problem(problem)
    return Verification(str(out), checked, dict(kinds), tuple(kept))


def iter_problems(
    out: str | Path, source: str | Path | None = None, workers: int | None = None
) -> Iterator[Problem]:
    """Check an output as `verify` does, yielding each problem as it is found."""
    problems = _open_check(Path(out), source, workers, lambda _: None)[1]
    return _then_others(problems, Path(out), source, workers)


_Watch = Callable[[Step], None]
_HUB = "hf:"


def _then_others(
    problems: Iterator[Problem], out: Path, source: str | Path | None, workers: int | None
) -> Iterator[Problem]:
    """Check near-duplicates and the dataset card too; the card only of a sound output."""
    if source is not None:
        problems = chain(problems, _iter_twins(out, str(source), workers or usable_cores()))
    found = False
    for problem in problems:
        found = True
        yield problem
    if not found and any((out / name).exists() for name in ("card.toml", files.PICTURE)):
        yield from CHECKS.resolve("card")(out)


def _iter_twins(out: Path, source: str, workers: int) -> Iterator[Problem]:
    """Search for near-duplicates after everything else; a damaged output is reported by then."""
    with contextlib.suppress(DataError):
        yield from CHECKS.resolve("twins")(source, out, workers)


def _open_published(
    uri: str, source: str | Path | None, full: bool, tell: Callable[[str], None]
) -> tuple[str, Iterator[Problem]]:
    """What a check of a published dataset covers, and the problems that it finds."""
    if source is not None:
        raise UsageError("--source is for the output of a run, not for a published dataset")
    how = "every file" if full or not uri.startswith(_HUB) else "every digest and a sample"
    problems = CHECKS.resolve(store.FILES)(uri, full, tell)
    return f"{how} checked against the public manifest", problems


def _open_check(
    out: Path, source: str | Path | None, workers: int | None, watch: _Watch
) -> tuple[str, Iterator[Problem]]:
    """What a check covers, as a clause, and the problems that it finds, streaming."""
    Session(workers=workers)  # refuses a number that is out of range
    if (out / store.MANIFEST / corrections.FACTS).is_file():
        return _open_correction(out, source, workers or usable_cores())
    run = load_facts(out)
    counts = run["counts"]
    against = " and its pixels against SOURCE" if source else ""
    checked = (
        f"{counts['written']:,} images checked for changes and leaks{against}, "
        f"{counts['withheld']:,} withheld, recipe {run['recipe_sha256'][:12]}"
    )

    def find() -> Iterator[Problem]:
        path = None
        if source is not None:
            path = open_source(str(source), run["source"]["layout"]).uri
        yield from _iter_problems(_Check(out.resolve(), path, run, workers, watch))

    return checked, _with_clear_errors(out, find())


def _open_correction(
    out: Path, source: str | Path | None, workers: int
) -> tuple[str, Iterator[Problem]]:
    if source is not None:
        raise UsageError(
            "--source is for outputs of curate blur; curate balance copies images unchanged"
        )
    facts = corrections.load_facts(out / store.MANIFEST)
    counts = facts["counts"]
    hidden = "" if facts["source"]["obfuscated"] else "; their faces were never hidden"
    images = f", images checked for changes{hidden}" if facts["recipe"].get("writes_images") else ""
    checked = (
        f"{counts['kept'] + counts['fixed']:,} records kept, {counts['removed']:,} removed, "
        f"{counts['made']:,} made{images}, recipe {facts['recipe_sha256'][:12]}"
    )

    def find() -> Iterator[Problem]:
        yield from CHECKS.resolve(corrections.FACTS)(out.resolve(), workers, facts)

    return checked, _with_clear_errors(out, find())


def _with_clear_errors(out: Path, problems: Iterator[Problem]) -> Iterator[Problem]:
    try:
        yield from problems
    except OSError as error:
        raise describe_os_error(error, out, "read") from error
    except MemoryError:
        raise SetupError("there is not enough memory; try fewer --workers") from None


def load_facts(out: Path) -> dict[str, Any]:
    """Load the ``run.json`` of a finished run.

    Raises:
        ManifestError: if it is absent or damaged.
        DataError: if OUT is not a folder.
    """
    try:
        if out.exists() and not out.is_dir():
            raise DataError(f"OUT {out} is not a folder")
        return store.load_run(out / store.MANIFEST)
    except OSError as error:
        raise describe_os_error(error, out, "read") from error


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Checks parts of a manifest, one per shard number.

    Args:
        out: the output folder.
        source: path or URI of SOURCE, to compare pixels with, or None.
        layout: the layout of both.
        in_containers: whether their images are inside larger files.
        recipe: the recipe of the run.
    """

    out: Path
    source: str | None
    layout: str
    in_containers: bool
    recipe: Recipe

    def open(self) -> Callable[[Shard, Report], list[Problem]]:
        """Return the function that checks one part."""
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
            part = self.out / store.MANIFEST / name
            problems: list[Problem] = []
            for entry in store.iter_part(part):
                problems += checks.check_entry(entry, read, inspect)
                if comparison is not None:
                    problems += compare(entry, comparison)
            problems += _check_part_file(part, f"{store.MANIFEST}/{name}")
            return problems

        return check


@dataclass(frozen=True, slots=True)
class _Check:
    """The check of one run: its output, SOURCE, ``run.json``, workers, and who watches."""

    out: Path
    source: str | None
    run: Mapping[str, Any]
    workers: int | None
    watch: _Watch


def _iter_problems(check: _Check) -> Iterator[Problem]:
    out, run = check.out, check.run
    recipe = _load_recipe(run)
    yield from _check_recipe(run, recipe)
    yield from files.check_layout(out, run["records"]["parts"])
    # First in worker processes: a forged part can end the process that reads it.
    name, in_containers = run["source"]["layout"], run["others"]["rebuilt"] > 0
    yield from _check_parts(CheckJob(out, check.source, name, in_containers, recipe), check)
    yield from checks.check_run(out / store.MANIFEST, run, recipe.digest)
    yield from check_review(out, run["records"]["sha256"])
    yield from checks.check_others(out, _find_hidden_pictures(out / store.DATA, name))
    yield from _check_data(out, name, in_containers)


def _check_parts(job: CheckJob, check: _Check) -> Iterator[Problem]:
    parts = sum(1 for _ in store.iter_parts(job.out / store.MANIFEST / store.RECORDS_FOLDER))
    size = workers_for(Recipe(), Session(workers=check.workers))
    pool = LocalPool(min(size, max(parts, 1)))
    shards = (Shard(number, ()) for number in range(parts))
    done = 0
    for event in pool.run(job, shards):
        if isinstance(event, Finished):
            done += 1
            check.watch(Step("verifying", "shards", done, parts))
            yield from event.result


def _find_hidden_pictures(data: Path, name: str) -> checks.FindPictures:
    """Return the function that reports pictures in copied files; label maps are proven again."""
    opened: list[Source] = []  # annotations are read once, and only if there is a label map

    def find(path: Path) -> str | None:
        if path.is_relative_to(data) and is_image_name(path.name):
            # Damaged annotations, or another layout, prove nothing.
            with contextlib.suppress(DataError, UsageError):
                opened[:] = opened or [open_source(str(data), name, "OUT")]
                name_in_data, source = path.relative_to(data).as_posix(), opened[0]
                if isinstance(source, LabelMapSource) and source.is_label_map(
                    name_in_data, read_regular(path)
                ):
                    return None
        return find_pictures(path)

    return find


def _check_data(out: Path, name: str, in_containers: bool) -> Iterator[Problem]:
    """Find files in ``data/`` that the manifest does not list; links are not followed."""
    data, manifest, has_links = out / store.DATA, out / store.MANIFEST, False
    if not data.is_dir():
        return  # reported with the layout
    for problem in files.check_kinds(data):
        has_links = True
        yield problem
    if has_links:
        return
    present = (path for path, _ in iter_files(data, "OUT"))
    beside = files.iter_files_beside(manifest)
    outputs = files.iter_outputs(manifest)
    if not in_containers:
        yield from files.check_extra(heapq.merge(beside, outputs, key=os.fsencode), present)
        return
    yield from files.check_extra(beside, present)
    opened = open_source(str(data), name, "OUT")
    yield from files.check_extra(outputs, (record.id for record in opened.records()))
    if not isinstance(opened, ContainerSource):
        return
    for container in opened.containers():
        for detail in opened.inspect(container):
            yield Problem("leak", f"{store.DATA}/{container}", detail)


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
        if recorded[name] != found:
            detail = f"obfuscator.{name} is {found!r}, but is recorded as {recorded[name]!r}"
            yield Problem("manifest", "manifest/run.json", detail)


def _check_part_file(part: Path, name: str) -> Iterator[Problem]:
    """Find bytes of a part that are not its records."""
    if store.has_foreign_bytes(part):
        yield Problem("leak", name, "it has bytes that belong to no column")
    if reason := find_pictures(part):
        yield Problem("leak", name, reason)


def _find_leaks(data: bytes, options: CodecOptions) -> list[str]:
    try:
        return codec.find_leaks(data, options)
    except (MemoryError, OSError, SetupError):
        raise
    except Exception as error:  # an output that cannot be checked is not known to be safe
        return [f"the file cannot be checked ({type(error).__name__})"]
