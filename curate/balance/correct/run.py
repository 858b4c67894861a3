"""Correct group representation: read, decide, write OUT and its manifest."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate.balance.audit.measure import Targets
from curate.balance.correct import output
from curate.balance.correct.augmentation import make_augmentation
from curate.balance.correct.decisions import open_decisions
from curate.balance.correct.goal import TargetSpec
from curate.balance.correct.options import AUGMENTING, BalanceOptions
from curate.balance.correct.provenance import check_provenance
from curate.balance.correct.report import Correction, Findings, to_dict
from curate.balance.correct.shard import BalanceJob
from curate.balance.correct.source import (
    BalanceInputs,
    Origin,
    SourceSpec,
    find_origin,
    load_records,
    spec_of,
)
from curate.balance.correct.strategies import Corrected, correct, decide
from curate.balance.correct.verify import describe_files
from curate.balance.labels.run import load_label_decisions
from curate.balance.targets import load_targets
from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.layouts import explain_no_images
from curate.layouts.access.address import is_hub_uri
from curate.layouts.memory_table import MemoryTable, Table, as_table, digest_table
from curate.manifest import corrections, store
from curate.manifest.files import MANIFEST
from curate.manifest.others import describe_notes
from curate.pipeline import assembly
from curate.pipeline.inspection import check_sidecars
from curate.pipeline.output import ShardsSummary, summarize_shards
from curate.pipeline.progress import show_progress, show_steps
from curate.pipeline.recipe_changes import describe_recipe_clash
from curate.pipeline.run import Run, begin, clock, hold
from curate.pipeline.session import Session
from curate.pipeline.shard_queue import run_shards
from curate.pipeline.workspace import Workspace, check_paths

INDEX = "decisions.sqlite"


@checked
def rebalance(
    source: str | Path | None,
    out: str | Path | None,
    options: BalanceOptions,
    inputs: BalanceInputs | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
) -> Correction:
    """Correct how groups are represented in a dataset.

    Running it again on the same OUT continues an interrupted run and returns at once
    from a finished one.

    >>> import curate
    >>> options = curate.BalanceOptions(strategy="subset", by=("gender",))     # doctest: +SKIP
    >>> inputs = curate.BalanceInputs(groups="people.csv")                     # doctest: +SKIP
    >>> curate.rebalance("out", None, options, inputs).to_frame()              # doctest: +SKIP

    Args:
        source: the OUT of `curate.blur` or of an earlier correction, a dataset, a table, or
            None if ``inputs.groups`` is the table; only read.
        out: the output folder, created if absent; None for a dry run that writes nothing.
        options: the strategy and its options.
        inputs: the other files to read.
        session: how to run.
        quiet: show no progress and no messages.

    Raises:
        UsageError: if the options contradict each other or OUT holds something else.
        DataError: if an input cannot be used, or the target cannot be met.
        SetupError: if an optional package is missing.
    """
    with show_progress(session or Session(), quiet) as session:
        given = None if source is None else str(source)
        return _rebalance(given, out, options, inputs or BalanceInputs(), session, quiet)


def _rebalance(
    given: str | None,
    out: str | Path | None,
    options: BalanceOptions,
    inputs: BalanceInputs,
    session: Session,
    quiet: bool,
) -> Correction:
    began = time.time()
    options, task = _prepare(given, options, inputs, quiet)
    if session.shards is not None:
        raise UsageError("use curate.rebalance_shards to process some of the shards")
    if out is None:
        with TemporaryDirectory(prefix="curate-balance-") as folder:
            findings = _read_and_correct(task, options, Path(folder) / INDEX)
        return Correction(to_dict(findings), seconds=time.time() - began)
    workspace = _open(given, out, options, task)
    report = _load_finished(workspace.out, options, task.origin)
    if report is not None:
        return Correction(report, Path(out), True, files=describe_files(workspace.out))
    with _held(task, workspace, options, session) as (run, made):
        assert made is not None  # noqa: S101 - only processes with --shards have none
        _execute(run, made, task)
    if note := describe_notes(workspace.out / MANIFEST):
        session.notify(f"{note}; check them before you publish OUT.")
    files = describe_files(workspace.out)
    return Correction(to_dict(made), Path(out), seconds=time.time() - began, files=files)


@checked
def rebalance_shards(
    source: str | Path,
    out: str | Path,
    shards: str | tuple[int, int],
    options: BalanceOptions,
    inputs: BalanceInputs | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
) -> ShardsSummary:
    """Write the images of every n-th shard of a correction, as one of n processes.

    See `curate.blur_shards`. Afterwards `rebalance` with a session of ``finish=True`` assembles
    OUT. The decisions are made by the first process, from all records.

    Args:
        source: a dataset, as of `rebalance`; only read.
        out: the output folder, which every process can write; created if absent.
        shards: ``i/n``, or both numbers: every n-th shard from the i-th, with i from 1 to n.
        options: the strategy and its options.
        inputs: the other files to read.
        session: how to run.
        quiet: show no progress and no messages.

    Raises:
        UsageError: if the correction writes no images, or as of `rebalance`.
        DataError: if an input cannot be used, or the target cannot be met.
        SetupError: if something is missing from the environment, or differs from the other
            processes' environment.
    """
    session = replace(session or Session(), shards=shards)  # type: ignore[arg-type]
    given, inputs = str(source), inputs or BalanceInputs()
    options, task = _prepare(given, options, inputs, quiet)
    if not options.writes_images:
        raise UsageError(
            "--shards divides the work on images, and this correction writes none; drop it"
        )
    workspace = _open(given, out, options, task)
    if _load_finished(workspace.out, options, task.origin) is not None:
        return summarize_shards(out, session, None)
    with (
        show_progress(session, quiet) as session,
        _held(task, workspace, options, session) as (run, _),
    ):
        plan = begin(run, corrections.FACTS, strict=True)
        done = run_shards(run, plan, _job(run, task), corrects=True)
        return summarize_shards(out, session, done)


def _open(given: str | None, out: str | Path, options: BalanceOptions, task: _Task) -> Workspace:
    """The work folder of a correction, after the paths were checked."""
    if options.writes_images:
        _check_faces(task.origin, task.inputs)
    check_paths(given or (task.table if isinstance(task.table, Path) else None), out)
    workspace = Workspace(Path(out).resolve())
    manifest = workspace.out / MANIFEST
    if manifest.exists() and not (manifest / corrections.FACTS).is_file():
        raise UsageError(f"OUT {str(out)!r} holds another run; choose a new folder")
    return workspace


@dataclass(frozen=True, slots=True)
class _Task:
    """The inputs, checked."""

    origin: Origin
    table: Table | None
    inputs: BalanceInputs
    wanted: TargetSpec
    unwanted: Mapping[str, str]
    quiet: bool


def _prepare(
    source: str | None, options: BalanceOptions, inputs: BalanceInputs, quiet: bool
) -> tuple[BalanceOptions, _Task]:
    """Check the inputs quickly, and compute the digests of the files."""
    if source is not None and is_hub_uri(source):
        raise UsageError("a Hub dataset cannot be balanced directly; run `curate blur` on it first")
    origin = find_origin(source, inputs.layout)
    table = as_table(inputs.groups)
    if origin.uri is None:
        if source is not None and table is not None:
            raise UsageError(
                "both SOURCE and --groups are tables; give one, or a dataset as SOURCE"
            )
        table = Path(source) if source is not None else table
        if table is None:
            raise UsageError("no input; give SOURCE or --groups")
        if options.strategy in AUGMENTING:
            raise UsageError(f"{options.strategy} requires images; give a dataset as SOURCE")
        options = replace(options, writes_images=False)
    if options.strategy == "reweigh":
        options = replace(options, writes_images=False)
    options = options.with_choices_of(origin.recipe)
    wanted = _load_wanted(options, inputs)
    unwanted = _load_unwanted(options, inputs)
    files = {}
    if table is not None:
        name = "groups_in_memory" if isinstance(table, MemoryTable) else "groups"
        files[name] = digest_table(table)
    if inputs.labels is not None:
        files["labels"] = store.digest_file(Path(inputs.labels))
    for number, path in enumerate(inputs.targets):
        files[f"target{number}"] = store.digest_file(Path(path))
    if options.augmentation is not None:
        make_augmentation(str(inputs.augmentation))  # raises if it is not valid
        if options.augmentation == "file":
            files["augmentation"] = store.digest_file(Path(str(inputs.augmentation)))
    return replace(options, files=files), _Task(origin, table, inputs, wanted, unwanted, quiet)


def _load_wanted(options: BalanceOptions, inputs: BalanceInputs) -> TargetSpec:
    if options.target == "uniform":
        return "uniform"
    if options.target == "observed":
        return "observed"
    targets: Targets = load_targets([Path(path) for path in inputs.targets], options.attributes)
    return targets


def _load_unwanted(options: BalanceOptions, inputs: BalanceInputs) -> Mapping[str, str]:
    if options.strategy != "labels":
        return {}
    if inputs.labels is None:
        raise UsageError(
            "strategy labels requires --labels, the JSON report of `curate audit labels`"
        )
    found = load_label_decisions(Path(inputs.labels))
    if not found:
        raise DataError(f"{inputs.labels} removes no label; there is nothing to do")
    return found


def _check_faces(origin: Origin, inputs: BalanceInputs) -> None:
    """Refuse to write visible faces by mistake."""
    if not origin.is_obfuscated and not inputs.visible_faces:
        opened = spec_of(origin, Path()).open()  # raises if SOURCE is no dataset
        if next(opened.records(), None) is None:
            raise DataError(explain_no_images(opened))
        raise UsageError(
            "SOURCE is not the OUT of curate blur, so OUT would show its faces; run `curate blur` "
            "first, or use --list-only for the decisions alone, or --visible-faces"
        )


def _read_and_correct(task: _Task, options: BalanceOptions, path: Path) -> Findings:
    source = None
    if task.origin.uri is not None:
        source = spec_of(task.origin, path).open()
    with open_decisions(path, fresh=True) as decisions:
        with show_steps(task.quiet) as watch:
            loaded = load_records(
                source, task.table, task.origin, options, decisions, task.inputs, watch
            )
        corrected: Corrected = correct(loaded, options, task.wanted, task.unwanted)
        decide(loaded, corrected, decisions)
        if source is not None and options.writes_images:
            check_provenance(source, task.origin, decisions, options.include)
            check_sidecars(source, options)
    return Findings(loaded, corrected, options)


@contextmanager
def _held(
    task: _Task, workspace: Workspace, options: BalanceOptions, session: Session
) -> Iterator[tuple[Run[BalanceOptions], Findings | None]]:
    """Take part in the work on OUT, after the decisions were made from all records.

    They are made again in each run, from the same inputs. A process with ``--shards`` uses those
    of another one, without its findings.
    """
    found: list[Findings] = []
    index = workspace.root / INDEX

    def opener() -> Source:
        if session.shards is None or not index.exists():
            partial = index.with_name(f"{INDEX}.{secrets.token_hex(4)}.partial")
            try:
                found.append(_read_and_correct(task, options, partial))
                partial.replace(index)  # other processes may have it open
            finally:
                partial.unlink(missing_ok=True)
        return spec_of(task.origin, index).open()

    with hold(opener, workspace, options, session) as run:
        yield run, found[0] if found else None


def _execute(run: Run[BalanceOptions], findings: Findings, task: _Task) -> None:
    workspace = run.workspace
    plan = begin(run, corrections.FACTS, strict=True)
    if not assembly.is_assembled(workspace, corrections.FACTS):
        done = run_shards(run, plan, _job(run, task), corrects=True).now
        index = workspace.root / INDEX
        output.assemble(run, plan, findings, task.origin, task.inputs, index)
        workspace.note(event="finished", time=clock(), images=done)
    run.check_unchanged()
    assembly.move_to_output(workspace)


def _job(run: Run[BalanceOptions], task: _Task) -> BalanceJob:
    source, decisions = run.source, run.workspace.root / INDEX
    uri = None if task.origin.uri is None else source.uri
    return BalanceJob(
        opening=SourceSpec(uri, source.layout, decisions, source.follow_links),
        work=run.workspace.root,
        decisions=decisions,
        augmentation=task.inputs.augmentation if run.recipe.augmentation else None,
        writes_images=run.recipe.writes_images,
        seed=run.recipe.seed,
    )


def _load_finished(out: Path, options: BalanceOptions, origin: Origin) -> dict[str, Any] | None:
    """The report of a finished output of the same correction; None if OUT is not finished."""
    if not (out / MANIFEST / corrections.FACTS).is_file():
        return None
    facts = corrections.load_facts(out / MANIFEST)
    if facts["source"]["manifest_sha256"] != origin.sha256:
        raise UsageError(f"OUT {str(out)!r} was made from another SOURCE; choose a new folder")
    if facts["recipe_sha256"] != options.digest:
        raise UsageError(describe_recipe_clash(out, facts["recipe"], options))
    return output.load_report(out / MANIFEST)
