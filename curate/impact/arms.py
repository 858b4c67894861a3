"""What is kept of each model's predictions: a few numbers per image and per class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.impact.arrays import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Arm:
    """One model on one of both datasets; rows are images, in the order of their ids.

    Args:
        predicted: N, the best class.
        rank: N, the label's place, 0 for the best; the number of ranked classes or more
            where the label is not among them.
        confidence: N, the best class's probability, 0..1, or its score where there are
            no probabilities.
        precision: C, each class's average precision; NaN of a class without images.
    """

    predicted: Ints
    rank: Ints
    confidence: Floats
    precision: Floats


@dataclass(frozen=True, slots=True)
class Model:
    """One model, or one seed of it, on both datasets."""

    original: Arm
    obfuscated: Arm


@dataclass(frozen=True, slots=True)
class Experiment:
    """The same images, with and without obfuscation, seen by one or more models.

    Args:
        labels: N, each image's class.
        classes: the classes' names; a label is a place in it.
        models: at least one.
        depth: how many classes each image has ranked.
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
        """Whether the label is among the ``k`` best classes."""
        return Hits(
            _stack(self, lambda model: model.original.rank < k),
            _stack(self, lambda model: model.obfuscated.rank < k),
        )


@dataclass(frozen=True, slots=True)
class Hits:
    """Whether each image is right, by model.

    Args:
        original: N×M.
        obfuscated: N×M.
    """

    original: Bools
    obfuscated: Bools

    def __len__(self) -> int:
        return len(self.original)

    def of(self, rows: Bools | Ints) -> Hits:
        """Some of the images."""
        return Hits(self.original[rows], self.obfuscated[rows])

    @property
    def differences(self) -> Floats:
        """N×M: 1 where an image is gained, -1 where it is lost."""
        return self.obfuscated.astype(np.float64) - self.original


def _stack(experiment: Experiment, choose: Callable[[Model], Bools]) -> Bools:
    return np.stack([choose(model) for model in experiment.models], axis=1)
