"""Loading of a prediction file: reduced to ranks, confidences and average precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from curate.core.errors import DataError, SetupError
from curate.impact.class_names import Classes, number_classes
from curate.impact.experiment import Arm, Ints, Scores
from curate.impact.metrics import (
    Ranked,
    are_probabilities,
    average_precisions,
    log_softmax,
    rank_dense,
    rank_listed,
    spread,
)
from curate.impact.prediction_files import Batch, iter_batches

_BLOCK_BYTES = 2**26  # of scores in memory at once
_ITEM = 4  # bytes of a float32


@dataclass(frozen=True, slots=True)
class Form:
    """Form of the predictions, which all files of a comparison must share.

    Args:
        is_dense: whether every class has a score.
        depth: number of ranked classes.
    """

    is_dense: bool
    depth: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A prediction file, reduced.

    Args:
        arm: predictions by position.
        labels: true classes by position, shape (N,).
        has_probabilities: whether confidences are probabilities.
        form: form of the predictions.
        sha256: digests of the image files by position; None if the file has none.
    """

    arm: Arm
    labels: Ints
    has_probabilities: bool
    form: Form
    sha256: Sequence[str | None] | None


def find_classes(path: Path, given: Classes | None) -> Classes:
    """Return the given classes, or one for each logit.

    Raises:
        DataError: if their number is unknown.
    """
    if given is not None:
        return given
    for batch in iter_batches(path):
        if batch.listed is None:
            return number_classes(batch.scores.shape[1])
        break
    raise DataError(
        f"{path} lists only the best classes; give the names or number of all with --classes"
    )


def load_predictions(
    path: Path,
    positions: Ints,
    pairs: int,
    classes: Classes,
    work: Path,
    watch: Callable[[int], None] = lambda _: None,
) -> Loaded:
    """Read and reduce a prediction file, one batch at a time.

    Args:
        path: the file.
        positions: position of the image of every row, -1 to leave it out.
        pairs: number of positions.
        classes: the classes.
        work: a folder for temporary files.
        watch: called with the number of rows read so far.

    Raises:
        DataError: if a prediction is invalid.
        SetupError: if the temporary files cannot be written.
    """
    try:
        with TemporaryFile(dir=work) as file:
            reduced = _Reduced(path, pairs, ScoreBlocks(file, pairs, len(classes)))
            row = 0
            for batch in iter_batches(path):
                some = positions[row : row + len(batch.ids)]
                row += len(batch.ids)
                if row <= len(positions):
                    reduced.add(batch, some, classes)
                watch(row)
            if row != len(positions):
                raise DataError(f"{path} has {len(positions):,} ids and {row:,} predictions")
            return reduced.finish(len(classes))
    except OSError as error:
        raise SetupError(
            f"cannot write the scores of all classes to {work}: {error.strerror}; "
            "free disk space or set TMPDIR to a larger disk"
        ) from None


@dataclass(slots=True)
class _Reduced:
    """The part of a file that has been read."""

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
            np.zeros(self.pairs),
        )

    def add(self, batch: Batch, positions: Ints, classes: Classes) -> None:
        """Reduce the next rows."""
        kept = positions >= 0
        self._check_form(batch, classes)
        labels = classes.find(batch.labels, batch.ids, self.path)
        if batch.listed is None:
            scores = self._to_comparable(batch.scores)
            ranked = rank_dense(scores, labels)
            if not self.has_probabilities:  # then scores are log-probabilities
                ranked = ranked._replace(
                    confidence=np.exp(ranked.confidence), likelihood=np.exp(ranked.likelihood)
                )
        else:
            listed = classes.find(batch.listed, batch.ids, self.path)
            self.has_probabilities &= are_probabilities(batch.scores, complete=False)
            ranked = rank_listed(listed, batch.scores, labels)
            scores = spread(listed, batch.scores, len(classes))
        self.blocks.write(scores[kept])
        self._in_order.append(labels[kept])
        self.labels[positions[kept]] = labels[kept]
        for whole, part in zip(self.ranked, ranked, strict=True):
            whole[positions[kept]] = part[kept]
        self._keep_digests(batch, positions)

    def finish(self, classes: int) -> Loaded:
        """Return the whole file after the last row."""
        assert self.form is not None  # noqa: S101 - empty files are refused
        labels = np.concatenate(self._in_order)
        precision = average_precisions(self.blocks.iter_blocks(), labels, classes)
        known = self.has_probabilities or self.form.is_dense
        predicted, rank, confidence, likelihood = self.ranked
        arm = Arm(predicted, rank, confidence, precision, likelihood)
        return Loaded(arm, self.labels, known, self.form, self.sha256)

    def _check_form(self, batch: Batch, classes: Classes) -> None:
        form = Form(batch.listed is None, batch.scores.shape[1])
        if form.is_dense and form.depth != len(classes):
            raise DataError(
                f"{self.path} has scores for {form.depth:,} classes where there are "
                f"{len(classes):,}; is it of another model?"
            )
        if self.form is None:
            self.form = form
            self.has_probabilities = are_probabilities(batch.scores, form.is_dense)
        elif form != self.form:
            raise DataError(
                f"{self.path} has lists of {self.form.depth:,} and of {form.depth:,} classes"
            )

    def _to_comparable(self, scores: Scores) -> Scores:
        """Probabilities as they are, logits as log-probabilities."""
        if not self.has_probabilities:
            return log_softmax(scores)
        if not are_probabilities(scores, complete=True):
            raise DataError(f"{self.path} has probabilities as logits of some images, not of all")
        return scores

    def _keep_digests(self, batch: Batch, positions: Ints) -> None:
        if batch.sha256 is None:
            return
        if self.sha256 is None:
            self.sha256 = [None] * self.pairs
        for position, digest in zip(positions, batch.sha256, strict=True):
            if position >= 0:
                self.sha256[position] = digest or None


@dataclass(slots=True)
class ScoreBlocks:
    """A matrix on disk that is written by rows and read by columns.

    Args:
        file: empty, open for reading and writing.
        images: number of rows.
        classes: number of columns.
    """

    file: BinaryIO
    images: int
    classes: int
    _written: int = 0

    def write(self, scores: Scores) -> None:
        """Write the next rows, shape (n, C)."""
        for first in range(0, self.classes, self._width):
            part = np.ascontiguousarray(scores[:, first : first + self._width])
            rows_before = self._written * part.shape[1]
            self.file.seek(_ITEM * (first * self.images + rows_before))
            self.file.write(part.tobytes())
        self._written += len(scores)

    def iter_blocks(self) -> Iterator[tuple[int, Scores]]:
        """Iterate over class indices with the scores, shape (N, K), of the next K classes."""
        for first in range(0, self.classes, self._width):
            width = min(self._width, self.classes - first)
            self.file.seek(_ITEM * first * self.images)
            data = self.file.read(_ITEM * width * self.images)
            yield first, np.frombuffer(data, dtype=np.float32).reshape(self.images, width)

    @property
    def _width(self) -> int:
        return max(1, min(self.classes, _BLOCK_BYTES // (_ITEM * max(1, self.images))))
