"""Paired differences of accuracy: intervals, McNemar's test, power, false discovery rate.

Obfuscation is measured on the same images before and after, so every statistic here is of the
per-image differences. Intervals of several models or seeds hold for other images and for other
models of the same kind.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik, stdtrit

from curate.core.intervals import DRAWS, LEVEL, Interval, hull, paired_interval, percentiles
from curate.impact.experiment import Floats, Hits

ALPHA, POWER = 0.05, 0.8
"""Level of McNemar's test and the power at which the smallest detectable drop is given."""

_ELEMENTS = 4_000_000  # drawn at once, which bounds the memory
_DEVIATIONS = 6.0  # standard deviations of the number of discordant images that are summed over
_STEPS = 40  # bisections of an interval of length 1


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Options of the bootstrap.

    Args:
        models: weight of each model in each resample, shape (draws, M); rows sum to 1, and
            a weight may be negative.
        seed: random seed.
    """

    models: Floats
    seed: int

    @property
    def draws(self) -> int:
        """Number of resamples."""
        return len(self.models)


def make_bootstrap(models: int, seed: int = 0, draws: int = DRAWS) -> Bootstrap:
    """Draw models with replacement for every resample.

    Images and models are drawn independently of each other, which covers both sources of
    variation (Owen, *The pigeonhole bootstrap*, Annals of Applied Statistics 1, 2007). With few
    models a bootstrap is far too narrow, so the deviations of the models' weights from 1/M are
    multiplied by sqrt(M / (M - 1)) and by the ratio of Student's t to the normal quantile.

    Args:
        models: number of models, M.
        seed: random seed.
        draws: number of resamples.
    """
    if models == 1:
        return Bootstrap(np.ones((draws, 1)), seed)
    random = np.random.default_rng([seed, zlib.crc32(b"models")])
    times = random.multinomial(models, np.full(models, 1 / models), size=draws)
    student = stdtrit(models - 1, (1 + LEVEL) / 2) / NormalDist().inv_cdf((1 + LEVEL) / 2)
    wider = float(student) * math.sqrt(models / (models - 1))
    return Bootstrap((1 + wider * (times - 1)) / models, seed)


def resample(values: Floats, bootstrap: Bootstrap, stream: str) -> Floats:
    """Return means of columns over images drawn with replacement.

    Images with equal rows are drawn together: the counts of distinct rows are multinomial,
    which is equivalent and fast where few distinct rows exist.

    Args:
        values: shape (N, K), N at least 1.
        bootstrap: number of resamples and seed.
        stream: name of the random stream; two streams are independent.

    Returns:
        Shape (draws, K).
    """
    kinds, counts = np.unique(values, axis=0, return_counts=True)
    random = np.random.default_rng([bootstrap.seed, zlib.crc32(stream.encode())])
    rows = max(1, _ELEMENTS // len(kinds))
    means: list[Floats] = []
    for start in range(0, bootstrap.draws, rows):
        some = min(rows, bootstrap.draws - start)
        times = random.multinomial(len(values), counts / len(values), size=some)
        means.append(times @ kinds / len(values))
    return np.concatenate(means)


def average_models(columns: Floats, bootstrap: Bootstrap) -> Floats:
    """Return the mean over the models drawn in each resample.

    Args:
        columns: one per model, shape (draws, M).
        bootstrap: for M models.
    """
    return np.asarray((columns * bootstrap.models).sum(axis=1))


@dataclass(frozen=True, slots=True)
class Change:
    """Accuracy on original and obfuscated images, as fractions; NaN without images.

    Args:
        n: number of images.
        original: accuracy on original images, mean over models.
        obfuscated: accuracy on obfuscated images, mean over models.
        wald: Bonett and Price's interval of the difference, over images.
        bootstrap: percentile interval over images and models; None where all resamples agree.
    """

    n: int
    original: float
    obfuscated: float
    wald: Interval
    bootstrap: Interval | None

    @property
    def difference(self) -> float:
        """Obfuscated minus original: negative where accuracy is lost."""
        return self.obfuscated - self.original

    @property
    def interval(self) -> Interval:
        """The smallest interval that contains both the bootstrap's and Bonett and Price's.

        With many images and one model the two agree. With few discordant images the bootstrap
        is too narrow; with several models Bonett and Price's is.
        """
        return hull(self.wald, self.bootstrap)


def compare(hits: Hits, bootstrap: Bootstrap, stream: str) -> Change:
    """Return the change of accuracy with its intervals.

    Args:
        hits: per-image correctness; may be empty.
        bootstrap: options of the bootstrap.
        stream: name of the random stream.
    """
    if not len(hits):
        return Change(0, math.nan, math.nan, Interval(-1.0, 1.0), None)
    differences = hits.differences
    drawn = average_models(resample(differences, bootstrap, stream), bootstrap)
    return Change(
        n=len(hits),
        original=float(hits.original.mean()),
        obfuscated=float(hits.obfuscated.mean()),
        wald=paired_interval(differences.mean(axis=1)),
        bootstrap=percentiles(drawn),
    )


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's exact test.

    Args:
        b: images that are correct before and wrong after (lost).
        c: images that are wrong before and correct after (gained).
        p: two-sided p-value.
    """

    b: int
    c: int
    p: float


