"""Simulated predictions whose true effect is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.impact.experiment import Arm, Experiment, Hits, Model
from curate.impact.metrics import average_precisions, log_softmax, rank_dense


def draw_hits(
    random: np.random.Generator, n: int, lost: float, gained: float, right: float = 0.7
) -> Hits:
    """Images of one model: chances of being lost and gained are of all images."""
    kind = random.random(n)
    before = kind < right
    after = before.copy()
    after[kind < lost] = False
    after[(kind >= right) & (kind < right + gained)] = True
    return Hits(before[:, None], after[:, None])


def make_arm(logits: np.ndarray, labels: np.ndarray) -> Arm:
    scores = log_softmax(logits.astype(np.float32))
    ranked = rank_dense(scores, labels)
    precision = average_precisions([(0, scores)], labels, scores.shape[1])
    return Arm(
        ranked.predicted,
        ranked.rank,
        np.exp(ranked.confidence),
        precision,
        np.exp(ranked.likelihood),
    )


def make_experiment(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> Experiment:
    """From logits of each model, on original and on obfuscated images."""
    classes = pairs[0][0].shape[1]
    return Experiment(
        labels,
        tuple(str(place) for place in range(classes)),
        tuple(Model(make_arm(a, labels), make_arm(b, labels)) for a, b in pairs),
        classes,
    )


def draw_logits(
    random: np.random.Generator, labels: np.ndarray, classes: int, signal: float
) -> np.ndarray:
    logits = random.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += signal
    return logits
