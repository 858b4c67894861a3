"""Correct how groups are represented, write what was done, and say what it changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate.balance.audit.measure import Targets
from curate.balance.correct import writing
from curate.balance.correct.augment import make_augmentation
from curate.balance.correct.decide import Corrected, correct, decide
from curate.balance.correct.goal import Wanted
from curate.balance.correct.intake import take_in
from curate.balance.correct.ledger import open_ledger
from curate.balance.correct.opening import Opening, opening_of
from curate.balance.correct.options import AUGMENTING, Balancing, Inputs
from curate.balance.correct.origin import Origin, find_origin
from curate.balance.correct.provenance import check_provenance
from curate.balance.correct.report import Findings, to_dict
from curate.balance.correct.shard import BalanceJob
from curate.balance.labels.decisions import load_label_decisions
from curate.balance.targets import load_targets
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source
from curate.layouts.access.address import is_hub_uri
from curate.manifest import corrections, store
from curate.manifest.layout import MANIFEST
from curate.pipeline import finish
from curate.pipeline.run import Run, begin, clock, do_shards, hold
from curate.pipeline.session import Session
from curate.pipeline.workspace import Workspace, check_places, describe_recipe_clash

LEDGER = "ledger.sqlite"


@dataclass(frozen=True, slots=True, eq=False)
class Balanced:
    """What a correction came to.

    Args:
        findings: what was read and decided; None where OUT was finished before.
        report: the report, for JSON.
        already_done: whether OUT was finished before.
        seconds: wall time of this attempt.
    """

    findings: Findings | None
    report: Mapping[str, Any]
    already_done: bool
    seconds: float


def preview_balance(source: str | None, options: Balancing, inputs: Inputs) -> Balanced:
    """Say what a correction would do, and write nothing.

    Raises:
        CurateError: as `balance` does.
    """
    began = time.time()
    options, task = _prepare(source, options, inputs)
    with TemporaryDirectory(prefix="curate-balance-") as folder:
        findings = _read_and_correct(task, options, Path(folder) / LEDGER)
    return Balanced(findings, to_dict(findings), False, time.time() - began)


def balance(
    source: str | None,
    out: str | Path,
    options: Balancing,
    inputs: Inputs,
    session: Session | None = None,
) -> Balanced:
    """Correct how groups are represented in a dataset.

    Running it again on the same OUT continues an interrupted run and returns at once
    from a finished one.

    Args:
        source: the OUT of `curate blur` or of an earlier correction, a dataset, a table, or
            None where ``inputs.groups`` is the table; only read.
        out: the output folder; made if absent.
        options: what to do.
        inputs: where what is read is.
        session: how to run.

    Raises:
        UsageError: if the request contradicts itself or OUT holds something else.
        DataError: if what is given cannot be used, or the target cannot be met.
        SetupError: if the environment lacks something.
    """
    session, began = session or Session(), time.time()
    options, task = _prepare(source, options, inputs)
    if options.writes_images:
        _check_faces(task.origin, inputs)
    check_places(source or str(task.table), out)
    workspace = Workspace(Path(out).resolve())
    done = workspace.out / MANIFEST / corrections.FACTS
    if done.is_file():
        return _recall(workspace.out, options, task.origin)
    if (workspace.out / MANIFEST).exists():
        raise UsageError(f"OUT {str(out)!r} holds another run; choose a new folder")
    ledger = workspace.root / LEDGER
    with _held(task, workspace, options, session, ledger) as (run, findings):
        _carry_out(run, findings, task, ledger)
    return Balanced(findings, to_dict(findings), False, time.time() - began)


@dataclass(frozen=True, slots=True)
class _Task:
    """What is read."""

    origin: Origin
    table: Path | None
    inputs: Inputs
    wanted: Wanted
    unwanted: Mapping[str, str]


def _prepare(source: str | None, options: Balancing, inputs: Inputs) -> tuple[Balancing, _Task]:
    """Look over everything that is quick to find wrong, and pin the files that are given."""
    if source is not None and is_hub_uri(source):
        raise UsageError("a dataset of the Hub is balanced after `curate blur` has brought it here")
    origin = find_origin(source, inputs.layout)
    table = inputs.groups
    if origin.place is None:
        if source is not None and table is not None:
            raise UsageError("SOURCE is a table already; give one, or the dataset as SOURCE")
        table = Path(source) if source is not None else table
        if table is None:
            raise UsageError("there is nothing to balance: give SOURCE or --groups")
        if options.strategy in AUGMENTING:
            raise UsageError(f"{options.strategy} needs images; give the dataset as SOURCE")
        options = replace(options, writes_images=False)
    if options.strategy == "reweigh":
        options = replace(options, writes_images=False)
    wanted = _load_wanted(options, inputs)
    unwanted = _load_unwanted(options, inputs)
    files = {
        name: store.digest_file(path)
        for name, path in (("groups", table), ("labels", inputs.labels))
        if path is not None
    }
    for number, path in enumerate(inputs.targets):
        files[f"target{number}"] = store.digest_file(path)
    if options.augmentation is not None:
        make_augmentation(str(inputs.augmentation))  # refuses what cannot be done
        if options.augmentation == "file":
            files["augmentation"] = store.digest_file(Path(str(inputs.augmentation)))
    return replace(options, files=files), _Task(origin, table, inputs, wanted, unwanted)


def _load_wanted(options: Balancing, inputs: Inputs) -> Wanted:
    if options.target == "uniform":
        return "uniform"
    if options.target == "observed":
        return "observed"
    targets: Targets = load_targets(inputs.targets, options.attributes)
    return targets


def _load_unwanted(options: Balancing, inputs: Inputs) -> Mapping[str, str]:
    if options.strategy != "labels":
        return {}
    if inputs.labels is None:
        raise UsageError("labels needs --labels, the report of `curate audit labels`")
    found = load_label_decisions(inputs.labels)
    if not found:
        raise DataError(f"{inputs.labels} decides to remove no label; there is nothing to do")
    return found


def _check_faces(origin: Origin, inputs: Inputs) -> None:
    """Nobody's face goes to OUT by mistake."""
    if not origin.is_obfuscated and not inputs.shows_faces:
        raise UsageError(
            "SOURCE is not the OUT of curate blur, so its faces would go to OUT as they are; blur "
            "it first, or say --list-only for the decisions alone, or --visible-faces"
        )


