"""What happens to each class, with losses told apart from label swaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.arms import Arm, Experiment
from curate.impact.arrays import Floats, Ints
from curate.impact.predictions.paired import Change, compare, control, exact_p, mcnemar
from curate.impact.resample import Bootstrap

RATE = 0.05
"""The false discovery rate at which a class's accuracy counts as moved."""
FOLLOWS = 0.25
"""Average precision follows where it moves, the same way, by this share of accuracy's move."""
ONE_CLASS = 0.5
"""Confusion moves to one class where that class takes this share of what is moved."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Where a class's images went, or came from.

    Args:
        place: the other class.
        share: of the net number of images that the class lost or gained, how many are
            now called the other class, or were before; may exceed 1.
    """

    place: int
    share: float


@dataclass(frozen=True, slots=True)
class ClassChange:
    """What happens to one class.

    Args:
        place: which class.
        top1: accuracy on its images.
        p: of McNemar's exact test over its images.
        q: the same, controlled for the number of classes.
        original: average precision on original images, mean over models.
        obfuscated: average precision on obfuscated images, mean over models.
        confusion: the class that takes or gives most, if accuracy moved at all.
    """

    place: int
    top1: Change
    p: float
    q: float
    original: float
    obfuscated: float
    confusion: Confusion | None

    @property
    def ap_difference(self) -> float:
        """Average precision, obfuscated minus original."""
        return self.obfuscated - self.original

    @property
    def kind(self) -> str:
        """``none``, ``loss``, ``gain`` or ``swap``; see `judge_kind`."""
        return judge_kind(self.q, self.top1.difference, self.ap_difference, self.confusion)


def judge_kind(q: float, moved: float, precision: float, confusion: Confusion | None) -> str:
    """``none``, ``loss``, ``gain`` or ``swap``.

    Accuracy moved if q is at most 0.05. It is a swap if three things hold: accuracy
    moved; average precision did not follow, which is that it moved the same way by
    less than a quarter of accuracy's move, or the other way; and the confusion moved
    to one class, which is that a single other class took at least half of the net
    number of images lost, or gave at least half of those gained. The model then
    ranks images as well as before and only draws the line between two look-alike
    classes elsewhere, such as the Eskimo dog and the husky of Yang et al., *A Study
    of Face Obfuscation in ImageNet* (ICML 2022). Any other move is a loss or a gain.

    Args:
        q: of the test of accuracy, controlled for the number of classes.
        moved: by how much accuracy moved.
        precision: by how much average precision did.
        confusion: the class that takes or gives most, if accuracy moved at all.
    """
    if q > RATE or moved == 0:
        return "none"
    followed = precision_follows(moved, precision)
    if not followed and confusion is not None and confusion.share >= ONE_CLASS:
        return "swap"
    return "loss" if moved < 0 else "gain"


def precision_follows(accuracy: float, precision: float) -> bool:
    """Whether a move of average precision is part of a move of accuracy.

    Args:
        accuracy: by how much accuracy moved; not 0.
        precision: by how much average precision did.
    """
    return precision / accuracy >= FOLLOWS


def compare_classes(experiment: Experiment, bootstrap: Bootstrap) -> list[ClassChange]:
    """Every class that has images, in order."""
    hits, classes = experiment.hits(1), len(experiment.classes)
    rows = _rows_by_class(experiment.labels, classes)
    places = [place for place in range(classes) if len(rows[place])]
    tests = [mcnemar(hits.of(rows[place])) for place in places]
    p = exact_p([test.b for test in tests], [test.c for test in tests])
    before = _mean_precision([model.original for model in experiment.models])
    after = _mean_precision([model.obfuscated for model in experiment.models])
    return [
        ClassChange(
            place=place,
            top1=compare(hits.of(rows[place]), bootstrap, f"class {place}"),
            p=float(p[number]),
            q=float(q),
            original=float(before[place]),
            obfuscated=float(after[place]),
            confusion=find_confusion(experiment, place, rows[place]),
        )
        for number, (place, q) in enumerate(zip(places, control(p), strict=True))
    ]


def _rows_by_class(labels: Ints, classes: int) -> list[Ints]:
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(1, classes))
    return np.split(order, ends)


def _mean_precision(arms: Sequence[Arm]) -> Floats:
    return np.asarray(np.mean([arm.precision for arm in arms], axis=0))


def find_confusion(experiment: Experiment, place: int, rows: Ints) -> Confusion | None:
    """The other class whose predictions among a class's images moved the opposite way most.

    Args:
        experiment: the predictions before and after.
        place: the class.
        rows: its images.
    """
    classes = len(experiment.classes)
    flow = np.zeros(classes, dtype=np.int64)
    for model in experiment.models:
        flow += np.bincount(model.obfuscated.predicted[rows], minlength=classes)
        flow -= np.bincount(model.original.predicted[rows], minlength=classes)
    moved = -int(flow[place])
    if moved == 0:
        return None
    flow[place] = 0
    other = int(np.argmax(flow * np.sign(moved)))
    return Confusion(other, float(flow[other] / moved))
