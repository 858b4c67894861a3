"""Run a classifier on a dataset and on its obfuscated form, and measure what that costs."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate.core.errors import LockedError, PausedError, UsageError, WithheldError
from curate.detectors import resolve_device
from curate.engine.lock import FolderLock
from curate.formats.codec import CodecOptions
from curate.formats.groups import load_columns
from curate.formats.predictions import Classes
from curate.impact.controls import (
    CONTROLS,
    OBFUSCATED,
    ORIGINAL,
    RANDOM_REGION,
    REENCODED,
    Placement,
)
from curate.impact.models import open_model
from curate.pipeline.control_arms import Making
from curate.pipeline.impact import NO_MANIFEST, Answer, Predictions, measure_predictions
from curate.pipeline.impact_model import choose_model, describe_model, find_model_classes
from curate.pipeline.impact_pairs import (
    Datasets,
    Labels,
    Pair,
    Survey,
    iter_pairs,
    open_datasets,
    survey,
)
from curate.pipeline.impact_shard import Predicting, predict_shard
from curate.pipeline.os_errors import describe_os_error
from curate.pipeline.prediction_store import LOCK, PredictionStore
from curate.pipeline.session import Session, Snapshot
from curate.pipeline.tools import codec_options, open_obfuscator
from curate.recipe import Recipe, format_json

SHARD = 256
"""Images whose predictions are written at a time; the same for all runs, so that they agree."""


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
        batch: images that the model is given at a time.
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
    batch: int = 32
    seed: int = 0
    folder: Path | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 65_536:
            raise UsageError(f"a batch of {self.batch} images cannot be; give 1 to 65536")
        for arm in self.arms or ():
            if arm not in CONTROLS:
                raise UsageError(
                    f"there is no control arm {arm!r}; choose from {', '.join(CONTROLS)}, or none"
                )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A trial whose datasets and model are open."""

    datasets: Datasets
    labels: Labels
    classes: Classes
    predicting: Predicting
    arms: tuple[str, ...]
    model: Mapping[str, Any]
    left_out: Counter[str]


def evaluate_impact(trial: Trial, session: Session | None = None) -> Answer:
    """Run a classifier on both datasets and on the control arms, and measure the difference.

    Args:
        trial: what to measure.
        session: layout of the original, and whom to tell how far it is.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if a dataset cannot be used, or they do not fit each other or the model.
        SetupError: if the environment lacks something.
        PausedError: if the session was asked to stop.
    """
    session = session or Session()
    opened = _open(trial, session)
    fits = survey(opened.datasets, opened.labels, trial.allow_missing)
    with _work(trial) as folder:
        store = PredictionStore(folder)
        store.begin(_subject(opened, fits))
        _predict(opened, store, fits, session)
        answer = _measure(trial, opened, store, fits)
    if trial.folder is not None and not trial.keep:
        shutil.rmtree(trial.folder)
    return answer


def _open(trial: Trial, session: Session) -> _Opened:
    device = resolve_device(trial.device)
    _check_groups(trial)
    datasets = open_datasets(trial.original, trial.obfuscated, session.layout)
    arms = _choose_arms(trial, datasets)
    for line in datasets.original.check():
        session.tell(line)
    spec = choose_model(trial.model, datasets.original, trial.labels is not None)
    classifier = open_model(spec, device)
    classes = find_model_classes(trial.classes, classifier)
    making = _open_making(datasets, session) if datasets.run is not None else None
    left_out: Counter[str] = Counter()

    def leave_out(name: str, why: WithheldError) -> None:
        left_out[why.code] += 1
        session.tell(f"{name!r} is left out: {why.detail}")

    predicting = Predicting(
        datasets=datasets,
        read=datasets.open_obfuscated(),
        classifier=classifier,
        batch=trial.batch,
        options=making.options if making else CodecOptions(),
        making=making,
        leave_out=leave_out,
    )
    labels = Labels(classes.names, trial.labels)
    model = describe_model(classifier, classes, trial.batch)
    return _Opened(datasets, labels, classes, predicting, arms, model, left_out)


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


@contextmanager
def _work(trial: Trial) -> Iterator[Path]:
    """The folder of predictions, for this run alone."""
    if trial.folder is None:
        with TemporaryDirectory(prefix="curate-impact-") as folder:
            yield Path(folder)
        return
    try:
        with FolderLock(trial.folder / LOCK / "lock"):
            yield trial.folder
        shutil.rmtree(trial.folder / LOCK)
    except LockedError:
        raise LockedError(
            f"another run is writing {str(trial.folder)!r}; wait for it, or give another folder"
        ) from None
    except OSError as error:
        raise describe_os_error(error, trial.folder, "written") from None


