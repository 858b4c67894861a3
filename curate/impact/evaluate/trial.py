"""What `curate impact evaluate` measures, and everything it needs, opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.codec import CodecOptions
from curate.core.errors import UsageError, WithheldError
from curate.detectors import resolve_device
from curate.impact.evaluate.control_arms import Making
from curate.impact.evaluate.controls import CONTROLS
from curate.impact.evaluate.model import choose_model, describe_model, find_model_classes
from curate.impact.evaluate.shard import Predicting
from curate.impact.models import open_model
from curate.impact.pairs import Datasets, Labels, open_datasets
from curate.impact.prediction_files import Classes
from curate.layouts.groups import load_columns
from curate.manifest.files import MANIFEST
from curate.manifest.store import RUN
from curate.pipeline.session import Session
from curate.pipeline.tools import codec_options, open_obfuscator
from curate.recipe import Recipe

_BATCH = {"cpu": 8, "cuda": 64}
"""Images at a time: more than a few do not stay in a processor's cache, and take twice as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What to measure, and with which model.

    Args:
        original: the dataset as it was: a path or an address.
        obfuscated: the OUT of `curate blur`, or a plain dataset of the same layout.
        model: specification of a classifier (see `curate.impact.models.open_model`), or
            None for ImageNet's where the dataset's categories are its WordNet ids.
        classes: a file of class names, how many there are, or ``imagenet``; None for the
            model's own names.
        labels: a table with the columns ``id`` and ``label``; None for the dataset's own
            categories.
        arms: control arms to run; None for all where there is a manifest.
        groups: a table of groups by image, or None.
        by: attributes of that table to group by; by default those of few values.
        allow_missing: whether images that only one dataset has are left out.
        device: ``auto``, ``cpu`` or ``cuda``.
        batch: images that the model is given at a time; None for what suits the device.
        seed: of the bootstrap.
        folder: where predictions are written, and found again by a run that goes on; None
            for a temporary folder.
        keep: whether they stay there when all is done.

    Raises:
        UsageError: if a value is out of range.
    """

    original: str
    obfuscated: Path
    model: str | None = None
    classes: str | None = None
    labels: Path | None = None
    arms: tuple[str, ...] | None = None
    groups: Path | None = None
    by: tuple[str, ...] = ()
    allow_missing: bool = False
    device: str = "auto"
    batch: int | None = None
    seed: int = 0
    folder: Path | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        if self.batch is not None and not 1 <= self.batch <= 65_536:
            raise UsageError(f"a batch of {self.batch} images cannot be; give 1 to 65536")
        for arm in self.arms or ():
            if arm not in CONTROLS:
                raise UsageError(
                    f"there is no control arm {arm!r}; choose from {', '.join(CONTROLS)}, or none"
                )


@dataclass(frozen=True, slots=True)
class OpenedTrial:
    """A trial whose datasets and model are open.

    Args:
        datasets: both of them.
        labels: finds the class of an image.
        classes: in the order of the model's scores.
        predicting: the model, and what reads and makes the images.
        arms: the control arms to run.
        model: what the report says of the model.
        left_out: images that could not be shown to the model, by reason.
    """

    datasets: Datasets
    labels: Labels
    classes: Classes
    predicting: Predicting
    arms: tuple[str, ...]
    model: Mapping[str, Any]
    left_out: Counter[str]


def open_trial(trial: Trial, session: Session) -> OpenedTrial:
    """Open both datasets and the model, and see that they fit each other.

    Args:
        trial: what is asked for.
        session: layout of the original, and whom to tell what is noticed.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if a dataset or a table cannot be used.
        SetupError: if the environment lacks something.
    """
    device = resolve_device(trial.device)
    _check_groups(trial)
    datasets = open_datasets(trial.original, trial.obfuscated, session.layout)
    arms = _choose_arms(trial, datasets)
    if datasets.run is None and (trial.obfuscated.parent / MANIFEST / RUN).is_file():
        session.tell(
            f"{trial.obfuscated} lies beside a manifest; name {trial.obfuscated.parent} instead "
            "and it is used."
        )
    for line in datasets.original.check():
        session.tell(line)
    spec = choose_model(trial.model, datasets.original, trial.labels is not None)
    classifier = open_model(spec, device)
    classes = find_model_classes(trial.classes, classifier)
    making = _open_making(datasets, session) if datasets.run is not None else None
    batch = trial.batch or _BATCH[device]
    left_out: Counter[str] = Counter()

    def leave_out(name: str, why: WithheldError) -> None:
        left_out[why.code] += 1
        session.tell(f"{name!r} is left out: {why.detail}")

    predicting = Predicting(
        datasets=datasets,
        read=datasets.open_obfuscated(),
        classifier=classifier,
        batch=batch,
        options=making.options if making else CodecOptions(),
        making=making,
        leave_out=leave_out,
    )
    labels = Labels(classes.names, trial.labels)
    model = describe_model(classifier, classes, batch)
    return OpenedTrial(datasets, labels, classes, predicting, arms, model, left_out)


def _check_groups(trial: Trial) -> None:
    """Say what is wrong with the table of groups before the model has worked for hours."""
    if trial.groups is None:
        if trial.by:
            raise UsageError("--by needs the table of groups: name it with --groups")
        return
    columns = [name for name in load_columns(trial.groups) if name != "id"]
    for name in trial.by:
        if name not in columns:
            raise UsageError(f"{trial.groups} has no {name!r}; it has: {', '.join(columns)}")


def _choose_arms(trial: Trial, datasets: Datasets) -> tuple[str, ...]:
    if datasets.run is not None:
        return CONTROLS if trial.arms is None else trial.arms
    if trial.arms:
        raise UsageError(
            f"control arms need a manifest, and {trial.obfuscated} has none; "
            "give the OUT of curate blur, or --arms none"
        )
    return ()


def _open_making(datasets: Datasets, session: Session) -> Making:
    assert datasets.run is not None  # noqa: S101 - its only caller has seen to it
    recipe = Recipe.from_dict(datasets.run["recipe"])
    obfuscator, recorded = open_obfuscator(recipe), datasets.run["obfuscator"]
    if obfuscator.version != recorded["version"]:
        session.tell(
            f"The manifest's method {recorded['name']} has version {recorded['version']}, here it "
            f"has {obfuscator.version}: random regions are hidden by the latter."
        )
    return Making(obfuscator, codec_options(recipe), recipe.digest)
