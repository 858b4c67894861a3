"""Statistics of attribution maps: share on faces, agreement of methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from curate.core.intervals import Interval, percentiles
from curate.impact.experiment import Floats
from curate.impact.paired import make_bootstrap, resample

CELLS = 14
"""Cells per side of the grid on which maps are compared."""


def to_cells(attribution: Floats) -> Floats:
    """Return positive attribution summed over the cells of a grid, flattened.

    This makes maps of pixels and of superpixels comparable.

    Args:
        attribution: a map, shape (H, W).
    """
    positive = np.maximum(attribution, 0.0)
    rows, columns = (min(CELLS, length) for length in positive.shape)
    down = np.linspace(0, positive.shape[0], rows, endpoint=False).round().astype(int)
    across = np.linspace(0, positive.shape[1], columns, endpoint=False).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(positive, down, axis=0), across, axis=1)
    return np.asarray(sums.ravel())


def correlate(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation of two maps, -1..1; NaN if one is constant."""
    ranks = [rankdata(each) for each in (a, b)]
    centered = [each - each.mean() for each in ranks]
    size = math.sqrt(float((centered[0] @ centered[0]) * (centered[1] @ centered[1])))
    return float(centered[0] @ centered[1]) / size if size > 0 else math.nan


MIN_IMAGES = 5
"""Intervals are given from this number of images on."""


@dataclass(frozen=True, slots=True)
class Shares:
    """One method's shares on one image; NaN where no attribution is positive.

    Args:
        area: share of the model's input inside faces.
        original: share of positive attribution inside faces, on the original.
        obfuscated: the same on the obfuscated image.
        elsewhere_original: the same inside equal regions elsewhere; NaN where there is no space.
        elsewhere_obfuscated: the same on the obfuscated image.
    """

    area: float
    original: float
    obfuscated: float
    elsewhere_original: float
    elsewhere_obfuscated: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, NaN without images, and its interval, None with too few."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Side:
    """One method on the original or on the obfuscated images.

    Args:
        share: mean share of attribution inside faces.
        ratio: that divided by the mean share of area; 1 is chance level.
        elsewhere: the ratio of equal regions elsewhere in the same images.
    """

    share: Estimate
    ratio: Estimate
    elsewhere: Estimate


@dataclass(frozen=True, slots=True)
class FaceShare:
    """One method on some images.

    Args:
        n: number of images with a share.
        left_out: number of images without positive attribution.
        placed: number of images with space for equal regions elsewhere.
        area: mean share of area inside faces.
        original: on originals.
        obfuscated: on obfuscated images.
        difference: mean paired difference of shares, obfuscated minus original.
    """

    n: int
    left_out: int
    placed: int
    area: float
    original: Side
    obfuscated: Side
    difference: Estimate


def share_inside(attribution: Floats, coverage: Floats) -> float:
    """Return the share of positive attribution inside regions, 0..1; NaN if there is none.

    Args:
        attribution: a map, shape (H, W).
        coverage: share of each position inside the regions, shape (H, W), 0..1.
    """
    positive = np.maximum(attribution, 0.0)
    total = float(positive.sum())
    return float((positive * coverage).sum()) / total if total > 0 else math.nan


def summarize(shares: Sequence[Shares], seed: int) -> FaceShare:
    """Return means over images with bootstrap intervals."""
    table = np.array(
        [
            (
                *(each.area, each.original, each.obfuscated),
                *(each.elsewhere_original, each.elsewhere_obfuscated),
            )
            for each in shares
        ]
    ).reshape(-1, 5)
    known = table[np.isfinite(table[:, 1]) & np.isfinite(table[:, 2])]
    placed = known[np.isfinite(known[:, 3]) & np.isfinite(known[:, 4])]
    return FaceShare(
        n=len(known),
        left_out=len(table) - len(known),
        placed=len(placed),
        area=_mean(known[:, 0]),
        original=_side(known, placed, 1, seed),
        obfuscated=_side(known, placed, 2, seed),
        difference=estimate(known[:, 2] - known[:, 1], seed),
    )


