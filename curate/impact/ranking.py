"""From scores to what is kept of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.impact.arrays import Floats, Ints, Scores

_TOLERANCE = 1e-3  # of a sum of half-precision probabilities


class Ranked(NamedTuple):
    """What is kept of some images' scores.

    Args:
        predicted: n, the best class.
        rank: n, the label's place, 0 for the best.
        confidence: n, the best class's probability or score.
    """

    predicted: Ints
    rank: Ints
    confidence: Floats


def are_probabilities(scores: Scores, complete: bool) -> bool:
    """Whether every row could be a distribution over classes.

    Args:
        scores: n×K.
        complete: whether all classes are in it, so that rows must add up to 1 and not
            only to 1 at most.
    """
    sums = scores.sum(axis=1, dtype=np.float64)
    adds_up = sums <= 1 + _TOLERANCE
    if complete:
        adds_up &= sums >= 1 - _TOLERANCE
    return bool(np.all(scores >= 0) and np.all(adds_up))


def log_softmax(logits: Scores) -> Scores:
    """Logarithms of probabilities: unlike logits, they compare between images.

    Probabilities themselves would be 0 for many classes in single precision, and tie.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def rank_dense(scores: Scores, labels: Ints) -> Ranked:
    """Rank all classes; of equal scores the earlier class is better, for label and best alike.

    Args:
        scores: n×C.
        labels: n.
    """
    rows = np.arange(len(labels))
    predicted = scores.argmax(axis=1)
    own = scores[rows, labels][:, None]
    above = (scores > own).sum(axis=1)
    before = ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None])).sum(axis=1)
    confidence = scores[rows, predicted].astype(np.float64)
    return Ranked(predicted.astype(np.int64), (above + before).astype(np.int64), confidence)


def rank_listed(classes: Ints, scores: Scores, labels: Ints) -> Ranked:
    """Rank classes that are listed best first; a label that is not among them is past them.

    Args:
        classes: n×K.
        scores: n×K, as listed.
        labels: n.
    """
    found = classes == labels[:, None]
    rank = np.where(found.any(axis=1), found.argmax(axis=1), classes.shape[1])
    return Ranked(classes[:, 0], rank.astype(np.int64), scores[:, 0].astype(np.float64))


def spread(classes: Ints, scores: Scores, total: int) -> Scores:
    """Listed scores in a matrix of all classes, minus infinity where nothing is listed."""
    full = np.full((len(classes), total), -np.inf, dtype=np.float32)
    np.put_along_axis(full, classes, scores, axis=1)
    return full
