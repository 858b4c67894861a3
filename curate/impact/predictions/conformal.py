"""Conformal prediction sets and abstention, calibrated on originals, by subset of the images."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Interval, Share, wilson
from curate.impact.experiment import Bools, Experiment, Floats

COVERAGE = 0.9
"""Nominal coverage of the prediction sets."""
ANSWERED = 0.8
"""Share of the originals that are answered at the threshold of abstention."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of images, mean over models, with Wilson's interval over images."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Reliability:
    """Prediction sets and abstention on one subset; pairs are (original, obfuscated).

    Args:
        name: the subset.
        n: number of images.
        coverage: share of images whose set contains the true class, calibrated on all
            originals.
        own_coverage: the same, calibrated on the originals of this subset only.
        answered: share of images with a confidence above the threshold of abstention.
        risk: error rate among these; NaN value if there are none.
    """

    name: str
    n: int
    coverage: tuple[Proportion, Proportion]
    own_coverage: tuple[Proportion, Proportion]
    answered: tuple[Proportion, Proportion]
    risk: tuple[Proportion, Proportion]


def measure_reliability(
    experiment: Experiment, subsets: Mapping[str, Bools], seed: int
) -> tuple[Reliability, ...]:
    """Measure prediction sets and abstention on every subset.

    The set of an image holds the classes with a probability of at least 1 - τ. Split conformal
    prediction (Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005; Lei
    et al., JASA 113, 2018) takes for τ the ⌈(n + 1) · 0.9⌉-th smallest of 1 - p(true class) on n
    originals of one half of the images; sets are evaluated on the other half, and the reverse.
    For images that are exchangeable with those originals the true class is covered with a
    probability of at least 0.9. Obfuscated images and subsets are not, unless τ is calibrated on
    the subset.

    Args:
        experiment: with probabilities, N images.
        subsets: images by name, bool, shape (N,).
        seed: random seed of the halves.
    """
    random = np.random.default_rng([seed, zlib.crc32(b"conformal")])
    first = np.zeros(len(experiment), dtype=bool)
    first[random.permutation(len(experiment))[: len(experiment) // 2]] = True
    everything = np.ones(len(experiment), dtype=bool)
    covered = _cover(experiment, first, everything)
    answered = [
        _answer(model.original.confidence, model.obfuscated.confidence)
        for model in experiment.models
    ]
    before, after = (np.stack([each[side] for each in answered], axis=1) for side in (0, 1))
    hits = experiment.hits(1)
    found = []
    for name, rows in subsets.items():
        own = _cover(experiment, first, rows)
        found.append(
            Reliability(
                name,
                int(rows.sum()),
                (_proportion(covered[0][rows]), _proportion(covered[1][rows])),
                (_proportion(own[0][rows]), _proportion(own[1][rows])),
                (_proportion(before[rows]), _proportion(after[rows])),
                (
                    _risk(before[rows], hits.original[rows]),
                    _risk(after[rows], hits.obfuscated[rows]),
                ),
            )
        )
    return tuple(found)


def find_threshold(scores: Floats, coverage: float = COVERAGE) -> float:
    """Return the conformal quantile of nonconformity scores; infinite with too few.

    Args:
        scores: of the calibration images, shape (n,).
        coverage: nominal coverage.
    """
    k = math.ceil((len(scores) + 1) * coverage)
    return math.inf if k > len(scores) else float(np.partition(scores, k - 1)[k - 1])


def _cover(experiment: Experiment, first: Bools, rows: Bools) -> tuple[Bools, Bools]:
    """Whether sets contain the true class, (N, M) on original and obfuscated images.

    Calibrated on the originals among ``rows`` of the other half.
    """
    sides: tuple[list[Bools], list[Bools]] = ([], [])
    for model in experiment.models:
        before, after = (
            _nonconformity(model.original.likelihood),
            _nonconformity(model.obfuscated.likelihood),
        )
        threshold = np.where(
            first, find_threshold(before[rows & ~first]), find_threshold(before[rows & first])
        )
        sides[0].append(before <= threshold)
        sides[1].append(after <= threshold)
    return np.stack(sides[0], axis=1), np.stack(sides[1], axis=1)


def _nonconformity(likelihood: Floats | None) -> Floats:
    assert likelihood is not None  # noqa: S101 - experiments with probabilities have it
    return 1 - likelihood


def _answer(original: Floats, obfuscated: Floats) -> tuple[Bools, Bools]:
    """Whether images are answered at the confidence that `ANSWERED` of the originals reach."""
    threshold = float(np.quantile(original, 1 - ANSWERED, method="higher"))
    return original >= threshold, obfuscated >= threshold


def _proportion(values: Bools) -> Proportion:
    if not len(values):
        return Proportion(math.nan, Interval(0.0, 1.0))
    value, n = float(values.mean()), len(values)
    interval = wilson(Share(round(value * n), n))
    return Proportion(value, Interval(min(interval.low, value), max(interval.high, value)))


def _risk(kept: Bools, right: Bools) -> Proportion:
    """Error rate among the answered images, pooled over models."""
    total = int(kept.sum())
    if not total:
        return Proportion(math.nan, Interval(0.0, 1.0))
    value, n = float((kept & ~right).sum() / total), max(1, round(total / kept.shape[1]))
    interval = wilson(Share(round(value * n), n))
    return Proportion(value, Interval(min(interval.low, value), max(interval.high, value)))


def list_subsets(
    count: int, present: Bools | None, groups: Mapping[str, Sequence[str | None]], smallest: int
) -> dict[str, Bools]:
    """Return all images, those with and without faces, and groups of at least ``smallest``.

    Args:
        count: number of images, N.
        present: whether an image has faces, shape (N,); None where unknown.
        groups: group of each image, by attribute.
        smallest: minimum size of a group.
    """
    subsets = {"all images": np.ones(count, dtype=bool)}
    if present is not None:
        subsets |= {"with faces": present, "without faces": ~present}
    for attribute, values in groups.items():
        column = np.asarray(["" if value is None else value for value in values])
        known = np.asarray([value is not None for value in values])
        for value in sorted({value for value in values if value is not None}):
            rows = known & (column == value)
            if rows.sum() >= smallest:
                subsets[f"{attribute}: {value}"] = rows
    return subsets
