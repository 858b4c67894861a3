"""Upper bounds on the share of images with a visible face, from a sample that people looked at.

All bounds are one-sided. A fixed sample is one whose size was chosen before anyone looked; a
confidence sequence holds at every moment at once, so that a reviewer may stop early.

References: Clopper and Pearson (Biometrika 26, 1934); for finite populations the exact
hypergeometric bound (Buonaccorsi, The American Statistician 41, 1987); for confidence
sequences the prior-posterior ratio (Waudby-Smith and Ramdas, NeurIPS 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in a simple random sample of one stratum.

    Args:
        found: images with a visible face.
        looked: images looked at.
        population: images in the stratum; None for an infinite one.
    """

    found: int
    looked: int
    population: int | None = None


def clopper_pearson_upper(found: int, looked: int, confidence: float = 0.95) -> float:
    """The exact upper bound on a share of an infinite population.

    >>> round(clopper_pearson_upper(0, 299), 4)
    0.01
    """
    from scipy.stats import beta

    if looked == 0 or found >= looked:
        return 1.0
    return float(beta.ppf(confidence, found + 1, looked - found))


def hypergeometric_upper(
    found: int, looked: int, population: int, confidence: float = 0.95
) -> float:
    """The exact upper bound on a share of a finite population, sampled without replacement.

    It is the largest share under which as few finds as this have a probability above
    1 - confidence.

    >>> hypergeometric_upper(0, 100, 100)
    0.0
    """
    if looked == 0:
        return 1.0
    low, high = found, population - (looked - found)
    while low < high:
        middle = (low + high + 1) // 2
        if _log_at_most(found, looked, population, middle) > math.log1p(-confidence):
            low = middle
        else:
            high = middle - 1
    return low / population


def fixed_upper(sample: Looked, confidence: float = 0.95) -> float:
    """The bound of a sample whose size was fixed before: exact, whatever the population."""
    if sample.population is None:
        return clopper_pearson_upper(sample.found, sample.looked, confidence)
    if sample.population == 0:
        return 0.0
    return hypergeometric_upper(sample.found, sample.looked, sample.population, confidence)


def anytime_upper(sample: Looked, confidence: float = 0.95, expected: float = 0.01) -> float:
    """The current upper end of a confidence sequence: valid at whatever moment one stops.

    The prior-posterior ratio with a beta-binomial prior: a share is ruled out when the
    sequence of answers is 1 / (1 - confidence) times more likely under the prior than under
    the share. By Ville's inequality the true share is ever ruled out with a probability of at
    most 1 - confidence. The prior changes how tight the bound is, never whether it holds.

    Args:
        sample: the answers so far, in the order in which they were drawn.
        confidence: of the bound, 0..1.
        expected: share that the prior expects, fixed before the first answer.
    """
    if sample.looked == 0:
        return 0.0 if sample.population == 0 else 1.0
    a, b = _prior(expected)
    evidence = _log_beta(a + sample.found, b + sample.looked - sample.found) - _log_beta(a, b)
    least = evidence + math.log1p(-confidence)
    if sample.population is None:
        return _largest_share(sample, least)
    return _largest_count(sample, least, sample.population) / sample.population


def stratified_upper(
    samples: Sequence[Looked], confidence: float = 0.95, anytime: bool = False,
    expected: float = 0.01,
) -> float:  # fmt: skip
    """The upper bound over strata: each at (1 - confidence) / S, summed by their weights.

    Args:
        samples: one for each stratum, each with its population.
        confidence: of the bound over all strata together.
        anytime: whether the reviewer may stop at any moment.
        expected: share that the prior of a confidence sequence expects.

    """
    filled = [sample for sample in samples if sample.population]
    total = sum(sample.population or 0 for sample in filled)
    each = 1 - (1 - confidence) / max(1, len(filled))
    bounds = (
        anytime_upper(sample, each, expected) if anytime else fixed_upper(sample, each)
        for sample in filled
    )
    weights = ((sample.population or 0) / total for sample in filled)
    return min(1.0, sum(w * bound for w, bound in zip(weights, bounds, strict=True)))