def _subject(opened: _Opened, fits: Survey) -> dict[str, Any]:
    """What predictions depend on; those of anything else are not these."""
    run = opened.datasets.run
    names = format_json(list(opened.classes.names)).encode()
    return {
        "model": opened.model,
        "classes_sha256": hashlib.sha256(names).hexdigest(),
        "images_sha256": fits.sha256,
        "manifest_sha256": run["records"]["sha256"] if run else None,
        "recipe_sha256": run["recipe_sha256"] if run else None,
        "shard": SHARD,
    }


def _predict(opened: _Opened, store: PredictionStore, fits: Survey, session: Session) -> None:
    """Predict every shard of every arm that is not there yet."""
    arms = (ORIGINAL, OBFUSCATED, *opened.arms)
    done = resumed = 0
    for number, pairs in enumerate(_in_shards(iter_pairs(opened.datasets, opened.labels))):
        missing = [arm for arm in arms if not store.has(arm, number)]
        if not missing:
            resumed += len(pairs)
        elif session.stop.is_set():
            raise PausedError(
                f"stopped after {done:,} of {fits.pairs:,} images; "
                "run the same command again to go on"
            )
        else:
            known = None if ORIGINAL in missing else store.load_logits(ORIGINAL, number)

            def step(place: int, before: int = done, ahead: int = resumed) -> None:
                withheld = opened.left_out.total()
                session.watch(Snapshot(fits.pairs, before + place, ahead, withheld=withheld))

            rows = predict_shard(pairs, missing, known, opened.predicting, step)
            for arm in missing:
                store.save(arm, number, rows[arm])
        done += len(pairs)
    session.watch(Snapshot(fits.pairs, done, resumed, withheld=opened.left_out.total()))


def _in_shards(pairs: Iterable[Pair]) -> Iterator[Sequence[Pair]]:
    stream = iter(pairs)
    while shard := tuple(islice(stream, SHARD)):
        yield shard


def _measure(trial: Trial, opened: _Opened, store: PredictionStore, fits: Survey) -> Answer:
    """What `curate impact predictions` measures, and the control arms."""
    manifest = trial.obfuscated if opened.datasets.run is not None else None
    answer = measure_predictions(
        Predictions(
            pairs=((store.arm(ORIGINAL), store.arm(OBFUSCATED)),),
            classes=opened.classes,
            manifest=manifest,
            groups=trial.groups,
            by=trial.by,
            allow_missing=True,  # what is missing here could not be decoded
            seed=trial.seed,
            controls={arm: store.arm(arm) for arm in opened.arms},
        )
    )
    controls = answer.controls
    if controls is not None:
        controls = replace(
            controls, routes=_count_routes(store, opened), placement=_find_placement(store, opened)
        )
    undecoded = fits.pairs - len(answer.impact.experiment)
    facts = {
        **answer.facts,
        "unpaired": {
            "original": fits.original,
            "obfuscated": fits.obfuscated,
            "withheld": fits.withheld,
        },
        "model": {**opened.model, "undecoded": undecoded},
    }
    notes = tuple(_notes(answer, opened, undecoded))
    return replace(answer, facts=facts, notes=notes, controls=controls)


def _notes(answer: Answer, opened: _Opened, undecoded: int) -> Iterator[str]:
    """What could not be measured, and why."""
    for note in answer.notes:
        if note == NO_MANIFEST:
            yield (
                "Nothing by blurred share or number of faces, and no control arms: the obfuscated "
                "dataset has no manifest."
            )
        else:
            yield note
    if opened.datasets.run is not None:
        missing = [arm for arm in CONTROLS if arm not in opened.arms]
        if missing:
            yield f"Control arms that were not run: {', '.join(missing)}."
    if undecoded:
        yield f"{undecoded:,} images could not be decoded and are left out."


def _count_routes(store: PredictionStore, opened: _Opened) -> Counter[str]:
    """How the images of the arm ``reencoded`` travelled."""
    if REENCODED not in opened.arms:
        return Counter()
    return Counter(row["route"] for row in store.iter_facts(REENCODED, ["route"]))


def _find_placement(store: PredictionStore, opened: _Opened) -> Placement | None:
    """Where the regions of the arm ``random-region`` came to lie."""
    if RANDOM_REGION not in opened.arms:
        return None
    names = ["regions", "overlapping", "hidden_share", "faces_share"]
    images = regions = overlapping = crowded = 0
    share = faces_share = 0.0
    for row in store.iter_facts(RANDOM_REGION, names):
        if row["regions"]:
            images += 1
            regions += row["regions"]
            overlapping += row["overlapping"]
            crowded += row["overlapping"] > 0
            share += row["hidden_share"]
            faces_share += row["faces_share"]
    if not images:
        return Placement(0, 0, 0, 0, 0.0, 0.0)
    return Placement(images, regions, overlapping, crowded, faces_share / images, share / images)
