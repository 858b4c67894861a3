"""Predict a few images in every arm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.errors import DataError, WithheldError
from curate.core.protocols import Classifier, Pixels
from curate.impact.evaluate.control_arms import Making, make_control
from curate.impact.evaluate.controls import OBFUSCATED, ORIGINAL
from curate.impact.pairs import Datasets, Pair, check_digest
from curate.impact.prediction_store import Logits, Row
from curate.manifest.store import digest_bytes
from curate.pipeline.withhold import to_withheld

Rows = dict[str, list[Row]]
"""By arm, in the order of the pairs."""


@dataclass(frozen=True, slots=True)
class Predicting:
    """What is needed to predict images; opened once.

    Args:
        datasets: both datasets.
        read: reads the obfuscated image of a pair.
        classifier: the model.
        batch: images that the model is given at a time.
        options: limits of the codec.
        making: what makes control arms; None where there are none.
        leave_out: told of every image that cannot be shown to the model, and why.
    """

    datasets: Datasets
    read: Callable[[Pair], bytes]
    classifier: Classifier
    batch: int
    options: CodecOptions
    making: Making | None
    leave_out: Callable[[str, WithheldError], None]


@dataclass(frozen=True, slots=True)
class _View:
    """An image as one arm shows it; no pixels where they are the original's."""

    row: Row
    pixels: Pixels | None


def predict_shard(
    pairs: Sequence[Pair],
    arms: Sequence[str],
    known: Mapping[str, Logits] | None,
    predicting: Predicting,
    step: Callable[[int], None],
) -> Rows:
    """Predict some images in some arms.

    An arm's image that shows exactly what the original shows has its scores: no rounding
    may tell them apart. Images that cannot be decoded are in no arm.

    Args:
        pairs: the images.
        arms: which arms.
        known: scores of the originals by id, if ``arms`` is without them.
        predicting: the model and the datasets.
        step: called with the number of each image that is begun.

    Raises:
        DataError: if a file is not what the manifest says, or a score is no number.
        SetupError: if the environment lacks something.
    """
    rows: Rows = {arm: [] for arm in arms}
    queues = {arm: _Queue(predicting) for arm in arms}
    for number, pair in enumerate(pairs):
        step(number)
        if known is not None and pair.record.id not in known:
            continue  # it was left out when the original was predicted
        try:
            views = dict(_look(pair, arms, predicting))
        except Exception as error:  # an image that no decoder can show must not end the run
            predicting.leave_out(pair.record.id, to_withheld(error, pair.record.id))
            continue
        for arm, view in views.items():
            rows[arm].append(view.row)
            if view.pixels is not None:
                queues[arm].add(view.row, predicting.classifier.prepare(view.pixels))
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
    """Images of one arm that wait until there are enough of them for a batch."""

    predicting: Predicting
    rows: list[Row] = field(default_factory=list)
    prepared: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, row: Row, prepared: npt.NDArray[np.float32]) -> None:
        self.rows.append(row)
        self.prepared.append(prepared)
        if len(self.rows) == self.predicting.batch:
            self.flush()

    def flush(self) -> None:
        if not self.rows:
            return
        scores = self.predicting.classifier.predict(np.stack(self.prepared))
        for row, logits in zip(self.rows, scores, strict=True):
            if not np.isfinite(logits).all():
                what = "NaN" if np.isnan(logits).any() else "infinite"
                raise DataError(f"the model gives a score of {row.id!r} that is {what}")
            row.logits = logits
        self.rows, self.prepared = [], []


def _look(pair: Pair, arms: Sequence[str], predicting: Predicting) -> Iterator[tuple[str, _View]]:
    """An image in every arm."""
    out = predicting.datasets.obfuscated
    data = predicting.datasets.original.read(pair.record)
    digest = digest_bytes(data)
    check_digest("original", pair, digest, out)
    picture = codec.load(data, predicting.options)
    pixels = codec.upright_rgb(picture)
    for arm in arms:
        row = Row(pair.record.id, pair.label)
        if arm == ORIGINAL:
            row.sha256 = digest
            yield arm, _View(row, pixels)
            continue
        if arm == OBFUSCATED:
            shown = predicting.read(pair)
            row.sha256 = digest_bytes(shown)
            check_digest("obfuscated", pair, row.sha256, out)
        else:
            made = _make(arm, picture, pair, predicting, row)
            if made is None:
                yield arm, _View(row, None)
                continue
            shown = made
        seen = codec.upright_rgb(codec.load(shown, predicting.options))
        yield arm, _View(row, None if np.array_equal(seen, pixels) else seen)


def _make(arm: str, picture: Picture, pair: Pair, predicting: Predicting, row: Row) -> bytes | None:
    """An image of a control arm, with what there is to say of it; None if nothing changes."""
    assert pair.entry is not None  # noqa: S101 - there are no arms without a manifest
    assert predicting.making is not None  # noqa: S101 - the same
    control = make_control(arm, picture, pair.entry, predicting.making)
    row.route = control.route.value
    row.regions, row.overlapping = control.regions, control.overlapping
    row.hidden_share, row.faces_share = control.share, pair.entry.blurred_share
    row.sha256 = digest_bytes(control.data) if control.data is not None else None
    return control.data
