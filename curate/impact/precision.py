"""Average precision of each class over all images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from curate.impact.arrays import Floats, Ints, Scores


def average_precision(scores: Scores, positives: Ints) -> float:
    """Area under the precision-recall curve as a sum over steps; NaN without positives.

    Images with equal scores come in together, so their order does not matter: a class
    whose score says nothing gets the share of its images.

    Args:
        scores: N, the class's score of each image; may be minus infinity.
        positives: which images are of the class.
    """
    if not len(positives):
        return float("nan")
    found = np.sort(scores[positives])
    # For each image, how many positives are at most as high: these are what it comes before.
    places = np.searchsorted(found, scores, side="right")
    passed = np.cumsum(np.bincount(places, minlength=len(found) + 1)[::-1])[::-1]
    first = np.searchsorted(found, found, side="left")
    # passed[i] counts the images at least as high as positive number i - 1.
    return float(np.mean((len(found) - first) / passed[first + 1]))


def average_precisions(blocks: Iterable[tuple[int, Scores]], labels: Ints, classes: int) -> Floats:
    """Average precision by class; NaN of a class without images.

    Args:
        blocks: a class's place and the N×K scores of it and the next K - 1 classes.
        labels: N, each image's class.
        classes: how many there are.
    """
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(classes + 1))
    found = np.full(classes, np.nan)
    for first, scores in blocks:
        for column in range(scores.shape[1]):
            place = first + column
            positives = order[ends[place] : ends[place + 1]]
            if len(positives):
                column_scores = np.ascontiguousarray(scores[:, column])
                found[place] = average_precision(column_scores, positives)
    return found
