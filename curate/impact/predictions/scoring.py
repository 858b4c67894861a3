"""Reduce a file of predictions to what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from curate.core.errors import DataError, SetupError
from curate.impact.arms import Arm
from curate.impact.arrays import Floats, Ints, Scores
from curate.impact.class_names import number_classes
from curate.impact.prediction_files import Batch, Classes, iter_batches
from curate.impact.predictions.metrics import (
    Ranked,
    are_probabilities,
    average_precisions,
    log_softmax,
    rank_dense,
    rank_listed,
    spread,
)


@dataclass(frozen=True, slots=True)
class Form:
    """What all files of a comparison must have in common.

    Args:
        is_dense: whether every class has a score.
        depth: how many classes are ranked.
    """

    is_dense: bool
    depth: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file of predictions, reduced.

    Args:
        arm: what is kept, by place.
        labels: N, by place.
        has_probabilities: whether confidences are probabilities.
        form: how it lists its classes.
        sha256: N, of the predicted files, by place; None where none is said.
    """

    arm: Arm
    labels: Ints
    has_probabilities: bool
    form: Form
    sha256: Sequence[str | None] | None


def find_classes(path: Path, given: Classes | None) -> Classes:
    """The classes: those that are given, or as many as there are logits.

    Raises:
        DataError: if they are not known.
    """
    if given is not None:
        return given
    for batch in iter_batches(path):
        if batch.listed is None:
            return number_classes(batch.scores.shape[1])
        break
    raise DataError(
        f"{path} lists the best classes only; give all with --classes, or how many there are"
    )


def load_predictions(path: Path, places: Ints, pairs: int, classes: Classes, work: Path) -> Loaded:
    """Read a file of predictions and reduce it, a batch at a time.

    Args:
        path: the file.
        places: for every row its image's place, or -1 to leave it out.
        pairs: how many places there are.
        classes: what labels and lists are found in.
        work: a folder for what memory need not hold.

    Raises:
        DataError: if a prediction cannot be used.
        SetupError: if there is no room for the scores.
    """
    try:
        with TemporaryFile(dir=work) as file:
            reduced = _Reduced(path, pairs, ScoreBlocks(file, pairs, len(classes)))
            row = 0
            for batch in iter_batches(path):
                ahead = places[row : row + len(batch.ids)]
                row += len(batch.ids)
                if row <= len(places):
                    reduced.add(batch, ahead, classes)
            if row != len(places):
                raise DataError(f"{path} has {len(places):,} ids and {row:,} predictions")
            return reduced.finish(len(classes))
    except OSError as error:
        raise SetupError(
            f"the scores of all classes cannot be kept in {work}: {error.strerror}; "
            "make room there, or name another place with TMPDIR"
        ) from None


@dataclass(slots=True)
class _Reduced:
    """The part of a file that is reduced so far."""

    path: Path
    pairs: int
    blocks: ScoreBlocks
    form: Form | None = None
    has_probabilities: bool = True
    labels: Ints = field(init=False)
    ranked: Ranked = field(init=False)
    sha256: list[str | None] | None = None
    _in_order: list[Ints] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.pairs, dtype=np.int64)
        self.ranked = Ranked(
            np.zeros(self.pairs, dtype=np.int64),
            np.zeros(self.pairs, dtype=np.int64),
            np.zeros(self.pairs),
        )

    def add(self, batch: Batch, places: Ints, classes: Classes) -> None:
        """Reduce the next rows."""
        kept = places >= 0
        self._check_form(batch, classes)
        labels = classes.find(batch.labels, batch.ids, self.path)
        if batch.listed is None:
            scores = self._as_comparable(batch.scores)
            ranked = rank_dense(scores, labels)
            if not self.has_probabilities:  # then scores are logarithms
                ranked = ranked._replace(confidence=np.exp(ranked.confidence))
        else:
            listed = classes.find(batch.listed, batch.ids, self.path)
            self.has_probabilities &= are_probabilities(batch.scores, complete=False)
            ranked = rank_listed(listed, batch.scores, labels)
            scores = spread(listed, batch.scores, len(classes))
        self.blocks.write(scores[kept])
        self._in_order.append(labels[kept])
        self.labels[places[kept]] = labels[kept]
        for whole, part in zip(self.ranked, ranked, strict=True):
            whole[places[kept]] = part[kept]
        self._note_digests(batch, places)

    def finish(self, classes: int) -> Loaded:
        """Everything, once all rows are in."""
        assert self.form is not None  # noqa: S101 - a file without predictions was refused
        labels = np.concatenate(self._in_order)
        precision: Floats = average_precisions(self.blocks.iter_blocks(), labels, classes)
        arm = Arm(*self.ranked, precision)
        known = self.has_probabilities or self.form.is_dense
        return Loaded(arm, self.labels, known, self.form, self.sha256)

    def _check_form(self, batch: Batch, classes: Classes) -> None:
        form = Form(batch.listed is None, batch.scores.shape[1])
        if form.is_dense and form.depth != len(classes):
            raise DataError(
                f"{self.path} has scores of {form.depth:,} classes where there are "
                f"{len(classes):,}; is it of another model?"
            )
        if self.form is None:
            self.form = form
            self.has_probabilities = are_probabilities(batch.scores, form.is_dense)
        elif form != self.form:
            raise DataError(
                f"{self.path} has lists of {self.form.depth:,} and of {form.depth:,} classes"
            )

    def _as_comparable(self, scores: Scores) -> Scores:
        """Probabilities as they are, anything else as logarithms of what softmax makes of it."""
        if not self.has_probabilities:
            return log_softmax(scores)
        if not are_probabilities(scores, complete=True):
            raise DataError(f"{self.path} has probabilities as logits of some images, not of all")
        return scores

    def _note_digests(self, batch: Batch, places: Ints) -> None:
        if batch.sha256 is None:
            return
        if self.sha256 is None:
            self.sha256 = [None] * self.pairs
        for place, digest in zip(places, batch.sha256, strict=True):
            if place >= 0:
                self.sha256[place] = digest or None


_BLOCK = 2**26  # bytes of a block: what memory holds at once
_ITEM = 4


@dataclass(slots=True)
class ScoreBlocks:
    """A matrix that is written by rows and read by columns, which memory need not hold.

    Args:
        file: empty, open for reading and writing.
        images: rows.
        classes: columns.
    """

    file: BinaryIO
    images: int
    classes: int
    _written: int = 0

    def write(self, scores: Scores) -> None:
        """Write the next rows: n×C."""
        for first in range(0, self.classes, self._width):
            part = np.ascontiguousarray(scores[:, first : first + self._width])
            rows_before = self._written * part.shape[1]
            self.file.seek(_ITEM * (first * self.images + rows_before))
            self.file.write(part.tobytes())
        self._written += len(scores)

    def iter_blocks(self) -> Iterator[tuple[int, Scores]]:
        """A class's place, and the N×K scores of it and the next K - 1 classes."""
        for first in range(0, self.classes, self._width):
            width = min(self._width, self.classes - first)
            self.file.seek(_ITEM * first * self.images)
            data = self.file.read(_ITEM * width * self.images)
            yield first, np.frombuffer(data, dtype=np.float32).reshape(self.images, width)

    @property
    def _width(self) -> int:
        return max(1, min(self.classes, _BLOCK // (_ITEM * max(1, self.images))))