def estimate(values: npt.ArrayLike, seed: int) -> Estimate:
    """Return the mean of values, one per image, with its interval."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    means = _resample(column, seed)
    return Estimate(
        _mean(column), means if means is None else percentiles(means[:, 0], clusters=len(column))
    )


def _side(known: Floats, placed: Floats, column: int, seed: int) -> Side:
    return Side(
        share=estimate(known[:, column], seed),
        ratio=_ratio(known[:, [column, 0]], seed),
        elsewhere=_ratio(placed[:, [column + 2, 0]], seed),
    )


def _ratio(pairs: Floats, seed: int) -> Estimate:
    """A ratio of means; a mean of ratios would be dominated by the smallest faces."""
    if not len(pairs):
        return Estimate(math.nan, None)
    above, below = pairs.mean(axis=0)
    means = _resample(pairs, seed)
    ends = None if means is None else percentiles(means[:, 0] / means[:, 1], clusters=len(pairs))
    return Estimate(float(above / below), ends)


def _resample(values: Floats, seed: int) -> Floats | None:
    if len(values) < MIN_IMAGES:
        return None
    return resample(values, make_bootstrap(1, seed), "images")


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted class of an image.

    Args:
        index: the class.
        name: its name, or its index where the model has no names.
        confidence: its softmax probability, 0..1.
    """

    index: int
    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One method on one image.

    Args:
        shares: of its attribution inside faces.
        cells: its maps of the original and the obfuscated image on a grid, flattened.
        randomized: rank correlation of the original's map with that of a model whose last
            layer was shuffled; None where not computed.
    """

    shares: Shares
    cells: tuple[Floats, Floats]
    randomized: float | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """One image, original and obfuscated.

    Args:
        id: image id.
        category: its category in the dataset, or None.
        faces: number of hidden regions.
        area: share of the model's input inside them.
        change: total variation distance of both softmaxes, 0..1.
        original: prediction on the original.
        obfuscated: prediction on the obfuscated image.
        measured: by method.
    """

    id: str
    category: str | None
    faces: int
    area: float
    change: float
    original: Prediction
    obfuscated: Prediction
    measured: Mapping[str, Measured]

    @property
    def label(self) -> str:
        """Its category, or else the class predicted on the original."""
        return self.original.name if self.category is None else self.category


@dataclass(frozen=True, slots=True)
class Agreement:
    """Mean rank correlation of two maps, NaN without images.

    Args:
        n: number of images on which both have a map.
        original: on the originals.
        obfuscated: on the obfuscated images; None where not compared.
    """

    n: int
    original: Estimate
    obfuscated: Estimate | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All statistics.

    Args:
        images: single images, in the order of the selection.
        overall: by method.
        by_class: by class, largest first, then by method.
        agreement: by pair of methods.
        randomized: correlation of trained and shuffled model, by gradient method.
    """

    images: tuple[Explained, ...]
    overall: Mapping[str, FaceShare]
    by_class: Mapping[str, Mapping[str, FaceShare]]
    agreement: Mapping[tuple[str, str], Agreement]
    randomized: Mapping[str, Agreement]


def explain(images: Sequence[Explained], methods: Sequence[str], seed: int) -> Explanation:
    """Summarize single images.

    Args:
        images: each with all methods.
        methods: names of the methods.
        seed: random seed of the bootstrap.
    """
    labels: dict[str, list[Explained]] = {}
    for each in images:
        labels.setdefault(each.label, []).append(each)
    order = sorted(labels, key=lambda label: (-len(labels[label]), label))
    return Explanation(
        images=tuple(images),
        overall=_summarize(images, methods, seed),
        by_class={label: _summarize(labels[label], methods, seed) for label in order},
        agreement={
            (a, b): _agree(
                [(each.measured[a].cells, each.measured[b].cells) for each in images], seed
            )
            for a, b in combinations(methods, 2)
        },
        randomized={
            name: _agreement([found], seed)
            for name in methods
            for found in [[each.measured[name].randomized for each in images]]
            if any(value is not None for value in found)
        },
    )


def measure_change(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Return the total variation distance of two softmaxes, 0..1.

    Args:
        before: logits, shape (K,).
        after: logits, shape (K,).
    """
    p, q = softmax(before), softmax(after)
    return float(np.abs(p - q).sum() / 2)


def softmax(scores: npt.ArrayLike) -> Floats:
    """Return the softmax, shape (K,)."""
    values = np.asarray(scores, dtype=np.float64)
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum())


def _summarize(
    images: Sequence[Explained], methods: Sequence[str], seed: int
) -> dict[str, FaceShare]:
    return {
        name: summarize([each.measured[name].shares for each in images], seed) for name in methods
    }


def _agree(pairs: Sequence[tuple[tuple[Floats, Floats], ...]], seed: int) -> Agreement:
    sides = [[correlate(a[side], b[side]) for a, b in pairs] for side in (0, 1)]
    return _agreement(sides, seed)


def _agreement(sides: Sequence[Sequence[float | None]], seed: int) -> Agreement:
    table = np.array(sides, dtype=np.float64).reshape(len(sides), -1)
    known = table[:, np.isfinite(table).all(axis=0)]
    found = [estimate(row, seed) for row in known]
    return Agreement(known.shape[1], found[0], found[1] if len(found) > 1 else None)