def mcnemar(hits: Hits) -> McNemar:
    """McNemar's exact test (Psychometrika 12, 1947).

    With several models, an image counts as lost if more models lose than gain it: models that
    classify the same image are not independent, images are. The test is then conditional on
    these models.
    """
    net = hits.differences.sum(axis=1)
    lost, gained = int((net < 0).sum()), int((net > 0).sum())
    return McNemar(lost, gained, float(exact_p(lost, gained)))


def exact_p(b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """Return two-sided p-values of the sign test, elementwise; 1 where b + c = 0."""
    lost, gained = np.asarray(b), np.asarray(c)
    tail = bdtr(np.minimum(lost, gained), lost + gained, 0.5)
    return np.minimum(1.0, 2.0 * np.asarray(tail, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Power:
    """Smallest drop of accuracy that the sample could have shown.

    Args:
        discordant: share of images whose correctness changed; with several models, of images
            that more models lost than gained or the reverse.
        detectable: smallest drop, 0..1, that McNemar's test detects at `ALPHA` with
            probability `POWER`; None where no drop can be detected.
    """

    discordant: float
    detectable: float | None


def find_power(hits: Hits) -> Power:
    """Find the drop at which McNemar's exact test reaches its power, by bisection.

    The share of discordant images is taken as observed, and the drop determines their split.
    Where a drop would exceed that share, every discordant image is a loss and the share grows
    with the drop. With several models a discordant image changes the mean accuracy by less than
    one hit, and the drop is scaled accordingly.

    Args:
        hits: at least one image.
    """
    n, net = len(hits), hits.differences.mean(axis=1)
    changed = np.abs(net[net != 0])
    discordant = len(changed) / n
    size = float(changed.mean()) if len(changed) else 1.0
    if compute_power(n, discordant, 1.0) < POWER:
        return Power(discordant, None)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if compute_power(n, discordant, middle) < POWER:
            low = middle
        else:
            high = middle
    return Power(discordant, size * high)


def compute_power(n: int, discordant: float, drop: float) -> float:
    """Return the probability that McNemar's exact test detects a drop.

    Args:
        n: number of images.
        discordant: share of discordant images, 0..1; raised to the drop if below it.
        drop: net share of lost images, 0..1.
    """
    share = max(discordant, drop)
    if share == 0:
        return 0.0
    reach = _DEVIATIONS * math.sqrt(n * share * (1 - share)) + 1
    first, last = max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach))
    changed = np.arange(first, last + 1)
    chance = _binomial_cdf(changed, n, share) - _binomial_cdf(changed - 1, n, share)
    # The largest number of gained images at which the test still rejects.
    limit = np.floor(np.nan_to_num(bdtrik(ALPHA / 2, changed, 0.5), nan=0.0))
    limit -= _binomial_cdf(limit, changed, 0.5) > ALPHA / 2
    return float(chance @ _binomial_cdf(limit, changed, (share - drop) / (2 * share)))


def _binomial_cdf(k: npt.ArrayLike, n: npt.ArrayLike, p: float) -> Floats:
    """Binomial distribution function, 0 for negative k."""
    found = bdtr(np.maximum(k, 0), n, p)
    return np.where(np.asarray(k) < 0, 0.0, found)
