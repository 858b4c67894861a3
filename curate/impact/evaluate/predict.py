"""Predictions on one shard of images in every arm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.errors import DataError, WithheldError
from curate.core.protocols import Classifier, Pixels
from curate.impact.evaluate.control_arms import Obfuscation, make_control
from curate.impact.pairs import Labels, Pair, PairReader
from curate.impact.prediction_store import Logits, Row
from curate.impact.predictions.control_arms import OBFUSCATED, ORIGINAL
from curate.manifest.store import digest_bytes
from curate.pipeline.withhold import to_withheld

Rows = dict[str, list[Row]]
"""By arm, in the order of the pairs."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """Everything that is needed to predict images; opened once.

    Args:
        reader: reads the files of pairs.
        labels: finds the class of an image.
        classifier: the model.
        batch: images per batch.
        options: limits of the codec.
        obfuscation: generates control arms; None without a manifest.
        leave_out: called with every image that cannot be decoded, and the reason.
    """

    reader: PairReader
    labels: Labels
    classifier: Classifier
    batch: int
    options: CodecOptions
    obfuscation: Obfuscation | None
    leave_out: Callable[[str, WithheldError], None]


@dataclass(frozen=True, slots=True)
class _Version:
    """An image in one arm; no pixels where they equal the original's."""

    row: Row
    pixels: Pixels | None


def predict_shard(
    pairs: Sequence[Pair],
    arms: Sequence[str],
    known: Mapping[str, Logits] | None,
    predictor: Predictor,
    step: Callable[[int], None],
) -> Rows:
    """Predict some images in some arms.

    An image of an arm that has the original's pixels gets the original's scores, so that
    rounding cannot make them differ. Images that cannot be decoded are left out of every arm.

    Args:
        pairs: the images.
        arms: names of the arms.
        known: scores of the originals by id, if ``arms`` does not include them.
        predictor: model and datasets.
        step: called with the number of each image before it is read.

    Raises:
        DataError: if a file differs from the manifest, or a score is not finite.
        SetupError: if the environment lacks something.
    """
    rows: Rows = {arm: [] for arm in arms}
    queues = {arm: _Queue(predictor) for arm in arms}
    for number, pair in enumerate(pairs):
        step(number)
        if known is not None and pair.id not in known:
            continue  # left out when the original was predicted
        label = predictor.labels.find(pair.record)
        try:
            versions = dict(_load(pair, label, arms, predictor))
        except Exception as error:  # an image that cannot be decoded must not end the run
            predictor.leave_out(pair.id, to_withheld(error, pair.id))
            continue
        for arm, version in versions.items():
            rows[arm].append(version.row)
            if version.pixels is not None:
                queues[arm].add(version.row, predictor.classifier.prepare(version.pixels))
    for queue in queues.values():
        queue.flush()
    originals: Mapping[str, Logits | None] = known or {
        row.id: row.logits for row in rows.get(ORIGINAL, ())
    }
    for row in (row for found in rows.values() for row in found):
        if row.logits is None:
            row.logits = originals[row.id]
    return rows


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
