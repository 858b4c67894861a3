"""Resampled means over images and models, both drawn anew."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from curate.core.intervals import DRAWS, LEVEL
from curate.impact.arrays import Floats

_CELLS = 4_000_000  # drawn at once, so that memory stays small whatever the data


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How resamples are drawn.

    Args:
        models: draws×M, how much each model counts in each resample; rows add up to 1, and
            a model may count negatively.
        seed: the same seed gives the same resamples.
    """

    models: Floats
    seed: int

    @property
    def draws(self) -> int:
        """How many resamples."""
        return len(self.models)


def make_bootstrap(models: int, seed: int = 0, draws: int = DRAWS) -> Bootstrap:
    """Draw models with replacement for every resample; of one there is no choice.

    Images and models are drawn independently of each other, which holds both kinds of
    spread: another sample of images and other models or seeds (Owen, *The pigeonhole
    bootstrap*, Annals of Applied Statistics 1, 2007). Of few models a bootstrap alone is
    far too narrow: how much they count is spread as much wider as Student's t interval
    is than what the bootstrap makes of the normal one.
    """
    if models == 1:
        return Bootstrap(np.ones((draws, 1)), seed)
    random = np.random.default_rng([seed, zlib.crc32(b"models")])
    times = random.multinomial(models, np.full(models, 1 / models), size=draws)
    student = stdtrit(models - 1, (1 + LEVEL) / 2) / NormalDist().inv_cdf((1 + LEVEL) / 2)
    wider = float(student) * math.sqrt(models / (models - 1))
    return Bootstrap((1 + wider * (times - 1)) / models, seed)


def resample(values: Floats, bootstrap: Bootstrap, stream: str) -> Floats:
    """Means of columns over images that are drawn with replacement.

    Images with the same row are drawn together: how often each kind of row comes is
    multinomial, which is the same and quick where only a few kinds exist.

    Args:
        values: N×K, N at least 1.
        bootstrap: how many resamples, and the seed.
        stream: names the draw; two streams are independent.

    Returns:
        draws×K.
    """
    kinds, counts = np.unique(values, axis=0, return_counts=True)
    random = np.random.default_rng([bootstrap.seed, zlib.crc32(stream.encode())])
    rows = max(1, _CELLS // len(kinds))
    means: list[Floats] = []
    for start in range(0, bootstrap.draws, rows):
        some = min(rows, bootstrap.draws - start)
        times = random.multinomial(len(values), counts / len(values), size=some)
        means.append(times @ kinds / len(values))
    return np.concatenate(means)


def over_models(columns: Floats, bootstrap: Bootstrap) -> Floats:
    """Resampled columns, one per model, as their means over the models that were drawn.

    Args:
        columns: draws×M.
        bootstrap: of as many models.
    """
    return np.asarray((columns * bootstrap.models).sum(axis=1))
