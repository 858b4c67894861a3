"""Run a classifier on a dataset and its obfuscated version, and measure the difference."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate.core.arguments import checked
from curate.core.errors import LockedError, UsageError
from curate.core.records import set_names, set_paths
from curate.detectors import resolve_device
from curate.impact.class_names import (
    choose_model,
    describe_model,
    find_model_classes,
)
from curate.impact.evaluate import execute
from curate.impact.evaluate.control_arms import count_placement, count_routes
from curate.impact.evaluate.execute import Opened
from curate.impact.models import open_model
from curate.impact.pairs import PairedDatasets, open_datasets
from curate.impact.prediction_store import LOCK, PredictionStore
from curate.impact.predictions.control_arms import CONTROLS, OBFUSCATED, ORIGINAL
from curate.impact.predictions.report import ImpactReport
from curate.impact.predictions.run import NO_MANIFEST, PredictionOptions, measure_files
from curate.impact.survey import Labels, Survey, survey
from curate.impact.tables import check_groups
from curate.layouts.memory_table import TableLike, set_tables
from curate.manifest.files import MANIFEST
from curate.manifest.store import RUN
from curate.pipeline.progress import show_progress
from curate.pipeline.session import Session, count_workers
from curate.pipeline.tools import load_recipe, open_obfuscator
from curate.recipe import Recipe, format_json
from curate.storage.errors import describe_os_error
from curate.storage.lock import FolderLock

_BATCH = {"cpu": 8, "cuda": 64}  # small batches stay in a processor's cache
_GPU_BYTES = 8 << 30  # what a worker with a large classifier and a batch may need


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """Options of `evaluate_impact`.

    Args:
        model: specification of a classifier (see `curate.impact.models.open_model`); None for
            ImageNet's where the dataset's categories are its WordNet ids.
        classes: a file of class names, their number, or ``imagenet``; None for the model's own.
        labels: a table with the columns ``id`` and ``label``; None for the dataset's categories.
        arms: control arms to run; None for all where there is a manifest.
        groups: a table of groups by image id, a file or in memory such as a DataFrame, or None.
        by: attributes to group by, or intersections such as ``gender,age``; empty for every
            column with 2 to 12 values.
        allow_missing: leave out images that only one dataset has, instead of stopping.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch: images per batch; None for 8, or 64 on CUDA.
        seed: random seed of the bootstrap.
        folder: where predictions are written, and resumed from; None for a temporary folder.
        keep: whether they are kept at the end.

    Raises:
        UsageError: if a value is out of range.
    """

    model: str | None = None
    classes: str | None = None
    labels: Path | None = None
    arms: tuple[str, ...] | None = None
    groups: TableLike | None = None
    by: tuple[str, ...] = ()
    allow_missing: bool = False
    device: str = "auto"
    batch: int | None = None
    seed: int = 0
    folder: Path | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        set_names(self, "arms", "by")
        set_paths(self, "labels", "folder")
        set_tables(self, "groups")
        if self.batch is not None and not 1 <= self.batch <= 65_536:
            raise UsageError(f"--batch cannot be {self.batch}; give 1 to 65536")
        if self.seed < 0:
            raise UsageError("--seed must be 0 or more")
        for arm in self.arms or ():
            if arm not in CONTROLS:
                raise UsageError(
                    f"unknown control arm {arm!r}; choose from {', '.join(CONTROLS)}, or none"
                )


@checked
def evaluate_impact(
    original: str | Path,
    obfuscated: str | Path,
    options: EvaluateOptions | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
) -> ImpactReport:
    """Run a classifier on both datasets and on control arms, and measure the difference.

    >>> report = curate.evaluate_impact("photos", "out")    # doctest: +SKIP

    Args:
        original: the original dataset, a path or URI.
        obfuscated: the OUT of `curate.blur`, or a dataset of the same layout.
        options: model, classes, arms and groups.
        session: layout of the original, engine and workers, progress callbacks and the stop
            event. One local worker is this process.
        quiet: show no progress and no messages.

    Raises:
        UsageError: if the options contradict each other.
        DataError: if a dataset cannot be used, or they do not fit each other or the model.
        SetupError: if the environment lacks something.
        PausedError: if the session was asked to stop.
    """
    with show_progress(session or Session(), quiet) as session:
        return _evaluate(original, obfuscated, options or EvaluateOptions(), session)


def _evaluate(
    original: str | Path, obfuscated: str | Path, options: EvaluateOptions, session: Session
) -> ImpactReport:
    opened = _open(str(original), Path(obfuscated), options, session)
    fit = survey(opened.datasets, opened.labels, options.allow_missing)
    with _open_store(options) as store:
        store.begin(_describe_subject(opened, fit))
        execute.Prediction(opened, store, fit, session, options.folder is not None).run()
        report = _measure(options, opened, store, fit)
    if options.folder is not None and not options.keep:
        shutil.rmtree(options.folder)
    return report


def _open(original: str, obfuscated: Path, options: EvaluateOptions, session: Session) -> Opened:
    """Open both datasets and the model, and check that they fit."""
    device = resolve_device(options.device)
    check_groups(options.groups, options.by)
    datasets = open_datasets(original, obfuscated, session.layout)
    arms = _choose_arms(options, datasets)
    if datasets.run is None and (obfuscated.parent / MANIFEST / RUN).is_file():
        session.notify(
            f"{obfuscated} is the data folder of a run; give {obfuscated.parent} to use its "
            "manifest."
        )
    for line in datasets.original.check():
        session.notify(line)
    spec = choose_model(options.model, datasets.original, options.labels is not None)
    classifier = open_model(spec, device)
    classes = find_model_classes(options.classes, classifier)
    if datasets.run is not None:
        _tell_version(datasets.run, session)
    batch = options.batch or _BATCH[device]
    return Opened(
        datasets=datasets,
        classes=classes,
        classifier=classifier,
        spec=spec,
        device=device,
        batch=batch,
        labels=Labels(classes.names, options.labels),
        arms=arms,
        workers=count_workers(Recipe(device=device), session, _GPU_BYTES),
        model=describe_model(classifier, classes, batch),
    )


def _choose_arms(options: EvaluateOptions, datasets: PairedDatasets) -> tuple[str, ...]:
    if datasets.run is not None:
        return CONTROLS if options.arms is None else options.arms
    if options.arms:
        raise UsageError(
            f"control arms need a manifest, and {datasets.out} has none; "
            "give the OUT of curate blur, or --arms none"
        )
    return ()


def _tell_version(run: Mapping[str, Any], session: Session) -> None:
    obfuscator, recorded = open_obfuscator(load_recipe(run)), run["obfuscator"]
    if obfuscator.version != recorded["version"]:
        session.notify(
            f"The manifest was written with version {recorded['version']} of {recorded['name']}; "
            f"random regions are hidden with version {obfuscator.version}."
        )


@contextmanager
def _open_store(options: EvaluateOptions) -> Iterator[PredictionStore]:
    """The folder of predictions, locked for this run."""
    if options.folder is None:
        with TemporaryDirectory(prefix="curate-impact-") as folder, _described(Path(folder)):
            yield PredictionStore(Path(folder))
        return
    try:
        with _described(options.folder), FolderLock(options.folder / LOCK / "lock"):
            try:
                yield PredictionStore(options.folder)
            finally:
                shutil.rmtree(options.folder / LOCK, ignore_errors=True)
    except LockedError:
        raise LockedError(
            f"another run is writing {str(options.folder)!r}; wait for it, or give another folder"
        ) from None


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    """Turn file system errors into one line."""
    try:
        yield
    except OSError as error:
        raise describe_os_error(error, folder, "written") from None


def _describe_subject(opened: Opened, fit: Survey) -> dict[str, Any]:
    """All that predictions depend on; a folder with another subject is refused."""
    run = opened.datasets.run
    names = format_json(list(opened.classes.names)).encode()
    return {
        "model": opened.model,
        "classes_sha256": hashlib.sha256(names).hexdigest(),
        "images_sha256": fit.sha256,
        "manifest_sha256": run["records"]["sha256"] if run else None,
        "recipe_sha256": run["recipe_sha256"] if run else None,
        "shard": execute.SHARD,
    }


def _measure(
    options: EvaluateOptions, opened: Opened, store: PredictionStore, fit: Survey
) -> ImpactReport:
    """Measure the stored predictions and the control arms."""
    report = measure_files(
        [(store.arm(ORIGINAL), store.arm(OBFUSCATED))],
        PredictionOptions(
            classes=opened.classes,
            manifest=opened.datasets.out if opened.datasets.run is not None else None,
            groups=options.groups,
            by=options.by,
            allow_missing=True,  # what is missing here could not be decoded
            seed=options.seed,
        ),
        {arm: store.arm(arm) for arm in opened.arms},
    )
    controls = report.controls
    if controls is not None:
        controls = replace(controls, routes=count_routes(store), placement=count_placement(store))
    undecoded = fit.pairs - len(report.impact.experiment)
    facts = {
        **report.facts,
        "unpaired": fit.unpaired.to_dict(),
        "model": {**opened.model, "undecoded": undecoded},
    }
    notes = tuple(_list_notes(report, opened, undecoded))
    return replace(report, facts=facts, notes=notes, controls=controls)


def _list_notes(report: ImpactReport, opened: Opened, undecoded: int) -> Iterator[str]:
    for note in report.notes:
        if note == NO_MANIFEST:
            yield (
                "Nothing by hidden share or number of faces, and no control arms: the obfuscated "
                "dataset has no manifest."
            )
        else:
            yield note
    if opened.datasets.run is not None:
        missing = [arm for arm in CONTROLS if arm not in opened.arms]
        if missing:
            yield f"Control arms that were not run: {', '.join(missing)}."
    if undecoded:
        yield f"Images left out because they could not be decoded: {undecoded:,}."
