"""A linear probe: multinomial logistic regression on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from curate.impact.experiment import Floats, Ints, Scores
from curate.impact.metrics import log_softmax

STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
"""Penalties to try, strongest first; each fit starts from the previous one."""
HELD_OUT = 0.2
"""Share of each class's training images that is held out to select the strength."""
MAX_STEPS = 300
_TOLERANCE = 1e-5
_ROWS = 4096  # at a time, which bounds the memory


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of some images.

    Args:
        values: of all images, shape (P, D), float32; may be a memory map.
        rows: indices of the images, shape (N,).
    """

    values: npt.NDArray[np.float32]
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, rows: Ints) -> Features:
        """Return some of them."""
        return Features(self.values, self.rows[rows])

    def block(self, start: int) -> npt.NDArray[np.float64]:
        """Return the features from ``start`` on, at most a fixed number of rows."""
        return self.values[self.rows[start : start + _ROWS]].astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A fitted probe.

    Args:
        weights: of standardized features, shape (D + 1, C), the last row the bias.
        mean: of the training images' features, shape (D,).
        scale: their standard deviation, shape (D,).
        strength: the selected penalty.
        steps: L-BFGS iterations of the last fit.
        held_out: accuracy on held-out images by strength.
    """

    weights: Floats
    mean: Floats
    scale: Floats
    strength: float
    steps: int
    held_out: tuple[float, ...]

    def predict(self, features: Features) -> Scores:
        """Return log-probabilities, shape (N, C), float32."""
        parts = []
        for start in range(0, len(features), _ROWS):
            scores = _extend((features.block(start) - self.mean) / self.scale) @ self.weights
            parts.append(log_softmax(scores.astype(np.float32)))
        return np.concatenate(parts)


def describe_probe() -> dict[str, Any]:
    """Return the entry in the report."""
    return {
        "method": "multinomial logistic regression on standardized features, by L-BFGS",
        "penalty": "half the strength times the sum of squared weights, bias free",
        "strengths": list(STRENGTHS),
        "held_out": HELD_OUT,
        "most_steps": MAX_STEPS,
    }


def fit_probe(
    features: Features, labels: Ints, classes: int, seed: int, weights: Floats | None = None
) -> Probe:
    """Select the strength on held-out images, then fit a probe on all images.

    Args:
        features: of N training images.
        labels: their classes, shape (N,).
        classes: number of classes.
        seed: random seed of the hold-out.
        weights: of the images, shape (N,), with mean 1; None for equal weights.
    """
    counts = np.ones(len(labels)) if weights is None else weights
    mean, scale = _standardize(features)
    kept, held = hold_out(labels, HELD_OUT, seed)
    fitted = np.zeros((features.values.shape[1] + 1, classes))
    losses, shares = [], []
    for strength in STRENGTHS:
        part = _Task(features.select(kept), labels[kept], counts[kept], mean, scale, strength)
        fitted, _ = _fit(part, fitted)
        scores = Probe(fitted, mean, scale, strength, 0, ()).predict(features.select(held))
        own = scores[np.arange(len(held)), labels[held]]
        losses.append(-float(np.average(own, weights=counts[held] + 1e-12)))
        shares.append(float((scores.argmax(axis=1) == labels[held]).mean()))
    best = STRENGTHS[int(np.argmin(losses))]
    whole = _Task(features, labels, counts, mean, scale, best)
    fitted, steps = _fit(whole, np.zeros_like(fitted))
    return Probe(fitted, mean, scale, best, steps, tuple(shares))


def hold_out(labels: Ints, share: float, seed: int) -> tuple[Ints, Ints]:
    """Split rows into kept and held out: a share of each class, at least one image.

    A class with one image is kept.
    """
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        held[own[: min(len(own) - 1, max(1, round(share * len(own))))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """The objective: weighted mean of cross entropies plus the penalty."""

    features: Features
    labels: Ints
    counts: Floats
    mean: Floats
    scale: Floats
    strength: float

    def value(self, flat: Floats, classes: int) -> tuple[float, Floats]:
        """Return the objective and its gradient."""
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
        options={"maxiter": MAX_STEPS, "gtol": _TOLERANCE, "ftol": 0.0},
    )
    return np.asarray(found.x).reshape(start.shape), int(found.nit)


def _standardize(features: Features) -> tuple[Floats, Floats]:
    """Means and standard deviations; 1 for constant features."""
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
    """Append a column of ones for the bias."""
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)