def sensitivity_lower(
    found: int, checks: int, confidence: float = 0.95, anytime: bool = False
) -> float:
    """Lower limit of the share of visible faces that a reviewer finds.

    Args:
        found: hidden checks in which the face was found.
        checks: hidden checks shown.
        confidence: of the limit.
        anytime: whether the reviewer may stop at any moment.
    """
    missed = Looked(checks - found, checks)
    if anytime:
        return 1 - anytime_upper(missed, confidence, expected=0.1)
    return 1 - clopper_pearson_upper(missed.found, missed.looked, confidence)


def divide_by_sensitivity(upper: float, sensitivity: float) -> float:
    """A bound on what is there, from a bound on what is found and a lower limit of finding it.

    If a reviewer finds a visible face with probability s, images with one are reported at the
    rate of s times their share. Both parts need a confidence of 1 - (1 - c) / 2 for the
    quotient to have c.
    """
    return 1.0 if sensitivity <= 0 else min(1.0, upper / sensitivity)


def sample_size(
    at_most: float, confidence: float = 0.95, population: int | None = None, allowed: int = 0,
    anytime: bool = False,
) -> int:  # fmt: skip
    """Images to look at so that ``allowed`` finds still give a bound of at most ``at_most``.

    >>> sample_size(0.01), sample_size(0.01, allowed=1), sample_size(0.001)
    (299, 473, 2995)

    Args:
        at_most: the bound that is wanted, above 0, up to 1.
        confidence: of the bound, 0..1.
        population: images that there are; None for an infinite population.
        allowed: finds that may occur.
        anytime: whether the reviewer may stop at any moment, which needs more images.
    """

    def is_enough(looked: int) -> bool:
        sample = Looked(allowed, looked, population)
        if anytime:
            return anytime_upper(sample, confidence, at_most / 2) <= at_most
        return fixed_upper(sample, confidence) <= at_most

    most = population if population is not None else 10**9
    low, high = min(allowed, most), min(allowed + 1, most)
    while high < most and not is_enough(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def allocate(
    sizes: Sequence[int], at_most: float, confidence: float = 0.95, anytime: bool = False
) -> tuple[int, ...]:
    """Images to look at in each stratum so that nothing found gives at most ``at_most``.

    Proportional to the square root of the stratum's size, which needs the fewest images in
    all, since a bound of nothing found falls with the reciprocal of the images looked at.

    Args:
        sizes: images in each stratum.
        at_most: the bound that is wanted.
        confidence: of the bound over all strata together.
        anytime: whether the reviewer may stop at any moment.
    """
    roots = [math.sqrt(size) for size in sizes]

    def counts_at(factor: float) -> tuple[int, ...]:
        return tuple(
            min(size, math.ceil(factor * root)) for size, root in zip(sizes, roots, strict=True)
        )

    def upper(counts: Sequence[int]) -> float:
        looked = [Looked(0, count, size) for count, size in zip(counts, sizes, strict=True)]
        return stratified_upper(looked, confidence, anytime, at_most / 2)

    low, high, most = 0.0, 1.0, max(roots, default=0.0)
    while high < most and upper(counts_at(high)) > at_most:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if upper(counts_at(middle)) > at_most else (low, middle)
    return counts_at(high)


def _log_at_most(found: int, looked: int, population: int, faces: int) -> float:
    """Log probability of at most ``found`` finds among ``looked`` images."""
    from scipy.stats import hypergeom

    return float(hypergeom.logcdf(found, population, faces, looked))


def _prior(expected: float) -> tuple[float, float]:
    a = 0.5
    return a, a * (1 - expected) / expected


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _largest_count(sample: Looked, least: float, population: int) -> int:
    """The largest number of images with a face that is not ruled out."""

    def likelihood(faces: int) -> float:
        rest = population - sample.looked
        return _log_choose(rest, faces - sample.found) - _log_choose(population, faces)

    low = sample.found + round((population - sample.looked) * sample.found / sample.looked)
    high = population - (sample.looked - sample.found)
    low = min(low, high)
    while low < high:  # beyond its peak the likelihood only falls
        middle = (low + high + 1) // 2
        low, high = (middle, high) if likelihood(middle) > least else (low, middle - 1)
    return low


def _largest_share(sample: Looked, least: float) -> float:
    """The largest share that is not ruled out."""
    found, rest = sample.found, sample.looked - sample.found
    if rest == 0:
        return 1.0
    low, high = found / sample.looked, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        likelihood = (found * math.log(middle) if found else 0.0) + rest * math.log1p(-middle)
        low, high = (middle, high) if likelihood > least else (low, middle)
    return high
