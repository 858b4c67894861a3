"""Bring a correction's shards together, and write its manifest."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import curate
from curate.balance.correct.annotating import annotate, place_rows
from curate.balance.correct.augment import make_augmentation
from curate.balance.correct.check import OTHERS_FATES, digest_rows
from curate.balance.correct.ledger import Ledger, open_ledger
from curate.balance.correct.options import Balancing, Inputs
from curate.balance.correct.origin import Origin
from curate.balance.correct.report import DetectionSummary, to_dict
from curate.core.protocols import iter_containers
from curate.layouts.access.address import is_address
from curate.manifest import corrections, store
from curate.pipeline.assembly import gather, list_others
from curate.pipeline.run import Run
from curate.pipeline.shard import DATA
from curate.pipeline.workspace import Plan, Workspace, check_containers, libraries

_LIBRARIES = ("albumentations", "scipy")


def gather_correction(
    run: Run[Balancing], plan: Plan, findings: DetectionSummary, origin: Origin, inputs: Inputs,
    ledger: Path,
) -> None:  # fmt: skip
    """Bring the committed shards together and write what describes them.

    Args:
        run: the run, with every shard committed.
        plan: what it went through.
        findings: what was decided.
        origin: what SOURCE is.
        inputs: where the augmentation is.
        ledger: what is decided of every record.
    """
    workspace, options = run.workspace, run.recipe
    manifest = workspace.final / "manifest"
    loose = next(iter_containers(run.source), None) is None
    gather(workspace, -(-plan.images // options.shard_size_for(plan.images)), loose)
    records = manifest / store.RECORDS_FOLDER
    with open_ledger(ledger, fresh=False) as opened:
        opened.note_made(_iter_made(records))
        others = _write_others(workspace, run, opened)
        if options.writes_images and not loose:
            place_rows(records, opened)
    if not options.writes_images:
        shutil.rmtree(workspace.final / DATA, ignore_errors=True)
    elif not loose:
        check_containers(run.source, plan)
    report = to_dict(findings)
    files = _save_files(manifest, options, report)
    facts = {
        "schema_version": corrections.VERSION,
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "recipe": options.to_dict(),
        "recipe_sha256": options.digest,
        "libraries": {**libraries(), **{name: version(name) for name in _LIBRARIES}},
        "augmentation": _describe_augmentation(inputs),
        "source": _describe_source(run, origin, records),
        "counts": report["counts"],
        "report": {key: value for key, value in report.items() if key != "audit"},
        "others": {
            **{fate: others[fate] for fate in OTHERS_FATES},
            "sha256": store.digest_file(manifest / store.OTHERS),
        },
        "files": files,
        "records": {
            "parts": sum(1 for _ in store.iter_parts(records)),
            "sha256": store.digest_parts(records),
        },
    }
    store.save_json(facts, manifest / corrections.FACTS)


def load_report(manifest: Path) -> dict[str, Any]:
    """The report of a correction that was finished before.

    Raises:
        ManifestError: if its manifest cannot be read.
    """
    report: dict[str, Any] = dict(corrections.load_facts(manifest)["report"])
    paths = {"before": manifest / corrections.BEFORE, "after": manifest / corrections.AFTER}
    has_audits = all(path.is_file() for path in paths.values())
    audits = {when: store.load_json(path) for when, path in paths.items()} if has_audits else None
    return {**report, "audit": audits}


def _iter_made(records: Path) -> Iterator[tuple[str, str, int, str | None]]:
    for row in corrections.iter_rows(records):
        if row.made_from is not None and row.number is not None:
            yield row.id, row.made_from, row.number, row.affine


def _write_others(workspace: Workspace, run: Run[Balancing], ledger: Ledger) -> Counter[str]:
    if not run.recipe.writes_images:
        return list_others(workspace, lambda _: iter(()))
    return list_others(workspace, lambda copies: annotate(workspace, run.source, ledger, copies))


def _save_files(manifest: Path, options: Balancing, report: dict[str, Any]) -> dict[str, str]:
    """Write the files beside the records; returns their digests by name."""
    names = []
    if options.strategy == "reweigh":
        rows = corrections.iter_rows(manifest / store.RECORDS_FOLDER)
        corrections.save_weights(rows, manifest / corrections.WEIGHTS)
        names.append(corrections.WEIGHTS)
    if report["audit"] is not None:
        store.save_json(report["audit"]["before"], manifest / corrections.BEFORE)
        store.save_json(report["audit"]["after"], manifest / corrections.AFTER)
        names += [corrections.BEFORE, corrections.AFTER]
    return {name: store.digest_file(manifest / name) for name in names}


def _describe_augmentation(inputs: Inputs) -> dict[str, Any] | None:
    if inputs.augmentation is None:
        return None
    return make_augmentation(inputs.augmentation).to_dict()


def _describe_source(run: Run[Balancing], origin: Origin, records: Path) -> dict[str, Any]:
    place = run.source.uri
    return {
        "layout": run.source.layout,
        "origin": place if is_address(place) else None,
        "obfuscated": origin.is_obfuscated,
        "manifest_sha256": origin.sha256,
        "sha256": digest_rows(records),
    }
