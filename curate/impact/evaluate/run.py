"""Run a classifier on a dataset and on its obfuscated form, and measure what that costs."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from curate.core.errors import LockedError, PausedError
from curate.impact.evaluate.control_arms import count_placement, count_routes
from curate.impact.evaluate.controls import CONTROLS, OBFUSCATED, ORIGINAL
from curate.impact.evaluate.shard import predict_shard
from curate.impact.evaluate.trial import OpenedTrial, Trial, open_trial
from curate.impact.pairs import Pair, Survey, iter_pairs, survey
from curate.impact.prediction_store import LOCK, PredictionStore
from curate.impact.predictions.run import NO_MANIFEST, Answer, Predictions, measure_predictions
from curate.pipeline.session import Session, Snapshot
from curate.recipe import format_json
from curate.storage.errors import describe_os_error
from curate.storage.lock import FolderLock

SHARD = 256
"""Images whose predictions are written at a time; the same for all runs, so that they agree."""


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
    opened = open_trial(trial, session)
    fits = survey(opened.datasets, opened.labels, trial.allow_missing)
    with _work(trial) as folder:
        store = PredictionStore(folder)
        store.begin(_subject(opened, fits))
        _predict(opened, store, fits, session)
        answer = _measure(trial, opened, store, fits)
    if trial.folder is not None and not trial.keep:
        shutil.rmtree(trial.folder)
    return answer


@contextmanager
def _work(trial: Trial) -> Iterator[Path]:
    """The folder of predictions, for this run alone."""
    if trial.folder is None:
        with TemporaryDirectory(prefix="curate-impact-") as folder, _described(Path(folder)):
            yield Path(folder)
        return
    try:
        with _described(trial.folder), FolderLock(trial.folder / LOCK / "lock"):
            try:
                yield trial.folder
            finally:
                shutil.rmtree(trial.folder / LOCK, ignore_errors=True)
    except LockedError:
        raise LockedError(
            f"another run is writing {str(trial.folder)!r}; wait for it, or give another folder"
        ) from None


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line."""
    try:
        yield
    except OSError as error:
        raise describe_os_error(error, folder, "written") from None


def _subject(opened: OpenedTrial, fits: Survey) -> dict[str, Any]:
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


def _predict(opened: OpenedTrial, store: PredictionStore, fits: Survey, session: Session) -> None:
    """Predict every shard of every arm that is not there yet."""
    arms = (ORIGINAL, OBFUSCATED, *opened.arms)
    is_plain = opened.datasets.run is None
    done = resumed = faces = 0
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

            before = Snapshot(fits.pairs, done, resumed, None if is_plain else faces)

            def step(place: int, before: Snapshot = before) -> None:
                withheld = opened.left_out.total()
                session.watch(replace(before, images=before.images + place, withheld=withheld))

            rows = predict_shard(pairs, missing, known, opened.predicting, step)
            for arm in missing:
                store.save(arm, number, rows[arm])
        done += len(pairs)
        faces += sum(len(pair.entry.faces) for pair in pairs if pair.entry is not None)
    last = Snapshot(fits.pairs, done, resumed, None if is_plain else faces)
    session.watch(replace(last, withheld=opened.left_out.total()))


def _in_shards(pairs: Iterable[Pair]) -> Iterator[Sequence[Pair]]:
    stream = iter(pairs)
    while shard := tuple(islice(stream, SHARD)):
        yield shard


def _measure(trial: Trial, opened: OpenedTrial, store: PredictionStore, fits: Survey) -> Answer:
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
        controls = replace(controls, routes=count_routes(store), placement=count_placement(store))
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


def _notes(answer: Answer, opened: OpenedTrial, undecoded: int) -> Iterator[str]:
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
        yield f"Images left out because they could not be decoded: {undecoded:,}."