def _read_and_correct(task: _Task, options: Balancing, path: Path) -> Findings:
    source = None
    if task.origin.place is not None:
        source = opening_of(task.origin, path).open()
    with open_ledger(path, fresh=True) as ledger:
        intake = take_in(source, task.table, task.origin, options, ledger, task.inputs)
        corrected: Corrected = correct(intake, options, task.wanted, task.unwanted)
        decide(intake, corrected, ledger)
        if source is not None and options.writes_images:
            check_provenance(source, task.origin, ledger)
    return Findings(intake, corrected, options)


@contextmanager
def _held(
    task: _Task, workspace: Workspace, options: Balancing, session: Session, ledger: Path
) -> Iterator[tuple[Run[Balancing], Findings]]:
    """Hold the OUT; what is decided follows from the inputs, and is worked out anew each time."""
    found: list[Findings] = []

    def opener() -> Source:
        found.append(_read_and_correct(task, options, ledger))
        return opening_of(task.origin, ledger).open()

    with hold(opener, workspace, options, session) as run:
        yield run, found[0]


def _carry_out(run: Run[Balancing], findings: Findings, task: _Task, ledger: Path) -> None:
    workspace = run.workspace
    plan = begin(run, corrections.FACTS, strict=True)
    if not finish.is_gathered(workspace, corrections.FACTS):
        done = do_shards(run, plan, _job(run, task, ledger))
        writing.gather_correction(run, plan, findings, task.origin, task.inputs, ledger)
        workspace.note(event="finished", time=clock(), images=done)
    finish.show(workspace)


def _job(run: Run[Balancing], task: _Task, ledger: Path) -> BalanceJob:
    source = run.source
    place = None if task.origin.place is None else source.uri
    return BalanceJob(
        opening=Opening(place, source.layout, ledger),
        work=run.workspace.root,
        ledger=ledger,
        augmentation=task.inputs.augmentation if run.recipe.augmentation else None,
        writes_images=run.recipe.writes_images,
        seed=run.recipe.seed,
    )


def _recall(out: Path, options: Balancing, origin: Origin) -> Balanced:
    facts = corrections.load_facts(out / MANIFEST)
    if facts["source"]["manifest_sha256"] != origin.sha256:
        raise UsageError(f"OUT {str(out)!r} is of another SOURCE; choose a new folder")
    if facts["recipe_sha256"] != options.digest:
        raise UsageError(describe_recipe_clash(out, facts["recipe"], options))
    return Balanced(None, writing.load_report(out / MANIFEST), True, 0.0)
