"""A linear probe: multinomial logistic regression on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from curate.impact.arrays import Floats, Ints, Scores
from curate.impact.predictions.metrics import log_softmax

STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
"""Penalties that are tried, the strongest first: each fit begins where the last one ended."""
HELD_OUT = 0.2
"""The share of each class's training images by which the strength is chosen."""
MOST_STEPS = 300
_TOLERANCE = 1e-5
_ROWS = 4096  # looked at together, so that memory does not grow


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Some images' features.

    Args:
        values: of all images, P×D float32; may lie on disk.
        rows: N, which of them.
    """

    values: npt.NDArray[np.float32]
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, places: Ints) -> Features:
        """Some of these."""
        return Features(self.values, self.rows[places])

    def block(self, start: int) -> npt.NDArray[np.float64]:
        """The next features."""
        return self.values[self.rows[start : start + _ROWS]].astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A fitted probe.

    Args:
        weights: (D+1)×C, the last row the bias; of standardised features.
        mean: D, of the training images' features.
        scale: D, their standard deviation.
        strength: the penalty that was chosen.
        steps: of L-BFGS in the last fit.
        held_out: accuracy on the held-out part by strength.
    """

    weights: Floats
    mean: Floats
    scale: Floats
    strength: float
    steps: int
    held_out: tuple[float, ...]

    def predict(self, features: Features) -> Scores:
        """Logarithms of probabilities, N×C float32."""
        parts = []
        for start in range(0, len(features), _ROWS):
            scores = _extend((features.block(start) - self.mean) / self.scale) @ self.weights
            parts.append(log_softmax(scores.astype(np.float32)))
        return np.concatenate(parts)


def describe_probe() -> dict[str, Any]:
    """What the report says of the method."""
    return {
        "method": "multinomial logistic regression on standardised features, by L-BFGS",
        "penalty": "half the strength times the sum of squared weights, bias free",
        "strengths": list(STRENGTHS),
        "held_out": HELD_OUT,
        "most_steps": MOST_STEPS,
    }


def fit_probe(
    features: Features, labels: Ints, classes: int, seed: int, weights: Floats | None = None
) -> Probe:
    """Fit a probe; its strength is the best on a held-out part, and then all images count.

    Args:
        features: of N training images.
        labels: N, their classes.
        classes: how many there are.
        seed: of the held-out part.
        weights: N, how much each image counts, 1 in the mean; None for all alike.
    """
    counts = np.ones(len(labels)) if weights is None else weights
    mean, scale = _standardise(features)
    kept, held = hold_out(labels, HELD_OUT, seed)
    fitted = np.zeros((features.values.shape[1] + 1, classes))
    losses, shares = [], []
    for strength in STRENGTHS:
        part = _Task(features.of(kept), labels[kept], counts[kept], mean, scale, strength)
        fitted, _ = _fit(part, fitted)
        scores = Probe(fitted, mean, scale, strength, 0, ()).predict(features.of(held))
        own = scores[np.arange(len(held)), labels[held]]
        losses.append(-float(np.average(own, weights=counts[held] + 1e-12)))
        shares.append(float((scores.argmax(axis=1) == labels[held]).mean()))
    best = STRENGTHS[int(np.argmin(losses))]
    whole = _Task(features, labels, counts, mean, scale, best)
    fitted, steps = _fit(whole, np.zeros_like(fitted))
    return Probe(fitted, mean, scale, best, steps, tuple(shares))


def hold_out(labels: Ints, share: float, seed: int) -> tuple[Ints, Ints]:
    """Places that stay and places that are held out, the share of each class and one at least.

    A class of one image stays whole.
    """
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        held[own[: min(len(own) - 1, max(1, round(share * len(own))))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """What is minimised: the weighted mean of cross entropies, and the penalty."""

    features: Features
    labels: Ints
    counts: Floats
    mean: Floats
    scale: Floats
    strength: float

    def value(self, flat: Floats, classes: int) -> tuple[float, Floats]:
        """The objective and its gradient."""
        weights = torch.from_numpy(flat.reshape(-1, classes))
        total, slope = 0.0, torch.zeros_like(weights)
        for start in range(0, len(self.features), _ROWS):
            block = _extend((self.features.block(start) - self.mean) / self.scale)
            x, some = torch.from_numpy(block), slice(start, start + _ROWS)
            loss, part = _cross_entropy(
                x, weights, torch.from_numpy(self.labels[some]), torch.from_numpy(self.counts[some])
            )
            total, slope = total + loss, slope + part
        n = float(self.counts.sum())
        penalised = weights.clone()
        penalised[-1] = 0
        loss = total / n + self.strength / 2 * float((penalised**2).sum())
        return loss, (slope / n + self.strength * penalised).numpy().ravel()


def _cross_entropy(
    x: Tensor, weights: Tensor, labels: Tensor, counts: Tensor
) -> tuple[float, Tensor]:
    logs = torch.log_softmax(x @ weights, dim=1)
    rows = torch.arange(len(labels))
    loss = -float((counts * logs[rows, labels]).sum())
    slope = logs.exp()
    slope[rows, labels] -= 1
    return loss, x.T @ (slope * counts[:, None])


def _fit(task: _Task, start: Floats) -> tuple[Floats, int]:
    found = minimize(
        task.value,
        start.ravel(),
        args=(start.shape[1],),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MOST_STEPS, "gtol": _TOLERANCE, "ftol": 0.0},
    )
    return np.asarray(found.x).reshape(start.shape), int(found.nit)


def _standardise(features: Features) -> tuple[Floats, Floats]:
    """Means and standard deviations; a feature that does not vary keeps its size."""
    total = np.zeros(features.values.shape[1])
    squares = np.zeros_like(total)
    for start in range(0, len(features), _ROWS):
        total += features.block(start).sum(axis=0)
    mean = total / len(features)
    for start in range(0, len(features), _ROWS):
        squares += ((features.block(start) - mean) ** 2).sum(axis=0)
    scale = np.sqrt(squares / len(features))
    return mean, np.where(scale > 1e-12, scale, 1.0)


def _extend(values: Floats) -> Floats:
    """A column of ones for the bias."""
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)
