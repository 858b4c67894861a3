"""Predictions on one shard of images in every arm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.errors import DataError, WithheldError
from curate.core.protocols import Classifier, Pixels
from curate.engine.local import Report
from curate.engine.shards import Shard
from curate.impact.evaluate.control_arms import Obfuscation, make_control
from curate.impact.models import open_model
from curate.impact.pairs import Pair, PairedDatasets, PairReader
from curate.impact.prediction_store import Row
from curate.impact.predictions.control_arms import OBFUSCATED, ORIGINAL
from curate.layouts import open_source
from curate.manifest.store import digest_bytes
from curate.pipeline.tools import codec_options, load_recipe, open_obfuscator
from curate.pipeline.withhold import to_withheld

Rows = dict[str, list[Row]]
"""By arm, in the order of the pairs."""


@dataclass(frozen=True, slots=True)
class PredictShard(Shard):
    """Pairs of images to predict.

    Args:
        pairs: the images; ``records`` are their originals.
        labels: the class of each.
        arms: names of the arms.
    """

    pairs: tuple[Pair, ...] = ()
    labels: tuple[int, ...] = ()
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions of a shard.

    Args:
        rows: by arm; without scores where the pixels are those of an original that is not among
            the arms.
        left_out: images that cannot be decoded: id, code of the reason, and detail.
    """

    rows: Rows
    left_out: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Predictor:
    """Everything that is needed to predict images; opened once per process.

    Args:
        reader: reads the files of pairs.
        classifier: the model.
        batch: images per batch.
        options: limits of the codec.
        obfuscation: generates control arms; None without a manifest.
    """

    reader: PairReader
    classifier: Classifier
    batch: int
    options: CodecOptions
    obfuscation: Obfuscation | None


@dataclass(frozen=True, slots=True)
class PredictJob:
    """Predicts shards; small, and picklable.

    Args:
        original: path or URI of the original dataset.
        layout: the layout of both datasets.
        out: the obfuscated dataset.
        manifest: its manifest folder, or None.
        run: content of its ``run.json``, or None.
        model: specification of the classifier.
        device: ``cpu`` or ``cuda``.
        batch: images per batch.
        follow_links: whether symbolic links that point outside a dataset are followed, in the
            original and in the obfuscated one.
    """

    original: str
    layout: str
    out: Path
    manifest: Path | None
    run: Mapping[str, Any] | None
    model: str
    device: str
    batch: int
    follow_links: tuple[bool, bool] = (False, False)

    def open(self) -> Callable[[Shard, Report], Predicted]:
        """Load the model and open both datasets; return the function that predicts a shard."""
        plain = None
        if self.manifest is None:
            plain = open_source(str(self.out), self.layout, "OBFUSCATED", self.follow_links[1])
        original = open_source(self.original, self.layout, "ORIGINAL", self.follow_links[0])
        datasets = PairedDatasets(original, self.out, plain, self.manifest, self.run)
        classifier = open_model(self.model, self.device)
        return make_work(open_predictor(datasets, classifier, self.batch))


def open_predictor(datasets: PairedDatasets, classifier: Classifier, batch: int) -> Predictor:
    """Return what predicts the images of two datasets."""
    obfuscation = None
    if datasets.run is not None:
        recipe = load_recipe(datasets.run)
        obfuscation = Obfuscation(open_obfuscator(recipe), codec_options(recipe), recipe.digest)
    options = obfuscation.options if obfuscation else CodecOptions()
    return Predictor(datasets.open_reader(), classifier, batch, options, obfuscation)


def make_work(predictor: Predictor) -> Callable[[Shard, Report], Predicted]:
    """Return the function that predicts a shard."""

    def work(shard: Shard, report: Report) -> Predicted:
        assert isinstance(shard, PredictShard)  # noqa: S101 - no other is given to it
        return predict_shard(shard, predictor, lambda index: report(index, None))

    return work


@dataclass(frozen=True, slots=True)
class _Version:
    """An image in one arm; no pixels where they equal the original's."""

    row: Row
    pixels: Pixels | None


