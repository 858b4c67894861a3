"""Train on original and on obfuscated images, and test each network on both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

import curate
from curate.core.errors import DataError
from curate.detectors.device import choose_device
from curate.impact.arrays import Bools
from curate.impact.recorded_faces import describe_another
from curate.impact.train.answers import make_trial
from curate.impact.train.fitting import FitJob, fit_all
from curate.impact.train.measure import Transfer, measure
from curate.impact.train.pairs import Pairs, open_pairs
from curate.impact.train.plan import (
    NEITHER,
    TEST,
    TRAIN,
    Lessons,
    Request,
    Running,
    check_classes,
    list_arms,
    save_lessons,
)
from curate.impact.train.predictions import save_predictions
from curate.impact.train.reading import PixelReader, Reader, read_all
from curate.impact.train.report import VERSION, to_dict
from curate.impact.train.tables import Groups, load_groups, load_weights
from curate.impact.train.work import Work, hold_work
from curate.manifest.store import digest_file

_LIBRARIES = ("numpy", "scipy", "opencv-python", "torch")
_WEIGHTS = "each image's loss is multiplied by its weight, 1 in the mean of the training images"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured.

    Args:
        transfer: the figures.
        facts: what was trained and how, for the report.
        runs: what is told of every network: its learning curve, or how its probe was fitted.
        notes: what could not be measured, and why, a line each.
    """

    transfer: Transfer
    facts: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {
            "version": VERSION,
            **self.facts,
            **to_dict(self.transfer),
            "runs": [dict(run) for run in self.runs],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Method:
    """How images become rows and rows become networks."""

    reader: Reader
    device: str
    described: Mapping[str, Any]


def train(request: Request, running: Running | None = None) -> Answer:
    """Train the networks that are asked for, and measure them.

    Run again with the same request after an interruption, it goes on where it stopped.

    Args:
        request: what to train.
        running: how to go about it.

    Raises:
        UsageError: if the request contradicts itself or the datasets.
        DataError: if a dataset or a table cannot be used, or they do not fit each other.
        SetupError: if the environment lacks something, disk space included.
        PausedError: if the run was stopped as asked.
    """
    running = running or Running()
    method = _choose(request)
    with open_pairs(request) as pairs:
        wanted = pairs.parts.places == TRAIN
        weights = load_weights(request.weights, pairs, wanted) if request.weights else None
        rows = np.flatnonzero(pairs.parts.places == TEST)
        # What is quick to find wrong is said before anything is trained.
        if request.groups is not None:
            load_groups(request.groups, request.by, pairs, rows)
        digest = _digest(request, pairs, method)
        with hold_work(running.work, digest) as (work, lock):
            return _run(request, running, method, (pairs, weights), (work, lock))


def _run(
    request: Request,
    running: Running,
    method: _Method,
    data: tuple[Pairs, np.typing.NDArray[np.float64] | None],
    place: tuple[Work, int],
) -> Answer:
    (pairs, weights), (work, lock) = data, place
    workers = running.processes(method.device)
    readable = read_all(
        pairs, method.reader, work, lock, running, workers, _make_check(request, pairs)
    )
    lessons = _plan_lessons(pairs, readable, weights)
    save_lessons(lessons, work.examples)
    arms = list_arms(request.all_seeds, weights is not None)
    job = FitJob(
        work,
        arms,
        method.reader.form,
        len(pairs),
        len(pairs.classes),
        method.device,
        None if request.probe else request.how,
    )
    runs = fit_all(job, lock, running, workers)
    groups: Groups = {}
    if request.groups is not None:
        groups = load_groups(request.groups, request.by, pairs, lessons.test)
    present = None if pairs.faces is None else pairs.faces[lessons.test] > 0
    transfer = measure(make_trial(work, arms, lessons, pairs.classes), present, groups)
    if running.predictions is not None:
        save_predictions(running.predictions, pairs, lessons, work, arms)
    facts = _describe(request, pairs, readable, lessons, method)
    return Answer(transfer, facts, tuple(runs), _note(request, transfer, facts))


def _choose(request: Request) -> _Method:
    """Choose the device, and open the model that is probed, if any."""
    device = choose_device(request.device)
    libraries = {name: version(name) for name in _LIBRARIES}
    if request.probe is not None:
        from curate.impact.train.features import open_reader
        from curate.impact.train.probe import describe_probe

        reader, model = open_reader(request.probe, device)
        said = {"kind": "probe", "model": dict(model), "features": reader.form.shape[0]}
        return _Method(reader, device, {**said, "probe": describe_probe(), "libraries": libraries})
    from curate.impact.train.network import describe_network, machine_for

    described = {
        "kind": "network",
        "network": describe_network(),
        **request.how.describe(),
        **machine_for(device).describe(),
        "libraries": libraries,
    }
    return _Method(PixelReader(request.how.stored), device, described)


def _digest(request: Request, pairs: Pairs, method: _Method) -> str:
    """Of everything that can change what a network says."""
    said = {
        "curate": curate.__version__,
        "pairs": pairs.sha256,
        "method": method.described,
        "form": asdict(method.reader.form),
        "seeds": request.all_seeds,
        "weights": digest_file(request.weights) if request.weights else None,
    }
    text = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _make_check(
    request: Request, pairs: Pairs
) -> Callable[[int, list[tuple[str | None, str | None]]], None]:
    """What holds the files that were read against the manifest."""

    def check(first: int, digests: list[tuple[str | None, str | None]]) -> None:
        if pairs.run is None:
            return
        recorded = pairs.pairing.iter_recorded(first, first + len(digests))
        for entry, said in zip(recorded, digests, strict=True):
            for name, digest, known in (
                ("original", said[0], entry.source),
                ("obfuscated", said[1], entry.output),
            ):
                if digest is not None and digest != known:
                    raise DataError(
                        f"{describe_another(request.obfuscated)}: the {name} file of "
                        f"{entry.id!r} has another SHA-256"
                    )

    return check


def _plan_lessons(
    pairs: Pairs, readable: Bools, weights: np.typing.NDArray[np.float64] | None
) -> Lessons:
    places = np.where(readable, pairs.parts.places, NEITHER)
    check_classes(pairs.classes, pairs.labels, places)
    rows, test = np.flatnonzero(places == TRAIN), np.flatnonzero(places == TEST)
    return Lessons(
        rows,
        pairs.labels[rows],
        test,
        pairs.labels[test],
        None if weights is None else weights[rows] / weights[rows].mean(),
    )


def _describe(
    request: Request, pairs: Pairs, readable: Bools, lessons: Lessons, method: _Method
) -> dict[str, Any]:
    """What was trained and how; nothing about the host, the time or paths."""
    faces, run = pairs.faces, pairs.run
    return {
        "tool": {"name": "curate-dataset", "version": curate.__version__},
        "seed": request.seed,
        "images": {
            "train": len(lessons.train),
            "test": len(lessons.test),
            "train_with_faces": None if faces is None else int((faces[lessons.train] > 0).sum()),
            "test_with_faces": None if faces is None else int((faces[lessons.test] > 0).sum()),
            "by_split": pairs.parts.by_split,
            "holdout": pairs.parts.holdout,
            "withheld": pairs.unpaired["withheld"],
            "unreadable": int((~readable & (pairs.parts.places != NEITHER)).sum()),
            "only_in_original": pairs.unpaired["original"],
            "only_in_obfuscated": pairs.unpaired["obfuscated"],
            **pairs.parts.left_out,
        },
        "manifest": run
        and {
            "records_sha256": run["records"]["sha256"],
            "recipe_sha256": run["recipe_sha256"],
            "obfuscator": run["obfuscator"]["name"],
        },
        "labels_sha256": digest_file(request.labels) if request.labels else None,
        "groups_sha256": digest_file(request.groups) if request.groups else None,
        "weights": {"sha256": digest_file(request.weights), "used": _WEIGHTS}
        if request.weights
        else None,
        "training": dict(method.described),
    }


def _note(request: Request, transfer: Transfer, facts: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if len(transfer.trial.seeds) == 1:
        what = "probe" if request.probe else "network"
        notes.append(f"Intervals hold for other images only: there is one {what} for each dataset.")
    if transfer.presence is None:
        notes.append("Nothing by faces: OBFUSCATED has no manifest.")
    if not transfer.groupings:
        why = "has no column of 2 to 12 values" if request.groups else "was not given"
        notes.append(f"Nothing by group: a table of groups {why}.")
    if transfer.gaps["deployment"].top5 is None:
        notes.append("No top-5: there are fewer than 6 classes.")
    unreadable = facts["images"]["unreadable"]
    if unreadable:
        notes.append(f"{unreadable:,} images cannot be read in one of both datasets, left out.")
    if not facts["training"].get("deterministic", True):
        notes.append("On this device another run gives figures that differ a little.")
    return tuple(notes)
