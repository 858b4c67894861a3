"""Paired predictions: the same images classified with and without obfuscation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

ORIGINAL, OBFUSCATED = "original", "obfuscated"


@dataclass(frozen=True, slots=True)
class Arm:
    """Predictions of one model on one version of the images, in the order of image ids.

    Args:
        predicted: class with the highest score, shape (N,).
        rank: rank of the true class, 0 for the best, shape (N,); at least the number of ranked
            classes where the true class is not among them.
        confidence: probability of the predicted class, 0..1, shape (N,); its score where the
            scores are not probabilities.
        precision: average precision of each class, shape (C,); NaN for classes without images.
        likelihood: probability of the true class, 0..1, shape (N,); None if not computed.
    """

    predicted: Ints
    rank: Ints
    confidence: Floats
    precision: Floats
    likelihood: Floats | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """Predictions of one model, or one seed of it, on both versions of the images."""

    original: Arm
    obfuscated: Arm


@dataclass(frozen=True, slots=True)
class Faces:
    """Hidden faces per image, from the manifest.

    Args:
        shares: hidden share of the image's area, 0..1, shape (N,).
        counts: number of hidden faces, shape (N,).
    """

    shares: Floats
    counts: Ints


@dataclass(frozen=True, slots=True)
class Experiment:
    """Predictions of one or more models on paired images.

    Args:
        labels: true class of each image, shape (N,).
        classes: class names, in index order.
        models: at least one.
        depth: number of ranked classes per image.
        has_probabilities: whether confidences are probabilities.
    """

    labels: Ints
    classes: tuple[str, ...]
    models: tuple[Model, ...]
    depth: int
    has_probabilities: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def hits(self, k: int) -> Hits:
        """Return whether the true class is among the top ``k``, by image and model."""
        return Hits(
            _stack(self, lambda model: model.original.rank < k),
            _stack(self, lambda model: model.obfuscated.rank < k),
        )


@dataclass(frozen=True, slots=True)
class Hits:
    """Per-image correctness, bool, shape (N, M) for N images and M models."""

    original: Bools
    obfuscated: Bools

    def __len__(self) -> int:
        return len(self.original)

    def select(self, rows: Bools | Ints) -> Hits:
        """Return the given images only."""
        return Hits(self.original[rows], self.obfuscated[rows])

    @property
    def differences(self) -> Floats:
        """Obfuscated minus original, shape (N, M): 1 for a gained image, -1 for a lost one."""
        return self.obfuscated.astype(np.float64) - self.original


def _stack(experiment: Experiment, choose: Callable[[Model], Bools]) -> Bools:
    return np.stack([choose(model) for model in experiment.models], axis=1)