def predict_shard(
    shard: PredictShard, predictor: Predictor, step: Callable[[int], None]
) -> Predicted:
    """Predict some images in some arms.

    An image of an arm that has the original's pixels gets the original's scores, so that
    rounding cannot make them differ. Images that cannot be decoded are left out of every arm.

    Args:
        shard: the images and the arms.
        predictor: model and datasets.
        step: called with the index of each image before it is read.

    Raises:
        DataError: if a file differs from the manifest, or a score is not finite.
        SetupError: if the environment lacks something.
    """
    rows: Rows = {arm: [] for arm in shard.arms}
    queues = {arm: _Queue(predictor) for arm in shard.arms}
    left_out = []
    for index, (pair, label) in enumerate(zip(shard.pairs, shard.labels, strict=True)):
        step(index)
        try:
            if reason := shard.withhold.get(pair.id):
                raise WithheldError("worker", reason.partition(": ")[2])
            versions = dict(_load(pair, label, shard.arms, predictor))
        except Exception as error:  # an image that cannot be decoded must not end the run
            why = to_withheld(error, pair.id)
            left_out.append((pair.id, why.code, why.detail))
            continue
        for arm, version in versions.items():
            rows[arm].append(version.row)
            if version.pixels is not None:
                queues[arm].add(version.row, predictor.classifier.prepare(version.pixels))
    for queue in queues.values():
        queue.flush()
    originals = {row.id: row.logits for row in rows.get(ORIGINAL, ())}
    for row in (row for found in rows.values() for row in found if row.logits is None):
        row.logits = originals.get(row.id)
    return Predicted(rows, tuple(left_out))


@dataclass(slots=True)
class _Queue:
    """Images of one arm that wait for a full batch."""

    predictor: Predictor
    rows: list[Row] = field(default_factory=list)
    prepared: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, row: Row, prepared: npt.NDArray[np.float32]) -> None:
        self.rows.append(row)
        self.prepared.append(prepared)
        if len(self.rows) == self.predictor.batch:
            self.flush()

    def flush(self) -> None:
        if not self.rows:
            return
        scores = self.predictor.classifier.predict(np.stack(self.prepared))
        for row, logits in zip(self.rows, scores, strict=True):
            if not np.isfinite(logits).all():
                what = "NaN" if np.isnan(logits).any() else "infinite"
                raise DataError(f"the model returns a score for {row.id!r} that is {what}")
            row.logits = logits
        self.rows, self.prepared = [], []


def _load(
    pair: Pair, label: int, arms: Sequence[str], predictor: Predictor
) -> Iterator[tuple[str, _Version]]:
    """An image in every arm."""
    data, digest = predictor.reader.read_original(pair)
    picture = codec.load(data, predictor.options)
    pixels = codec.upright_rgb(picture)
    for arm in arms:
        row = Row(pair.id, label)
        if arm == ORIGINAL:
            row.sha256 = digest
            yield arm, _Version(row, pixels)
            continue
        if arm == OBFUSCATED:
            shown, row.sha256 = predictor.reader.read_obfuscated(pair)
        else:
            made = _make(arm, picture, pair, predictor, row)
            if made is None:
                yield arm, _Version(row, None)
                continue
            shown = made
        other = codec.upright_rgb(codec.load(shown, predictor.options))
        yield arm, _Version(row, None if np.array_equal(other, pixels) else other)


def _make(arm: str, picture: Picture, pair: Pair, predictor: Predictor, row: Row) -> bytes | None:
    """Encode an image of a control arm and record its columns; None if nothing changes."""
    assert pair.entry is not None  # noqa: S101 - control arms need a manifest
    assert predictor.obfuscation is not None  # noqa: S101 - the same
    control = make_control(arm, picture, pair.entry, predictor.obfuscation)
    row.route = control.route.value
    row.regions, row.overlapping = control.regions, control.overlapping
    row.hidden_share, row.faces_share = control.share, pair.entry.blurred_share
    row.sha256 = digest_bytes(control.data) if control.data is not None else None
    return control.data
