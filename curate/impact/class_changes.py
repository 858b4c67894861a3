"""Changes per class: losses and gains of accuracy, distinguished from label swaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.p_values import benjamini_hochberg
from curate.impact.experiment import Arm, Experiment, Floats, Ints
from curate.impact.paired import Bootstrap, Change, compare, exact_p, mcnemar

RATE = 0.05
"""False discovery rate at which a class's accuracy counts as changed."""
FOLLOWS = 0.25
"""Share of accuracy's change by which average precision must change in the same direction."""
ONE_CLASS = 0.5
"""Share of the net lost (or gained) images that one other class must absorb (or give)."""
MIN_ABSORBING = 5
"""Test images that the other class needs for a label swap: average precision of the class falls
only if images of the other class are ranked above its own, so that with too few of them every
loss counts as a swap."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """The class that absorbed most of the images that a class lost, or gave those it gained.

    Args:
        index: the other class.
        share: its share of the net number of lost or gained images; may exceed 1.
        images: number of test images of the other class.
    """

    index: int
    share: float
    images: int


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Change of one class.

    Args:
        index: the class.
        top1: accuracy on its images.
        p: p-value of McNemar's exact test on its images.
        q: p-value adjusted for the number of classes.
        original: average precision on original images, mean over models.
        obfuscated: average precision on obfuscated images, mean over models.
        confusion: the class with the largest opposite change; None if accuracy is unchanged.
    """

    index: int
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
        """``none``, ``loss``, ``gain`` or ``swap``; see `classify_change`."""
        return classify_change(self.q, self.top1.difference, self.ap_difference, self.confusion)


def classify_change(
    q: float, accuracy: float, precision: float, confusion: Confusion | None
) -> str:
    """Return ``none``, ``loss``, ``gain`` or ``swap``.

    Accuracy changed if q is at most `RATE`. The change is a label swap if average precision did
    not follow (it changed in the same direction by less than a quarter of accuracy's change, or
    in the other direction) and a single other class with at least `MIN_ABSORBING` test images
    absorbed, or gave, at least half of the net number of images. The model then ranks images as
    well as before and only moved the boundary
    between two similar classes, such as Eskimo dog and husky in Yang et al., *A Study of Face
    Obfuscation in ImageNet* (ICML 2022). Any other change is a loss or a gain.

    Args:
        q: adjusted p-value of the test of accuracy.
        accuracy: change of accuracy.
        precision: change of average precision.
        confusion: the class with the largest opposite change, if accuracy changed at all.
    """
    if q > RATE or accuracy == 0:
        return "none"
    if (
        not precision_follows(accuracy, precision)
        and confusion is not None
        and confusion.share >= ONE_CLASS
        and confusion.images >= MIN_ABSORBING
    ):
        return "swap"
    return "loss" if accuracy < 0 else "gain"


def precision_follows(accuracy: float, precision: float) -> bool:
    """Return whether average precision changed with accuracy.

    Args:
        accuracy: change of accuracy, not 0.
        precision: change of average precision.
    """
    return precision / accuracy >= FOLLOWS


def compare_classes(experiment: Experiment, bootstrap: Bootstrap) -> list[ClassChange]:
    """Return the change of every class that has images, in index order."""
    hits, classes = experiment.hits(1), len(experiment.classes)
    rows = _rows_by_class(experiment.labels, classes)
    indices = [index for index in range(classes) if len(rows[index])]
    tests = [mcnemar(hits.select(rows[index])) for index in indices]
    p = exact_p([test.b for test in tests], [test.c for test in tests])
    before = _mean_precision([model.original for model in experiment.models])
    after = _mean_precision([model.obfuscated for model in experiment.models])
    return [
        ClassChange(
            index=index,
            top1=compare(hits.select(rows[index]), bootstrap, f"class {index}"),
            p=float(p[number]),
            q=float(q),
            original=float(before[index]),
            obfuscated=float(after[index]),
            confusion=find_confusion(experiment, index, rows[index]),
        )
        for number, (index, q) in enumerate(zip(indices, benjamini_hochberg(p), strict=True))
    ]


def _rows_by_class(labels: Ints, classes: int) -> list[Ints]:
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(1, classes))
    return np.split(order, ends)


def _mean_precision(arms: Sequence[Arm]) -> Floats:
    return np.asarray(np.mean([arm.precision for arm in arms], axis=0))


def find_confusion(experiment: Experiment, index: int, rows: Ints) -> Confusion | None:
    """Return the other class whose predictions on a class's images changed most the other way.

    Args:
        experiment: predictions before and after.
        index: the class.
        rows: its images.
    """
    classes = len(experiment.classes)
    flow = np.zeros(classes, dtype=np.int64)
    for model in experiment.models:
        flow += np.bincount(model.obfuscated.predicted[rows], minlength=classes)
        flow -= np.bincount(model.original.predicted[rows], minlength=classes)
    net = -int(flow[index])
    if net == 0:
        return None
    flow[index] = 0
    other = int(np.argmax(flow * np.sign(net)))
    images = int((experiment.labels == other).sum())
    return Confusion(other, float(flow[other] / net), images)
