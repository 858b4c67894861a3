"""Accuracy by how much of the image is hidden, and by the number of faces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.core.intervals import Interval, percentiles
from curate.impact.arms import Hits
from curate.impact.arrays import Bools, Floats, Ints
from curate.impact.predictions.paired import Change, compare
from curate.impact.resample import Bootstrap, over_models, resample

SHARE_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 1.0)
"""Ends of the bins of the blurred share; each holds its upper end, the first is 0 alone."""
FACE_EDGES = (0, 1, 2, 3, 5, 10)
"""Least numbers of faces of the bins."""


@dataclass(frozen=True, slots=True)
class Faces:
    """What a manifest says of each image.

    Args:
        shares: N, the share of the image's area that is hidden, 0..1.
        counts: N, how many faces were hidden.
    """

    shares: Floats
    counts: Ints


@dataclass(frozen=True, slots=True)
class Stratum:
    """The images between two values of something.

    Args:
        low: the least value; not itself in it where it is a bin of shares above 0.
        high: the greatest value; None where there is none.
        top1: accuracy on these images.
    """

    low: float
    high: float | None
    top1: Change


@dataclass(frozen=True, slots=True)
class Slope:
    """The change of accuracy per unit of blurred share, by least squares.

    Args:
        value: what hiding the whole image would change, if every part changed as much.
        interval: the bootstrap's; None where it can say nothing.
    """

    value: float
    interval: Interval | None


def by_blurred_share(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> list[Stratum]:
    """Bins of the blurred share; the first holds the images of which nothing is hidden."""
    strata = [_stratum(hits, faces.shares <= 0, (0.0, 0.0), bootstrap, "share")]
    for low, high in pairwise(SHARE_EDGES):
        rows = (faces.shares > low) & (faces.shares <= high)
        strata.append(_stratum(hits, rows, (low, high), bootstrap, "share"))
    return strata


def by_faces(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> list[Stratum]:
    """Bins of the number of faces."""
    strata = []
    for low, after in zip(FACE_EDGES, (*FACE_EDGES[1:], None), strict=True):
        rows = faces.counts >= low
        if after is not None:
            rows &= faces.counts < after
        ends = (low, None if after is None else after - 1)
        strata.append(_stratum(hits, rows, ends, bootstrap, "faces"))
    return strata


def by_presence(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> tuple[Change, Change]:
    """Images with faces, and images without."""
    present = faces.counts > 0
    return (
        compare(hits.of(present), bootstrap, "with faces"),
        compare(hits.of(~present), bootstrap, "without faces"),
    )


def fit_slope(hits: Hits, faces: Faces, bootstrap: Bootstrap) -> Slope | None:
    """The slope of the change over the blurred share; None where all shares are the same."""
    x = faces.shares[:, None]
    if not len(x) or np.ptp(x) == 0:
        return None
    y = hits.differences
    columns = np.concatenate([x, x * x, y, x * y], axis=1)
    value = float(_slopes(columns.mean(axis=0, keepdims=True)).mean())
    drawn = _slopes(resample(columns, bootstrap, "slope"))
    return Slope(value, percentiles(over_models(drawn, bootstrap)))


def _slopes(means: Floats) -> Floats:
    """Slopes by model, from means of x, x², each y and each xy; NaN where x does not vary."""
    models = (means.shape[1] - 2) // 2
    x, xx = means[:, :1], means[:, 1:2]
    y, xy = means[:, 2 : 2 + models], means[:, 2 + models :]
    spread = np.broadcast_to(xx - x * x, y.shape)
    return np.divide(xy - x * y, spread, out=np.full_like(y, np.nan), where=spread > 1e-15)


def _stratum(
    hits: Hits,
    rows: Bools,
    ends: tuple[float, float | None],
    bootstrap: Bootstrap,
    name: str,
) -> Stratum:
    return Stratum(*ends, compare(hits.of(rows), bootstrap, f"{name} {ends[0]} {ends[1]}"))
