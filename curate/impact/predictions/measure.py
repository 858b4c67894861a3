"""Effect of obfuscation on a classifier: all statistics of paired predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from curate.core.calibration import Calibration
from curate.core.intervals import LEVEL, Interval, hull, percentiles
from curate.impact.class_changes import ClassChange, compare_classes
from curate.impact.experiment import Bools, Experiment, Faces, Floats, Hits
from curate.impact.group_gaps import MIN_IMAGES
from curate.impact.metrics import RiskCoverage, calibrate, trace_risk
from curate.impact.paired import (
    Bootstrap,
    Change,
    McNemar,
    Power,
    average_models,
    compare,
    find_power,
    make_bootstrap,
    mcnemar,
    resample,
)
from curate.impact.predictions.conformal import (
    Reliability,
    list_subsets,
    measure_reliability,
)
from curate.impact.predictions.groups import Grouping, by_group

SHARE_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 1.0)
"""Edges of the bins of the hidden share, closed at the upper end; the first bin is 0 alone."""
FACE_EDGES = (0, 1, 2, 3, 5, 10)
"""Lower ends of the bins of the number of faces."""
ROUGH = 1000
"""With fewer images the slope is marked as rough."""

_PSEUDO_VARIANCE = 6.0  # two pseudo-images ±1 at √3 standard deviations: 2 · 3


@dataclass(frozen=True, slots=True)
class Stratum:
    """Accuracy on the images in a range.

    Args:
        low: lower end; exclusive in bins of hidden shares above 0.
        high: upper end, inclusive; None where unbounded.
        top1: accuracy on these images.
    """

    low: float
    high: float | None
    top1: Change


@dataclass(frozen=True, slots=True)
class Slope:
    """Least-squares slope of the change of accuracy over the hidden share.

    Args:
        value: change of accuracy per unit of hidden share.
        interval: 95 % interval.
        rough: whether there are fewer than `ROUGH` images.
    """

    value: float
    interval: Interval
    rough: bool


@dataclass(frozen=True, slots=True)
class FaceImpact:
    """Effects by hidden faces.

    Args:
        by_share: by hidden share of the image.
        slope: of the change over the hidden share; None if it does not vary.
        by_count: by number of faces.
        present: images with faces.
        absent: images without.
    """

    by_share: tuple[Stratum, ...]
    slope: Slope | None
    by_count: tuple[Stratum, ...]
    present: Change
    absent: Change


@dataclass(frozen=True, slots=True)
class Impact:
    """All statistics; pairs are (original, obfuscated).

    Args:
        experiment: the predictions.
        seed: random seed of the bootstrap.
        top1: top-1 accuracy.
        top5: top-5 accuracy; None where fewer than five classes are ranked.
        test: McNemar's exact test of top-1 accuracy.
        precision: mean average precision over classes with images.
        classes: every class with images.
        faces: effects by hidden faces; None where these are unknown.
        groupings: by attribute.
        calibration: None where there are no probabilities.
        selective: risk-coverage curves.
        reliability: conformal prediction sets and abstention by subset; empty where there are
            no probabilities.
        power: smallest detectable drop.
    """

    experiment: Experiment
    seed: int
    top1: Change
    top5: Change | None
    test: McNemar
    precision: tuple[float, float]
    classes: tuple[ClassChange, ...]
    faces: FaceImpact | None
    groupings: tuple[Grouping, ...]
    calibration: tuple[Calibration, Calibration] | None
    selective: tuple[RiskCoverage, RiskCoverage]
    reliability: tuple[Reliability, ...]
    power: Power


def measure(
    experiment: Experiment,
    faces: Faces | None = None,
    groups: Mapping[str, Sequence[str | None]] | None = None,
    seed: int = 0,
) -> Impact:
    """Measure the effect of obfuscation.

    Args:
        experiment: predictions on at least one image.
        faces: hidden faces in the same order; None where unknown.
        groups: group of each image, by attribute.
        seed: random seed of the bootstrap.
    """
    bootstrap = make_bootstrap(len(experiment.models), seed)
    hits = experiment.hits(1)
    before = [model.original for model in experiment.models]
    after = [model.obfuscated for model in experiment.models]
    classes = compare_classes(experiment, bootstrap)
    top5 = compare(experiment.hits(5), bootstrap, "top5") if experiment.depth >= 5 else None
    return Impact(
        experiment=experiment,
        seed=seed,
        top1=compare(hits, bootstrap, "top1"),
        top5=top5,
        test=mcnemar(hits),
        precision=(
            float(np.mean([each.original for each in classes])),
            float(np.mean([each.obfuscated for each in classes])),
        ),
        classes=tuple(classes),
        faces=measure_faces(hits, faces, bootstrap) if faces is not None else None,
        groupings=tuple(
            by_group(hits, name, values, bootstrap) for name, values in (groups or {}).items()
        ),
        calibration=(calibrate(before), calibrate(after)) if experiment.has_probabilities else None,
        selective=(trace_risk(before), trace_risk(after)),
        reliability=_measure_reliability(experiment, faces, groups or {}, seed),
        power=find_power(hits),
    )


def _measure_reliability(
    experiment: Experiment,
    faces: Faces | None,
    groups: Mapping[str, Sequence[str | None]],
    seed: int,
) -> tuple[Reliability, ...]:
    arms = [arm for model in experiment.models for arm in (model.original, model.obfuscated)]
    if not experiment.has_probabilities or any(arm.likelihood is None for arm in arms):
        return ()
    present = None if faces is None else faces.counts > 0
    subsets = list_subsets(len(experiment), present, groups, MIN_IMAGES)
    return measure_reliability(experiment, subsets, seed)


def measure_faces(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> FaceImpact:
    """Measure the effects by hidden faces."""
    present = faces.counts > 0
    return FaceImpact(
        by_share=tuple(by_hidden_share(hits, faces, bootstrap)),
        slope=fit_slope(hits, faces, bootstrap),
        by_count=tuple(by_face_count(hits, faces, bootstrap)),
        present=compare(hits.select(present), bootstrap, "with faces"),
        absent=compare(hits.select(~present), bootstrap, "without faces"),
    )


def by_hidden_share(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> list[Stratum]:
    """Return bins of the hidden share; the first has the images with nothing hidden."""
    strata = [_stratum(hits, faces.shares <= 0, (0.0, 0.0), bootstrap, "share")]
    for low, high in pairwise(SHARE_EDGES):
        rows = (faces.shares > low) & (faces.shares <= high)
        strata.append(_stratum(hits, rows, (low, high), bootstrap, "share"))
    return strata


def by_face_count(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> list[Stratum]:
    """Return bins of the number of faces."""
    strata = []
    for low, after in zip(FACE_EDGES, (*FACE_EDGES[1:], None), strict=True):
        rows = faces.counts >= low
        if after is not None:
            rows &= faces.counts < after
        ends = (low, None if after is None else after - 1)
        strata.append(_stratum(hits, rows, ends, bootstrap, "faces"))
    return strata


def _stratum(
    hits: Hits,
    rows: Bools,
    ends: tuple[float, float | None],
    bootstrap: Bootstrap,
    name: str,
) -> Stratum:
    stream = f"{name} {ends[0]} {ends[1]}"
    return Stratum(*ends, compare(hits.select(rows), bootstrap, stream))


def fit_slope(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> Slope | None:
    """Fit the change of accuracy over the hidden share; None if the share does not vary.

    Hidden shares are skewed and changes are rare, so that a percentile bootstrap is too narrow.
    The interval uses the HC3 variance (MacKinnon and White, Journal of Econometrics 29, 1985)
    with Student's t and the degrees of freedom of Bell and McCaffrey (Survey Methodology 28,
    2002). As in Bonett and Price's interval two pseudo-images are added, one gained and one
    lost, here √3 standard deviations from the mean share. With several models it contains the
    bootstrap's over images and models.
    """
    x, differences = faces.shares, hits.differences
    if not len(x) or np.ptp(x) == 0:
        return None
    n, centered = len(x), x - x.mean()
    total = float(centered @ centered)
    leverage = 1 / n + centered**2 / total
    y = differences.mean(axis=1)
    value = float(centered @ y) / total
    residual = y - y.mean() - value * centered
    scale = (centered / total) / np.maximum(1 - leverage, 1e-12)
    variance = float((scale**2 * residual**2).sum()) + _PSEUDO_VARIANCE / ((n + 2) * total)
    half = float(stdtrit(_satterthwaite(scale, leverage, centered), (1 + LEVEL) / 2))
    half *= math.sqrt(variance)
    interval = Interval(value - half, value + half)
    if differences.shape[1] > 1:
        columns = np.concatenate([x[:, None], x[:, None] ** 2, differences,
                                  x[:, None] * differences], axis=1)  # fmt: skip
        drawn = _slopes(resample(columns, bootstrap, "slope"))
        interval = hull(interval, percentiles(average_models(drawn, bootstrap)))
    return Slope(value, interval, n < ROUGH)


def _satterthwaite(scale: Floats, leverage: Floats, centered: Floats) -> float:
    """Degrees of freedom of the HC3 variance of a slope under equal residual variances."""
    n, total = len(scale), float(centered @ centered)
    weights = scale**2
    trace = float(weights @ (1 - leverage))
    # Sum of w_i w_j H_ij² with H_ij = 1/n + c_i c_j / total, in closed form.
    squares = (
        weights.sum() ** 2 / n**2
        + 2 / (n * total) * (weights @ centered) ** 2
        + (weights @ centered**2) ** 2 / total**2
    )
    squares += float(weights**2 @ ((1 - leverage) ** 2 - leverage**2))
    return max(1.0, trace**2 / float(squares))


def _slopes(means: Floats) -> Floats:
    """Slopes by model, from means of x, x², each y and each xy; NaN where x does not vary."""
    models = (means.shape[1] - 2) // 2
    x, xx = means[:, :1], means[:, 1:2]
    y, xy = means[:, 2 : 2 + models], means[:, 2 + models :]
    spread = np.broadcast_to(xx - x * x, y.shape)
    return np.divide(xy - x * y, spread, out=np.full_like(y, np.nan), where=spread > 1e-15)
