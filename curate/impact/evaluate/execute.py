"""Predict the shards of a dataset in every arm, on any engine, and store them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from curate.core.errors import PausedError
from curate.core.protocols import Classifier
from curate.engine.local import Progress
from curate.impact.class_names import Classes
from curate.impact.evaluate.predict import (
    Predicted,
    PredictJob,
    PredictShard,
    make_work,
    open_predictor,
)
from curate.impact.pairs import Pair, PairedDatasets
from curate.impact.prediction_store import PredictionStore
from curate.impact.predictions.control_arms import OBFUSCATED, ORIGINAL
from curate.impact.survey import Labels, Survey
from curate.manifest.store import RUN
from curate.pipeline.environment import run_job
from curate.pipeline.session import Session, Snapshot

SHARD = 128
"""Images per shard of predictions; fixed, so that interrupted runs can be resumed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Open datasets and model.

    Args:
        datasets: both datasets.
        classes: in the order of the model's scores.
        classifier: the model, loaded.
        spec: its specification.
        device: ``cpu`` or ``cuda``.
        batch: images per batch.
        labels: finds the class of an image.
        arms: control arms to run.
        workers: worker processes of the local engine.
        model: the model's entry in the report.
        left_out: images that could not be decoded, by reason.
    """

    datasets: PairedDatasets
    classes: Classes
    classifier: Classifier
    spec: str
    device: str
    batch: int
    labels: Labels
    arms: tuple[str, ...]
    workers: int
    model: Mapping[str, Any]
    left_out: Counter[str] = field(default_factory=Counter)


class Prediction:
    """Predicts every shard of every arm that is not stored yet, on the session's engine.

    Args:
        opened: datasets and model.
        store: the predictions.
        fit: the paired images.
        session: engine, callbacks and stop event.
        is_kept: whether the store outlives an interruption.
    """

    def __init__(
        self, opened: Opened, store: PredictionStore, fit: Survey, session: Session, is_kept: bool
    ) -> None:
        self._opened, self._store, self._session = opened, store, session
        self._is_kept = is_kept
        self._arms = (ORIGINAL, OBFUSCATED, *opened.arms)
        faces = None if opened.datasets.run is None else 0
        stored = self._count_stored(fit.pairs)
        self._state = Snapshot(fit.pairs, images=stored, resumed=stored, faces=faces)
        self._tasks: dict[int, tuple[Sequence[Pair], tuple[str, ...]]] = {}
        self._in_work: dict[int, int] = {}

    def run(self) -> None:
        """Predict; raises as `evaluate_impact` does."""
        session, shards = self._session, self._supply()
        session.watch(self._state)
        first = next(shards, None)
        if first is not None:
            for number, predicted in self._start(chain([first], shards)):
                self._in_work.pop(number, None)
                self._save(number, predicted)
                self._watch()
        if self._state.images < self._state.total:
            raise PausedError(
                f"stopped after {self._state.images:,} of {self._state.total:,} images; "
                + (
                    "run the same command again to resume"
                    if self._is_kept
                    else "nothing was kept: with --predictions FOLDER an interrupted run resumes"
                )
            )
        session.watch(self._state)

    def _supply(self) -> Iterator[PredictShard]:
        opened, store = self._opened, self._store
        for number, pairs in enumerate(_iter_shards(opened.datasets.iter_pairs())):
            missing = tuple(arm for arm in self._arms if not store.has(arm, number))
            if not missing:
                self._count_faces(pairs)
                continue
            self._tasks[number] = (pairs, missing)
            chosen = tuple(pairs)
            if ORIGINAL not in missing:  # others were left out when the original was predicted
                known = store.load_logits(ORIGINAL, number)
                chosen = tuple(pair for pair in pairs if pair.id in known)
            yield PredictShard(
                number,
                tuple(pair.record for pair in chosen),
                pairs=chosen,
                labels=tuple(opened.labels.find(pair.record) for pair in chosen),
                arms=missing,
            )

    def _start(self, shards: Iterable[PredictShard]) -> Iterator[tuple[int, Predicted]]:
        """Run the job; one local worker is this process, which has loaded the model."""
        opened, session = self._opened, self._session
        workers = min(opened.workers, -(-self._state.total // SHARD))
        if session.engine == "local" and workers == 1:
            work = make_work(open_predictor(opened.datasets, opened.classifier, opened.batch))
            with _one_thread():
                for shard in shards:
                    if session.stop.is_set():
                        return
                    number = shard.number
                    yield number, work(shard, lambda index, _, n=number: self._step(n, index))  # type: ignore[misc]
            return
        datasets = opened.datasets
        job = PredictJob(
            datasets.original.uri, datasets.original.layout, datasets.out.resolve(),
            None if datasets.manifest is None else datasets.manifest.resolve(),
            datasets.run, opened.spec, opened.device, opened.batch,
            (datasets.original.follow_links, bool(datasets.plain and datasets.plain.follow_links)),
        )  # fmt: skip
        proof = None if datasets.manifest is None else datasets.manifest.resolve() / RUN
        gpus = float(opened.device == "cuda")
        for event in run_job(job, shards, session, proof, workers, gpus=gpus):
            if isinstance(event, Progress):
                self._step(event.shard, event.index)
            else:
                yield event.shard, event.result

    def _step(self, number: int, index: int) -> None:
        self._in_work[number] = index
        self._watch()

    def _watch(self) -> None:
        images = self._state.images + sum(self._in_work.values())
        self._session.watch(replace(self._state, images=images))

    def _save(self, number: int, predicted: Predicted) -> None:
        pairs, missing = self._tasks.pop(number)
        for name, code, detail in predicted.left_out:
            self._opened.left_out[code] += 1
            self._session.notify(f"{name!r} is left out: {detail}")
        if ORIGINAL not in missing:
            known = self._store.load_logits(ORIGINAL, number)
            for row in (row for rows in predicted.rows.values() for row in rows):
                row.logits = known[row.id] if row.logits is None else row.logits
        for arm in missing:
            self._store.save(arm, number, predicted.rows[arm])
        self._count_faces(pairs)
        images = self._state.images + len(pairs)
        self._state = replace(self._state, images=images, withheld=self._opened.left_out.total())

    def _count_faces(self, pairs: Sequence[Pair]) -> None:
        if self._state.faces is not None:
            faces = sum(len(pair.entry.faces) for pair in pairs if pair.entry is not None)
            self._state = replace(self._state, faces=self._state.faces + faces)

    def _count_stored(self, pairs: int) -> int:
        """The images whose predictions an earlier run has stored."""
        return sum(
            min(SHARD, pairs - start)
            for number, start in enumerate(range(0, pairs, SHARD))
            if all(self._store.has(arm, number) for arm in self._arms)
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Predict on one thread, as worker processes do: sums keep their order on any machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _iter_shards(pairs: Iterable[Pair]) -> Iterator[Sequence[Pair]]:
    stream = iter(pairs)
    while shard := tuple(islice(stream, SHARD)):
        yield shard
