"""Train on original and on obfuscated images, and test each network on both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import curate
from curate.core.arguments import checked
from curate.detectors.device import choose_device
from curate.impact.experiment import Bools, Floats
from curate.impact.formatting import describe_run
from curate.impact.tables import Groups, load_groups, load_weights
from curate.impact.train.fitting import FitJob, fit_all
from curate.impact.train.image_rows import PixelReader, Reader, read_all
from curate.impact.train.measure import Transfer, measure
from curate.impact.train.options import TrainOptions, TrainSession
from curate.impact.train.paired_images import PairedImages, open_paired_images
from curate.impact.train.predictions import load_results, save_predictions
from curate.impact.train.report import TrainReport
from curate.impact.train.splits import TEST, TRAIN, UNUSED, check_classes
from curate.impact.train.work import TrainTestRows, Work, hold_work, list_networks
from curate.layouts.memory_table import describe_table
from curate.manifest.store import digest_file
from curate.pipeline.progress import show_steps
from curate.pipeline.session import ignore
from curate.report.document import describe_tool

_LIBRARIES = ("numpy", "scipy", "opencv-python", "torch")
_WEIGHTS = "each image's loss is multiplied by its weight, 1 in the mean of the training images"


@checked
def train_impact(
    original: str | Path,
    obfuscated: str | Path,
    options: TrainOptions | None = None,
    session: TrainSession | None = None,
    *,
    quiet: bool = False,
) -> TrainReport:
    """Train networks on original and on obfuscated images, and test each on both.

    An interrupted run resumes when it is called again with the same options.

    >>> report = curate.train_impact("photos", "out")    # doctest: +SKIP

    Args:
        original: the original dataset, a path or URI.
        obfuscated: the OUT of `curate.blur`, or a dataset of the same images.
        options: seeds, hyperparameters or probe, tables.
        session: work folder, processes, progress and stop event.
        quiet: show no progress.

    Raises:
        UsageError: if the options contradict each other or the datasets.
        DataError: if a dataset or a table cannot be used, or they do not fit each other.
        SetupError: if the environment lacks something, such as disk space.
        PausedError: if the run was stopped as requested.
    """
    session = session or TrainSession()
    with show_steps(quiet or session.watch is not ignore) as show:
        if session.watch is ignore:
            session = replace(session, watch=show)
        return _train(original, obfuscated, options or TrainOptions(), session)


def _train(
    original: str | Path, obfuscated: str | Path, options: TrainOptions, session: TrainSession
) -> TrainReport:
    method = _choose_method(options)
    with open_paired_images(str(original), Path(obfuscated), options) as images:
        wanted = images.split.uses == TRAIN
        weights = load_weights(options.weights, images.index, wanted) if options.weights else None
        # Errors that are quick to find are reported before anything is trained.
        _load_groups(options, images, images.split.uses == TEST)
        digest = _digest_inputs(options, images, method)
        with hold_work(session.work, digest) as held:
            return _run(options, session, method, (images, weights), held)


@dataclass(frozen=True, slots=True)
class _Method:
    """How images become rows and rows become networks."""

    reader: Reader
    device: str
    description: Mapping[str, Any]


def _run(
    options: TrainOptions,
    session: TrainSession,
    method: _Method,
    data: tuple[PairedImages, Floats | None],
    held: tuple[Work, int],
) -> TrainReport:
    (images, weights), (work, lock) = data, held
    workers = session.count_processes(method.device)
    readable = read_all(images, method.reader, held, session, workers)
    rows = _select_rows(images, readable, weights)
    rows.save(work.examples)
    networks = list_networks(options.all_seeds, weights is not None)
    job = FitJob(
        work,
        networks,
        method.reader.form,
        len(images),
        len(images.classes),
        method.device,
        None if options.probe else options.hyperparameters,
    )
    runs = fit_all(job, lock, session, workers)
    tested = np.zeros(len(images), dtype=bool)
    tested[rows.test] = True
    groups = _load_groups(options, images, tested)
    present = None if images.faces is None else images.faces[rows.test] > 0
    results = load_results(work, networks, rows, images.classes)
    transfer = measure(results, present, groups)
    if session.predictions is not None:
        save_predictions(session.predictions, images, rows, work, networks)
    facts = _describe(options, images, readable, rows, method)
    notes = _list_notes(options, transfer, facts)
    return TrainReport(transfer=transfer, facts=facts, runs=tuple(runs), notes=notes)


def _load_groups(options: TrainOptions, images: PairedImages, rows: Bools) -> Groups:
    return load_groups(options.groups, options.by, images.index, rows)


def _choose_method(options: TrainOptions) -> _Method:
    """Choose the device, and open the model that is probed, if any."""
    device = choose_device(options.device)
    libraries = {name: version(name) for name in _LIBRARIES}
    if options.probe is not None:
        from curate.impact.train.image_rows import open_reader
        from curate.impact.train.probe import describe_probe

        reader, model = open_reader(options.probe, device)
        facts = {"kind": "probe", "model": dict(model), "features": reader.form.shape[0]}
        return _Method(reader, device, {**facts, "probe": describe_probe(), "libraries": libraries})
    from curate.impact.train.network import choose_device_config, describe_network

    description = {
        "kind": "network",
        "network": describe_network(),
        **options.hyperparameters.describe(),
        **choose_device_config(device).describe(),
        "libraries": libraries,
    }
    return _Method(PixelReader(options.hyperparameters.stored), device, description)


def _digest_inputs(options: TrainOptions, images: PairedImages, method: _Method) -> str:
    """Digest of everything that can change a network."""
    inputs = {
        "curate": curate.__version__,
        "pairs": images.sha256,
        "method": method.description,
        "form": asdict(method.reader.form),
        "seeds": options.all_seeds,
        "weights": digest_file(options.weights) if options.weights else None,
    }
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _select_rows(images: PairedImages, readable: Bools, weights: Floats | None) -> TrainTestRows:
    uses = np.where(readable, images.split.uses, UNUSED)
    check_classes(images.classes, images.labels, uses)
    train, test = np.flatnonzero(uses == TRAIN), np.flatnonzero(uses == TEST)
    return TrainTestRows(
        train,
        images.labels[train],
        test,
        images.labels[test],
        None if weights is None else weights[train] / weights[train].mean(),
    )


def _describe(
    options: TrainOptions,
    images: PairedImages,
    readable: Bools,
    rows: TrainTestRows,
    method: _Method,
) -> dict[str, Any]:
    """What was trained and how; nothing about the host, the time or paths."""
    faces, split = images.faces, images.split
    return {
        "tool": describe_tool(),
        "seed": options.seed,
        "images": {
            "train": len(rows.train),
            "test": len(rows.test),
            "train_with_faces": None if faces is None else int((faces[rows.train] > 0).sum()),
            "test_with_faces": None if faces is None else int((faces[rows.test] > 0).sum()),
            "by_split": split.by_split,
            "holdout": split.holdout,
            "withheld": images.unpaired["withheld"],
            "unreadable": int((~readable & (split.uses != UNUSED)).sum()),
            "only_in_original": images.unpaired["original"],
            "only_in_obfuscated": images.unpaired["obfuscated"],
            **split.left_out,
        },
        "manifest": describe_run(images.datasets.run),
        "labels_sha256": digest_file(options.labels) if options.labels else None,
        **describe_table(options.groups),
        "weights": {"sha256": digest_file(options.weights), "used": _WEIGHTS}
        if options.weights
        else None,
        "training": dict(method.description),
    }


def _list_notes(
    options: TrainOptions, transfer: Transfer, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    notes = []
    if len(transfer.results.seeds) == 1:
        what = "probe" if options.probe else "network"
        notes.append(f"Intervals hold for other images only: there is one {what} per dataset.")
    if transfer.presence is None:
        notes.append("Nothing by faces: OBFUSCATED has no manifest.")
    if not transfer.groupings:
        why = "has no column with 2 to 12 values" if options.groups is not None else "was not given"
        notes.append(f"Nothing by group: a table of groups {why}.")
    if transfer.gaps["deployment"].top5 is None:
        notes.append("No top-5: there are fewer than 6 classes.")
    unreadable = facts["images"]["unreadable"]
    if unreadable:
        notes.append(f"{unreadable:,} images are left out because a file cannot be decoded.")
    if not facts["training"].get("deterministic", True):
        notes.append("On this device another run gives slightly different figures.")
    return tuple(notes)
